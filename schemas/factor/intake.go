package factor

import (
	"errors"
	"fmt"

	"github.com/wattledger/wattledger/schemas/unit"
)

// ErrRefused means that editions contradict themselves or one another. None of them has been stored; mend the records that the
// error names and import them again.
var ErrRefused = errors.New("factors refused")

// RefusedError is ErrRefused with what was found.
type RefusedError struct{ Findings []Finding }

func (e *RefusedError) Error() string {
	if len(e.Findings) == 0 {
		return ErrRefused.Error()
	}
	text := fmt.Sprintf("%v: %s", ErrRefused, e.Findings[0])
	if n := len(e.Findings) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// Is makes it an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Appended is what became of editions that were handed to a store.
type Appended struct {
	// Stored are new, of them Revised say anew what another edition had said of the same time; Known were there already.
	Stored, Revised, Known int
	// Sequence is that of the stored ones; 0 when nothing was stored.
	Sequence uint64
}

// Span is hours from From to before To. The zero Span is all of them.
type Span struct{ From, To unit.Micros }
