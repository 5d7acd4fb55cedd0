package query

import "strconv"

// Args are the values of a statement, by name: string, int64, []string, []int64 or []float64.
type Args map[string]any

// args gives values their places in a statement. What a question holds comes into its text in no other way.
type args struct{ values Args }

func newArgs() *args { return &args{Args{}} }

func (a *args) add(v any, typ string) string {
	name := "p" + strconv.Itoa(len(a.values)+1)
	a.values[name] = v
	return "{" + name + ":" + typ + "}"
}

func (a *args) text(s string) string       { return a.add(s, "String") }
func (a *args) texts(s []string) string    { return a.add(s, "Array(String)") }
func (a *args) whole(n int64) string       { return a.add(n, "Int64") }
func (a *args) wholes(n []int64) string    { return a.add(n, "Array(Int64)") }
func (a *args) numbers(n []float64) string { return a.add(n, "Array(Float64)") }
func (a *args) seconds(unix int64) string  { return "toDateTime(" + a.whole(unix) + ", 'UTC')" }
