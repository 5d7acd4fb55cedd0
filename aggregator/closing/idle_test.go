package closing

import (
	"testing"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// A device that was read and did nothing is held idle; one that could not be read is not, whatever is not known of it.
func TestWhoCannotBeReadIsNotIdle(t *testing.T) {
	f := func(what string, want record.Account, work ...Work) {
		t.Helper()
		h := Hour{Limits: DefaultLimits()}
		e := record.Entry{Account: record.AccountTenant, From: start, To: start + unit.Hour}
		h.judgeIdle(&e, Device{Work: work, Period: 10 * unit.Second}, unit.WholeDevice)
		if e.Account != want {
			t.Errorf("%s: booked as %s, want %s", what, e.Account, want)
		}
	}
	at := func(minute int, run string) Work {
		return Work{T: start + unit.Micros(minute)*60*unit.Second, Run: run, Read: 1 << 40}
	}
	f("read throughout", record.AccountHeldIdle, at(-1, "a"), at(61, "a"))
	f("read by two collectors one after the other", record.AccountHeldIdle, at(0, "a"), at(30, "a"), at(31, "b"), at(60, "b"))
	f("read by two side by side", record.AccountTenant, at(0, "a"), at(20, "b"), at(40, "a"), at(50, "b"))
	f("never read", record.AccountTenant)
	f("first read after the hour", record.AccountTenant, at(70, "a"))
	f("silent for the last ten minutes", record.AccountTenant, at(0, "a"), at(50, "a"))
}
