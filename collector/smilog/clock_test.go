package smilog

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// In every zone each instant is found again from what its clock shows, alone or as one of two, the earlier one first.
func TestInstantsOfLocalTime(t *testing.T) {
	names := []string{"UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia"}
	zones := map[string]*zone{} // kept between draws, so that what is remembered is tested too
	for _, n := range names {
		loc, err := time.LoadLocation(n)
		if err != nil {
			t.Fatal(err)
		}
		zones[n] = &zone{loc: loc}
	}
	rapid.Check(t, func(t *rapid.T) {
		z := zones[rapid.SampledFrom(names).Draw(t, "zone")]
		sec := rapid.Int64Range(1_262_304_000, 1_893_456_000).Draw(t, "instant")
		if rapid.Bool().Draw(t, "near a change") {
			if _, end := time.Unix(sec, 0).In(z.loc).ZoneBounds(); !end.IsZero() {
				sec = end.Unix() + rapid.Int64Range(-7300, 7300).Draw(t, "distance")
			}
		}
		at := time.Unix(sec, 123_000).In(z.loc)
		st, err := parseStamp(at.Format("2006/01/02 15:04:05.000000"))
		if err != nil {
			t.Fatal(err)
		}
		early, late, n := z.instants(st)
		switch {
		case n == 1 && int64(early) == at.UnixMicro():
		case n == 2 && early < late && (int64(early) == at.UnixMicro() || int64(late) == at.UnixMicro()):
		default:
			t.Fatalf("%v is found as %v and %v (%d)", at, early.Time(), late.Time(), n)
		}
		for i, x := range []time.Time{early.Time(), late.Time()}[:n] {
			if x.In(z.loc).Format(layout) != at.Format(layout) {
				t.Fatalf("candidate %d of %v is %v", i, at, x.In(z.loc))
			}
		}
	})
}

func TestTheHourSpringLeavesOut(t *testing.T) {
	for name, text := range map[string]string{
		"Europe/Paris": "2024/03/31 02:30:00", "America/New_York": "2024/03/10 02:00:00", "Australia/Lord_Howe": "2024/10/06 02:15:00",
	} {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		st, err := parseStamp(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, n := (&zone{loc: loc}).instants(st); n != 0 {
			t.Errorf("%s in %s is found %d times", text, name, n)
		}
	}
}

func TestStamps(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		got := "bad"
		if st, err := parseStamp(s); err == nil {
			at, _, _ := (&zone{loc: time.UTC}).instants(st)
			got = iso(at)
		}
		if got != want {
			t.Errorf("%q is %s, want %s", s, got, want)
		}
	}
	f("2023/07/14 10:12:46.483", "2023-07-14T10:12:46.483000Z")
	f("2023/07/14 10:12:46", "2023-07-14T10:12:46.000000Z")
	f("2023-07-14T10:12:46.5+02:00", "2023-07-14T08:12:46.500000Z")
	f("2023-07-14 10:12:46.000001000Z", "2023-07-14T10:12:46.000001Z")
	f("2024/02/29 00:00:00.1-09:30", "2024-02-29T09:30:00.100000Z")
	for _, s := range []string{
		"", "2023/07/14", "2023/07-14 10:12:46", "2023/02/29 10:12:46", "2023/07/14 24:00:00", "2023/07/14 10:12:60", "2023/07/14 10:12:46.",
		"2023/07/14 10:12:46.1234567", "2023/07/14 10:12:46.1 W", "2023/07/14 10:12:46+2:00", "2023/07/14 10:12:46+0200", "2000/12/31 00:00:00",
		"2023/07/14 10:12:46+15:00", "2023/00/14 10:12:46", "14/07/2023 10:12:46", "２023/07/14 10:12:46",
	} {
		f(s, "bad")
	}
}

func TestMillionths(t *testing.T) {
	f := func(s string, want int64, ok bool) {
		t.Helper()
		if got, err := parseMillionths(s); (err == nil) != ok || got != want {
			t.Errorf("%q is %d, %v; want %d", s, got, err, want)
		}
	}
	f("56.12", 56_120_000, true)
	f("0", 0, true)
	f("-3.5", -3_500_000, true)
	f("0.00000100", 1, true)
	f("999999999999.999999", 999_999_999_999_999_999, true)
	for _, s := range []string{"", "-", ".5", "5.", "1e3", "1,5", "0x1", "1.0000001", "1000000000000", "+1", "1.2.3", " 1", "NaN"} {
		f(s, 0, false)
	}
}
