package clickhouse

import "strings"

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // keyword, identifier or number
	tokenQuoted           // identifier in backticks or double quotes; text is what it names
	tokenString           // literal in single quotes
	tokenPunct            // one byte
	tokenBad              // never closed, or nothing the host is willing to read; text says what
)

type token struct {
	kind       tokenKind
	text       string
	start, end int
}

// is tells whether the token is this keyword; a quoted identifier never is.
func (t token) is(keyword string) bool {
	return t.kind == tokenWord && strings.EqualFold(t.text, keyword)
}

func (t token) isPunct(c byte) bool { return t.kind == tokenPunct && t.text[0] == c }

// lexer cuts a statement into words as ClickHouse's own lexer does (src/Parsers/Lexer.cpp), where it matters: what is a
// comment, what is quoted. Where the two could disagree (heredocs, typographic quotes, non-ASCII outside quotes) it refuses,
// because code that the host takes for a comment would escape its checks.
type lexer struct {
	src []byte
	pos int
}

func (l *lexer) next() token {
	for l.pos < len(l.src) {
		start := l.pos
		switch c := l.src[l.pos]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			l.pos++
		case c == '-' && l.at(1) == '-', c == '/' && l.at(1) == '/', c == '#' && (l.at(1) == ' ' || l.at(1) == '!'):
			for l.pos < len(l.src) && l.src[l.pos] != '\n' {
				l.pos++
			}
		case c == '/' && l.at(1) == '*':
			if !l.comment() {
				return token{tokenBad, "multiline comment is not closed", start, l.pos}
			}
		case c == '\'' || c == '"' || c == '`':
			return l.quoted(c)
		case isWord(c):
			for l.pos < len(l.src) && (isWord(l.src[l.pos]) || l.src[l.pos] == '$') {
				l.pos++
			}
			return token{tokenWord, string(l.src[start:l.pos]), start, l.pos}
		case c == '$':
			return token{tokenBad, "heredocs and names that begin with $ are not supported here: use a quoted string", start, start + 1}
		case c >= 0x80:
			return token{tokenBad, "a character outside ASCII stands outside quotes: quote the name, and use plain quotes", start, start + 1}
		default:
			l.pos++
			return token{tokenPunct, string(c), start, l.pos}
		}
	}
	return token{kind: tokenEnd, start: l.pos, end: l.pos}
}

func (l *lexer) at(offset int) byte {
	if l.pos+offset < len(l.src) {
		return l.src[l.pos+offset]
	}
	return 0
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// comment skips a multiline comment; they nest.
func (l *lexer) comment() (closed bool) {
	depth := 0
	for l.pos < len(l.src) {
		switch {
		case l.src[l.pos] == '/' && l.at(1) == '*':
			depth++
			l.pos += 2
		case l.src[l.pos] == '*' && l.at(1) == '/':
			depth--
			l.pos += 2
			if depth == 0 {
				return true
			}
		default:
			l.pos++
		}
	}
	return false
}

// quoted reads a literal or an identifier: a backslash escapes, a doubled quote stands for itself.
func (l *lexer) quoted(quote byte) token {
	start := l.pos
	var text strings.Builder
	for l.pos++; l.pos < len(l.src); l.pos++ {
		switch c := l.src[l.pos]; {
		case c == '\\':
			text.WriteByte(c)
			if l.pos++; l.pos < len(l.src) {
				text.WriteByte(l.src[l.pos])
			}
		case c == quote && l.at(1) == quote:
			text.WriteByte(c)
			l.pos++
		case c == quote:
			l.pos++
			kind := tokenQuoted
			if quote == '\'' {
				kind = tokenString
			} else if strings.ContainsRune(text.String(), '\\') {
				// `\x66ile` names file; nobody needs an escape in an identifier, so we need not know them all.
				return token{tokenBad, "an escape in a quoted identifier is not supported here", start, l.pos}
			}
			return token{kind, text.String(), start, l.pos}
		default:
			text.WriteByte(c)
		}
	}
	return token{tokenBad, "quote is not closed", start, l.pos}
}

// quote makes a ClickHouse string literal.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(s) + "'"
}

// quoteName makes a ClickHouse identifier.
func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}
