package inventory

import (
	"strings"
	"testing"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// nine is nine o'clock of a day.
const (
	nine   = unit.Micros(1_767_258_000_000_000)
	minute = 60 * unit.Second
)

func stay(from, to unit.Micros) record.Stay {
	return record.Stay{Site: "s", Node: "n", Device: "GPU-1", From: from, To: to}
}

func check(t *testing.T, what string, got record.Stay, err error, want record.Stay, fault string) {
	t.Helper()
	switch {
	case fault == "" && (err != nil || got != want):
		t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
	case fault != "" && (err == nil || !strings.Contains(err.Error(), fault)):
		t.Errorf("%s: %v; want an error with %q", what, err, fault)
	}
}

func TestRetire(t *testing.T) {
	f := func(what string, at, open unit.Micros, to unit.Micros, fault string, stays ...record.Stay) {
		t.Helper()
		got, err := Retire(stays, at, open, "")
		want := record.Stay{}
		if len(stays) > 0 {
			want = stays[len(stays)-1]
		}
		want.To = to
		check(t, what, got, err, want, fault)
	}
	f("one that has always been there", nine, nine, nine, "", stay(0, 0))
	f("one that never came", nine, nine, nine, "", stay(nine, 0))
	f("for the second time", nine+5*unit.Hour, nine, nine+5*unit.Hour, "", stay(0, nine), stay(nine+unit.Hour, 0))
	f("twice", nine, nine, 0, "retired already, since 2026-01-01T08:00:00Z", stay(0, nine-unit.Hour))
	f("before it came", nine, nine, 0, "cannot be retired before", stay(nine+1, 0))
	f("in a closed hour", nine-1, nine, 0, "closed hours do not change; the first that is open begins at 2026-01-01T09:00:00Z", stay(0, 0))
	f("nothing known", nine, nine, 0, "import inventory")
}

func TestReturn(t *testing.T) {
	f := func(what string, at, open unit.Micros, want record.Stay, fault string, stays ...record.Stay) {
		t.Helper()
		got, err := Return(stays, at, open, "")
		check(t, what, got, err, want, fault)
	}
	left := stay(0, nine+10*minute)
	f("hours later", nine+3*unit.Hour+5, nine, stay(nine+3*unit.Hour+5, 0), "", left)
	f("in the next hour", nine+unit.Hour, nine, stay(nine+unit.Hour, 0), "", left)
	f("as if it had not been retired", nine+10*minute, nine, stay(0, 0), "", left)
	f("in the same hour", nine+20*minute, nine, record.Stay{}, "from 2026-01-01T10:00:00Z on, or with --at 2026-01-01T09:10:00Z as if", left)
	f("before it left", nine+5*minute, nine, record.Stay{}, "cannot return before", left)
	f("in a closed hour", nine+2*unit.Hour, nine+3*unit.Hour, record.Stay{}, "closed hours do not change", left)
	f("one that is there", nine, nine, record.Stay{}, "is not retired", stay(0, 0))
	f("nothing known", nine, nine, record.Stay{}, "import inventory")
}
