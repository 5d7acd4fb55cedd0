package clickhouse

import (
	"bytes"
	"strings"
)

type statementKind uint8

const (
	kindRead   statementKind = iota // answers rows and changes nothing; runs readonly
	kindWrite                       // changes something
	kindInsert                      // an INSERT whose rows follow as data
)

func (k statementKind) String() string {
	return [...]string{"read", "write", "insert"}[k]
}

// statement is what the host needs to know of a query before the engine sees it.
type statement struct {
	kind statementKind
	text string // without the data of an insert and without a closing semicolon
	// format is the output format that the statement names itself, or the input format of an insert; empty: the request's default.
	format string
	// settings are the names in SETTINGS clauses; they pass the same list as the request's parameters.
	settings []string
	// streamable says that the engine can give the result piece by piece.
	streamable bool

	// Of an insert: where in text an INFILE clause goes (before SETTINGS), and where in the input its data begins.
	infileAt, dataAt int
}

// first words of statements, by what they do. What stands in neither list is refused.
var (
	readWords = wordSet("SELECT WITH FROM SHOW DESCRIBE DESC EXISTS EXPLAIN CHECK")
	writeWord = wordSet("INSERT CREATE ALTER DROP TRUNCATE RENAME EXCHANGE OPTIMIZE DELETE UPDATE ATTACH DETACH UNDROP REPLACE KILL SYSTEM")
	// systemWords are the SYSTEM commands that concern data; the rest would stop or reconfigure the engine.
	systemWords = wordSet("FLUSH SYNC START STOP DROP RELOAD WAIT CLEAR")
)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// parseStatement reads the beginning of a request's input: a statement, or an INSERT and the first of its data.
// complete says that input holds all there is; if it does not, only an insert's data may be cut off.
func parseStatement(input []byte, complete bool) (statement, error) {
	p := parser{lexer: lexer{src: input}, complete: complete}
	return p.statement()
}

type parser struct {
	lexer
	complete bool
	// last and beforeLast are the words before the one being read.
	last, beforeLast token
	st               statement
	create           bool // the statement defines something: engines are checked, and its SETTINGS are the table's own
	clause           settingsClause
	depth            int
	prev             token // the last word observed
	tail             bool  // after FORMAT name came SETTINGS: what follows does not unmake the format
}

func (p *parser) statement() (statement, error) {
	first, err := p.take()
	if err != nil {
		return statement{}, err
	}
	word := strings.ToUpper(first.text)
	switch {
	case first.kind == tokenEnd:
		return statement{}, refuse(codeSyntax, "syntax", "Empty query")
	case first.isPunct('('):
		p.st.streamable = true
	case first.kind != tokenWord || !readWords[word] && !writeWord[word]:
		return statement{}, p.refuseFirst(first)
	case word == "SELECT" || word == "WITH" || word == "FROM":
		p.st.streamable = true
	case word == "INSERT":
		p.st.kind = kindWrite
		if insert, err := p.insertHead(); insert || err != nil {
			return p.st, err
		}
	case writeWord[word]:
		p.st.kind = kindWrite
		p.create = word == "CREATE" || word == "ATTACH" || word == "REPLACE" || word == "ALTER"
	}
	if err := p.rest(first); err != nil {
		return statement{}, err
	}
	return p.st, nil
}

func (p *parser) refuseFirst(first token) error {
	word := strings.ToUpper(first.text)
	switch word {
	case "SET", "USE", "BEGIN", "COMMIT", "ROLLBACK":
		return refuse(codeNotImplemented, "session", "%s has no effect here, because every request has a session of its own: "+
			"pass settings and the database as URL parameters", word)
	case "GRANT", "REVOKE", "BACKUP", "RESTORE", "MOVE":
		return refuse(codeAccessDenied, "statement", "%s is not available in the embedded engine: use a ClickHouse server for it", word)
	}
	return refuse(codeSyntax, "syntax", "Syntax error: a statement cannot begin with %q at position %d", first.text, first.start+1)
}

// rest reads the remaining words of a statement that carries no data.
func (p *parser) rest(first token) error {
	if first.isPunct('(') {
		p.depth = 1
	}
	for n := 1; ; n++ {
		t, err := p.take()
		if err != nil {
			return err
		}
		if t.kind == tokenEnd {
			break
		}
		if t.isPunct(';') {
			return p.finish()
		}
		if n == 1 && first.is("SYSTEM") && !systemWords[strings.ToUpper(t.text)] {
			return refuse(codeAccessDenied, "statement", "SYSTEM %s is not available in the embedded engine", t.text)
		}
		if err := p.observe(t); err != nil {
			return err
		}
	}
	if !p.complete {
		return refuse(codeQueryTooLarge, "too_large", "Query is longer than %d bytes", len(p.src))
	}
	p.st.text = string(p.src[:p.last.end])
	return nil
}

// finish accepts semicolons, blanks and comments after the statement, and nothing else.
func (p *parser) finish() error {
	p.st.text = string(p.src[:p.beforeLast.end])
	for {
		t := p.next()
		switch {
		case t.kind == tokenEnd && !p.complete:
			return refuse(codeQueryTooLarge, "too_large", "Query is longer than %d bytes", len(p.src))
		case t.kind == tokenEnd:
			return nil
		case !t.isPunct(';'):
			return refuse(codeSyntax, "multi_statement", "Syntax error (Multi-statements are not allowed): a second statement begins at position %d", t.start+1)
		}
	}
}

// observe notes what one word of the statement means for the host.
func (p *parser) observe(t token) error {
	switch {
	case t.isPunct('('), t.isPunct('['), t.isPunct('{'):
		p.depth++
	case t.isPunct(')'), t.isPunct(']'), t.isPunct('}'):
		p.depth--
	case p.depth == 0 && p.prev.is("FORMAT") && (t.kind == tokenWord || t.kind == tokenQuoted):
		p.st.format, p.tail = t.text, false
		p.prev = t
		return nil
	case t.is("TOTALS"):
		p.st.streamable = false // totals come after the last row, in a place of their own
	case t.is("INSERT") && p.depth == 0 && p.st.kind == kindRead:
		p.st.kind, p.st.streamable = kindWrite, false // WITH … INSERT … SELECT
	}
	if p.st.format != "" && !p.tail {
		// A column called format is no FORMAT clause: only SETTINGS may follow one.
		if p.tail = t.is("SETTINGS"); !p.tail {
			p.st.format = ""
		}
	}
	p.prev = t
	if p.create {
		return nil
	}
	name, err := p.clause.observe(t, p.depth)
	if err != nil {
		return err
	}
	if name != "" {
		p.st.settings = append(p.st.settings, name)
	}
	return nil
}

// take gives the next word after the checks that hold for every word of every statement.
func (p *parser) take() (token, error) {
	t := p.next()
	if t.kind == tokenBad {
		if !p.complete {
			return t, refuse(codeQueryTooLarge, "too_large", "Query is longer than %d bytes", len(p.src))
		}
		return t, refuse(codeSyntax, "syntax", "Syntax error at position %d: %s", t.start+1, t.text)
	}
	if err := p.forbidden(t); err != nil {
		return t, err
	}
	if t.kind != tokenEnd {
		p.beforeLast, p.last = p.last, t
	}
	return t, nil
}

// insertHead reads an INSERT up to its data. It answers false when the rows come from a query.
func (p *parser) insertHead() (isInsert bool, err error) {
	t, err := p.take()
	for err == nil && (t.is("INTO") || t.is("TABLE")) {
		t, err = p.take()
	}
	if err != nil {
		return false, err
	}
	// The table's name may be any word, VALUES too: what follows INTO is a name, with its dots, or a function or {parameter}.
	if t.is("FUNCTION") {
		return false, refuse(codeAccessDenied, "outside", "INSERT INTO FUNCTION is not available in the embedded engine")
	}
	for named, query := false, false; ; {
		if err := p.observe(t); err != nil {
			return false, err
		}
		switch {
		case (t.kind == tokenEnd || t.isPunct(';')) && query:
			p.pos = t.start
			return false, nil
		case t.kind == tokenEnd || t.isPunct(';'):
			return false, refuse(codeSyntax, "syntax", "Syntax error: INSERT without VALUES, FORMAT or SELECT")
		case !named && p.depth == 0:
			named = t.kind == tokenWord || t.kind == tokenQuoted || t.isPunct('}')
		case p.depth > 0:
			query = query || t.is("SELECT") // INSERT INTO t (SELECT …)
		case t.isPunct('.'):
			named = false
		case t.is("SELECT"), t.is("WITH"), t.is("FROM"), t.is("EXPLAIN"):
			return false, nil
		case t.is("SETTINGS") && p.st.infileAt == 0:
			p.st.infileAt = t.start
		case t.is("VALUES"):
			return true, p.data(t, "Values", t)
		case t.is("FORMAT"):
			name, err := p.take()
			if err != nil {
				return false, err
			}
			if name.kind != tokenWord && name.kind != tokenQuoted {
				return false, refuse(codeSyntax, "syntax", "Syntax error at position %d: FORMAT wants a name", name.start+1)
			}
			return true, p.data(t, name.text, name)
		}
		if t, err = p.take(); err != nil {
			return false, err
		}
	}
}

// data notes where the data of an insert begins: after the blanks on the line of its format, and one line end.
func (p *parser) data(keyword token, format string, last token) error {
	at := last.end
	for at < len(p.src) && (p.src[at] == ' ' || p.src[at] == '\t' || p.src[at] == '\f') {
		at++
	}
	if bytes.HasPrefix(p.src[at:], []byte(";")) && format != "Values" {
		return refuse(codeSyntax, "syntax", "Syntax error: a semicolon stands between FORMAT %s and its data", format)
	}
	if at < len(p.src) && p.src[at] == '\r' {
		at++
	}
	if at < len(p.src) && p.src[at] == '\n' {
		at++
	}
	p.st.kind, p.st.format = kindInsert, format
	p.st.text, p.st.dataAt = string(p.src[:keyword.start]), at
	if p.st.infileAt == 0 {
		p.st.infileAt = keyword.start
	}
	return nil
}
