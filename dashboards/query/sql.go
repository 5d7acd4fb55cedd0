package query

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// reads are the words that a statement of an operator's own may begin with. That it reads only is the engine's to hold, which runs it
// with readonly; the words are held here so that the answer is a sentence.
var reads = []string{"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN"}

var macro = regexp.MustCompile(`\$__(from|to|interval_s|timeFilter)\b(?:\(([^()]*)\))?`)

// column is what $__timeFilter takes: a name, with its table before it.
var column = regexp.MustCompile(`^\s*[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?\s*$`)

// forbidden is what a statement that begins well can still hold: a write behind a WITH, a file, and other limits than the operator's.
var forbidden = regexp.MustCompile(`(?i)\b(INSERT\s+INTO|INTO\s+OUTFILE|SETTINGS\s+[a-z_0-9]+\s*=)`)

// sql is an operator's own statement: read only, one, and with the range as parameters.
func (b *builder) sql() error {
	if !b.opt.SQL {
		return refuse(ReasonSQLOff, "kind sql is off: an operator turns it on in the data source's settings")
	}
	if !b.scope.All {
		return refuse(ReasonSQLOff, "kind sql is for a data source without a tenant: its statements cannot be held to one")
	}
	text, err := single(b.q.SQL)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(strings.TrimLeft(strings.Join(strings.Fields(uncommented(text)), " "), "( "), " ")
	first, _, _ = strings.Cut(first, "(")
	known := false
	for _, w := range reads {
		known = known || strings.EqualFold(first, w)
	}
	if !known {
		return refuse(ReasonSQL, "a statement of kind sql begins with %s; this one begins with %s", strings.Join(reads, ", "), quoted(first))
	}
	if found := forbidden.FindString(uncommented(text)); found != "" {
		return refuse(ReasonSQL, "a statement of kind sql only reads, under the limits of the data source: leave %s out", quoted(strings.Join(strings.Fields(found), " ")))
	}
	a := newArgs()
	micros := func(t time.Time) string { return "fromUnixTimestamp64Micro(" + a.whole(t.UnixMicro()) + ", 'UTC')" }
	step := int64(b.span.step(time.Second) / time.Second)
	var fault error
	text = macro.ReplaceAllStringFunc(text, func(found string) string {
		m := macro.FindStringSubmatch(found)
		switch {
		case m[1] == "timeFilter" && !column.MatchString(m[2]):
			fault = refuse(ReasonSQL, "$__timeFilter takes the name of a column, as in $__timeFilter(hour)")
		case m[1] == "timeFilter":
			c := strings.TrimSpace(m[2])
			return "(" + c + " >= " + micros(b.span.From) + " AND " + c + " < " + micros(b.span.To) + ")"
		case strings.HasSuffix(found, ")"):
			fault = refuse(ReasonSQL, "$__%s takes no argument", m[1])
		case m[1] == "from":
			return micros(b.span.From)
		case m[1] == "to":
			return micros(b.span.To)
		case m[1] == "interval_s":
			return a.whole(step)
		}
		return found
	})
	if fault != nil {
		return fault
	}
	b.plan.Statements = append(b.plan.Statements, Statement{SQL: text, Args: a.values, Own: true, Result: Result{Name: "sql", Source: "sql", Step: time.Duration(step) * time.Second}})
	return nil
}

// single is the text without the semicolon at its end, refused where a second statement follows or a parameter stands in it.
func single(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", refuse(ReasonSQL, "kind sql wants a statement, such as SHOW TABLES")
	}
	if len(text) > 64<<10 {
		return "", refuse(ReasonSQL, "the statement is %s bytes long: 65536 at most", strconv.Itoa(len(text)))
	}
	bare := strings.TrimRight(uncommented(text), " \t\r\n")
	for strings.HasSuffix(bare, ";") && strings.HasSuffix(text, ";") {
		text, bare = strings.TrimRight(strings.TrimSuffix(text, ";"), " \t\r\n"), strings.TrimRight(strings.TrimSuffix(bare, ";"), " \t\r\n")
	}
	if strings.Contains(bare, ";") {
		return "", refuse(ReasonSQL, "one statement at a time: a second one begins after the first semicolon")
	}
	if strings.Contains(bare, "{") {
		return "", refuse(ReasonSQL, "braces stand for parameters, of which there are only $__from, $__to, $__interval_s and $__timeFilter(column)")
	}
	return text, nil
}

// uncommented is a statement with comments and all that is quoted blanked out.
func uncommented(text string) string {
	out := []byte(text)
	blank := func(i, j int) {
		for ; i < j && i < len(out); i++ {
			out[i] = ' '
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'' || c == '"' || c == '`':
			j := i + 1
			for j < len(text) && text[j] != c {
				if text[j] == '\\' {
					j++
				}
				j++
			}
			blank(i, j+1)
			i = j
		case strings.HasPrefix(text[i:], "--") || c == '#':
			j := strings.IndexByte(text[i:], '\n')
			if j < 0 {
				j = len(text) - i
			}
			blank(i, i+j)
			i += j
		case strings.HasPrefix(text[i:], "/*"):
			j := strings.Index(text[i+2:], "*/")
			if j < 0 {
				j = len(text) - i
			} else {
				j += 4
			}
			blank(i, i+j)
			i += j - 1
		}
	}
	return string(out)
}
