package clickhouse

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/dashboards/query"
)

// run asks a statement and makes frames of its rows.
func (s *Store) run(ctx context.Context, st query.Statement) (frames []query.Frame, err error) {
	defer func() {
		if p := recover(); p != nil { // in a goroutine of its own, it would end the process that answers everybody
			err = fmt.Errorf("a fault while the answer was read: %v at %s", p, strings.Join(strings.Fields(string(debug.Stack())), " "))
		}
	}()
	err = s.rows(ctx, st.SQL, st.Args, st.Own, func(rows driver.Rows) (err error) {
		switch {
		case st.Own:
			frames, err = s.own(rows, st.Result)
		case st.Result.Series != nil:
			frames, err = seriesOf(rows, st.Result)
		default:
			frames, err = tableOf(rows, st.Result)
		}
		return err
	})
	return frames, err
}

func frameOf(r query.Result) query.Frame {
	return query.Frame{Name: r.Name, Notices: slices.Clone(r.Notices), Source: r.Source, Step: r.Step, AsOf: r.AsOf}
}

// seriesOf makes a frame of each row: place, of, the groups, times and values.
func seriesOf(rows driver.Rows, r query.Result) ([]query.Frame, error) {
	groups := max(len(r.Series.By), 1)
	var frames []query.Frame
	var amount uint64
	for rows.Next() {
		var place, of uint64
		names := make([]string, groups)
		var times []int64
		var values []float64
		into := []any{&place, &of}
		for i := range names {
			into = append(into, &names[i])
		}
		if err := rows.Scan(append(into, &times, &values)...); err != nil {
			return nil, err
		}
		amount = max(amount, of)
		f := frameOf(r)
		labels := map[string]string{}
		for k, v := range r.Series.Labels {
			labels[k] = v
		}
		rest := r.Other && place > uint64(r.Limit)
		for i, d := range r.Series.By {
			labels[string(d)] = names[i]
			if rest {
				labels[string(d)] = query.OtherName
			}
		}
		if len(r.Series.By) > 0 {
			if f.Name = strings.Join(names, " "); rest {
				f.Name = query.OtherName
			}
		}
		at, v := r.Series.Grid.Fill(times, values)
		f.Columns = []query.Column{
			{Name: "time", Type: query.Time, Times: at},
			{Name: r.Series.Metric, Type: query.Number, Unit: r.Series.Unit, Labels: labels, Provisional: r.Provisional, Numbers: v},
		}
		frames = append(frames, f)
	}
	if amount > uint64(r.Limit) && len(frames) > 0 {
		frames[0].Notices = append(frames[0].Notices, leftOut(r, amount, "series"))
	}
	return frames, nil
}

func leftOut(r query.Result, amount uint64, what string) string {
	if r.Other {
		return fmt.Sprintf("the largest %d of %d %s; the others are summed as %q", r.Limit, amount, what, query.OtherName)
	}
	return fmt.Sprintf("the largest %d of %d %s", r.Limit, amount, what)
}

// tableOf makes one frame of all rows.
func tableOf(rows driver.Rows, r query.Result) ([]query.Frame, error) {
	f := frameOf(r)
	f.Columns = slices.Clone(r.Table)
	for i := range f.Columns {
		f.Columns[i].Provisional = r.Provisional
	}
	into, read := places(rows.ColumnTypes())
	lead := 0
	if r.Ranked {
		lead = 2
	}
	if want := len(r.Table) + lead; len(into) != want && len(into) > 0 { // over HTTP no rows come without columns
		return nil, fmt.Errorf("the engine answers %d columns instead of %d", len(into), want)
	}
	n, amount := 0, uint64(0)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		rest := false
		if r.Ranked {
			place, of := uint64(numberOf(read(0))), uint64(numberOf(read(1)))
			amount, rest = max(amount, of), r.Other && place > uint64(r.Limit)
		} else if r.Limit > 0 && n >= r.Limit {
			f.Notices = append(f.Notices, fmt.Sprintf("the first %d rows; there are more", r.Limit))
			break
		}
		n++
		for i := range f.Columns {
			v := read(i + lead)
			if rest && f.Columns[i].Type == query.Text {
				v = query.OtherName
			}
			appendTo(&f.Columns[i], v)
		}
	}
	if r.Ranked && amount > uint64(r.Limit) {
		f.Notices = append(f.Notices, leftOut(r, amount, "rows"))
	}
	return []query.Frame{f}, nil
}

// own makes a frame of what an operator's statement answers, whatever its columns are.
func (s *Store) own(rows driver.Rows, r query.Result) ([]query.Frame, error) {
	f := frameOf(r)
	types := rows.ColumnTypes()
	into, read := places(types)
	for i, name := range rows.Columns() {
		f.Columns = append(f.Columns, query.Column{Name: name, Type: typeOf(types[i].DatabaseTypeName())})
	}
	n := 0
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		if n++; n > s.opt.SQL.Rows {
			f.Notices = append(f.Notices, fmt.Sprintf("the first %d rows; there are more", s.opt.SQL.Rows))
			break
		}
		for i := range f.Columns {
			appendTo(&f.Columns[i], read(i))
		}
	}
	return []query.Frame{f}, nil
}

// places are what rows are read into, and a reader of what was read.
func places(types []driver.ColumnType) ([]any, func(int) any) {
	into := make([]any, len(types))
	for i, t := range types {
		into[i] = reflect.New(t.ScanType()).Interface()
	}
	return into, func(i int) any {
		v := reflect.ValueOf(into[i]).Elem()
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return nil
			}
			if _, ok := v.Interface().(*big.Int); ok {
				break
			}
			v = v.Elem()
		}
		return v.Interface()
	}
}

// typeOf is the type of a column by the engine's name of it.
func typeOf(name string) query.Type {
	for {
		inner, ok := strings.CutPrefix(name, "Nullable(")
		if !ok {
			if inner, ok = strings.CutPrefix(name, "LowCardinality("); !ok {
				break
			}
		}
		name = strings.TrimSuffix(inner, ")")
	}
	switch {
	case strings.HasPrefix(name, "Date"):
		return query.Time
	case name == "Bool":
		return query.Flag
	case strings.HasPrefix(name, "Int"), strings.HasPrefix(name, "UInt"), strings.HasPrefix(name, "Float"), strings.HasPrefix(name, "Decimal"), strings.HasPrefix(name, "BFloat"):
		if !strings.HasPrefix(name, "Interval") {
			return query.Number
		}
	}
	return query.Text
}

func appendTo(c *query.Column, v any) {
	switch c.Type {
	case query.Time:
		t, _ := v.(time.Time)
		if t.Unix() == 0 { // what did not happen yet
			t = time.Time{}
		}
		c.Times = append(c.Times, t.UTC())
	case query.Number:
		c.Numbers = append(c.Numbers, numberOf(v))
	case query.Flag:
		switch x := v.(type) {
		case bool:
			c.Flags = append(c.Flags, x)
		default:
			c.Flags = append(c.Flags, numberOf(v) > 0)
		}
	default:
		c.Texts = append(c.Texts, textOf(v))
	}
}

func numberOf(v any) float64 {
	if v == nil {
		return query.Absent
	}
	if d, ok := v.(interface{ InexactFloat64() float64 }); ok { // decimals
		return d.InexactFloat64()
	}
	switch x := v.(type) {
	case *big.Int:
		f, _ := new(big.Float).SetInt(x).Float64()
		return f
	case big.Int:
		f, _ := new(big.Float).SetInt(&x).Float64()
		return f
	case bool:
		if x {
			return 1
		}
		return 0
	}
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return float64(r.Int())
	case r.CanUint():
		return float64(r.Uint())
	case r.CanFloat():
		if f := r.Float(); !math.IsInf(f, 0) {
			return f
		}
	}
	return query.Absent
}

func textOf(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case []string:
		return strings.Join(x, ", ")
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}
