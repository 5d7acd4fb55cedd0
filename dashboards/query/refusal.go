package query

import (
	"errors"
	"fmt"
	"strings"
)

// Reason says in a word why a question is not answered. Whoever refuses counts by it.
type Reason string

// The reasons.
const (
	ReasonNoScope      Reason = "no_scope"
	ReasonKind         Reason = "unknown_kind"
	ReasonMetric       Reason = "unknown_metric"
	ReasonForm         Reason = "unknown_form"
	ReasonDimension    Reason = "unknown_dimension"
	ReasonSpan         Reason = "bad_span"
	ReasonLimit        Reason = "bad_limit"
	ReasonFilter       Reason = "bad_filter"
	ReasonOperatorOnly Reason = "operator_only"
	ReasonSQLOff       Reason = "sql_off"
	ReasonSQL          Reason = "sql_statement"
)

// Reasons are all reasons, for the metric that counts them.
var Reasons = []Reason{
	ReasonNoScope, ReasonKind, ReasonMetric, ReasonForm, ReasonDimension, ReasonSpan, ReasonLimit, ReasonFilter,
	ReasonOperatorOnly, ReasonSQLOff, ReasonSQL,
}

// Refusal is a question that is not put to the engine. Its text is one line that says what would be answered.
type Refusal struct {
	Reason Reason
	Text   string
}

func (r *Refusal) Error() string { return r.Text }

// Is makes a refusal for want of a scope the same as ErrNoScope.
func (r *Refusal) Is(target error) bool { return r.Reason == ReasonNoScope && target == ErrNoScope }

// ReasonOf is why err was refused, and false where it is no refusal.
func ReasonOf(err error) (Reason, bool) {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason, true
	}
	if errors.Is(err, ErrNoScope) {
		return ReasonNoScope, true
	}
	return "", false
}

func refuse(reason Reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// quoted is what a question said, short enough for a line.
func quoted[T ~string](s T) string {
	const most = 40
	text := string(s)
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("%q", text)
}

func list[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = string(a)
	}
	return strings.Join(words, ", ")
}
