package smilog

import (
	"errors"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// stamp is a time as written: local, or with its own offset.
type stamp struct {
	civil  int64 // microseconds since 1970 of the digits, as if they were UTC
	offset int64 // seconds east of UTC, when fixed
	fixed  bool
}

// The years taken lie inside those of the wire by more than any offset.
const firstYear, lastYear = 2001, 2098

var errStamp = errors.New("is not a time; nvidia-smi writes 2023/07/14 10:12:46.483")

// parseStamp reads nvidia-smi's form, and ISO 8601's as other tools write it: dashes for slashes, T for the space, up
// to six decimals, and an offset.
func parseStamp(s string) (stamp, error) {
	if len(s) < 19 {
		return stamp{}, errStamp
	}
	num := func(from, to int) int {
		n := 0
		for _, c := range []byte(s[from:to]) {
			if c < '0' || c > '9' {
				return -1
			}
			n = n*10 + int(c-'0')
		}
		return n
	}
	y, mo, d, h, mi, sec := num(0, 4), num(5, 7), num(8, 10), num(11, 13), num(14, 16), num(17, 19)
	if y < 1 || mo < 1 || mo > 12 || d < 1 || h < 0 || h > 23 || mi < 0 || mi > 59 || sec < 0 || sec > 59 ||
		(s[4] != '/' && s[4] != '-') || s[7] != s[4] || (s[10] != ' ' && s[10] != 'T') || s[13] != ':' || s[16] != ':' {
		return stamp{}, errStamp
	}
	t := time.Date(y, time.Month(mo), d, h, mi, sec, 0, time.UTC)
	if t.Day() != d {
		return stamp{}, fmt.Errorf("names a day that %04d-%02d does not have", y, mo)
	}
	if y < firstYear || y > lastYear {
		return stamp{}, fmt.Errorf("is outside the years %d to %d; was the clock of the machine set", firstYear, lastYear)
	}
	micros, rest, err := fraction(s[19:])
	if err != nil {
		return stamp{}, err
	}
	st := stamp{civil: t.UnixMicro() + micros}
	switch {
	case rest == "":
	case rest == "Z":
		st.fixed = true
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		at := len(s) - 6
		oh, om := num(at+1, at+3), num(at+4, at+6)
		if oh < 0 || oh > 14 || om < 0 || om > 59 {
			return stamp{}, errStamp
		}
		st.fixed, st.offset = true, int64(oh*3600+om*60)
		if rest[0] == '-' {
			st.offset = -st.offset
		}
	default:
		return stamp{}, errStamp
	}
	return st, nil
}

// fraction reads ".483" into microseconds and gives back what follows.
func fraction(s string) (micros int64, rest string, err error) {
	if s == "" || s[0] != '.' {
		return 0, s, nil
	}
	n, i := 0, 1
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		switch {
		case n < 6:
			micros = micros*10 + int64(s[i]-'0')
			n++
		case s[i] != '0':
			return 0, "", errors.New("is finer than a microsecond; write at most six decimals")
		}
	}
	if n == 0 {
		return 0, "", errStamp
	}
	for ; n < 6; n++ {
		micros *= 10
	}
	return micros, s[i:], nil
}

// zone turns local time into instants and remembers the stretch in which no clock changes.
type zone struct {
	loc    *time.Location
	offset int64
	lo, hi int64 // instants, in seconds, for which offset holds with two days to spare
}

const day = 86400

func (z *zone) offsetAt(sec int64) int64 {
	_, off := time.Unix(sec, 0).In(z.loc).Zone()
	return int64(off)
}

// instants are those at which a clock in the zone shows a time, n of them: 1 mostly, 0 in the hour that spring leaves
// out, 2 in the hour that comes twice, the first then being early.
func (z *zone) instants(s stamp) (early, late unit.Micros, n int) {
	if s.fixed {
		return unit.Micros(s.civil - s.offset*1e6), 0, 1
	}
	sec := s.civil / 1e6 // after 1970: see firstYear
	if u := sec - z.offset; u >= z.lo && u < z.hi {
		return unit.Micros(s.civil - z.offset*1e6), 0, 1
	}
	before, after := z.offsetAt(sec-day), z.offsetAt(sec+day)
	var found [2]int64
	for i, off := range []int64{before, after} {
		if i == 1 && after == before {
			break
		}
		if z.offsetAt(sec-off) == off {
			found[n] = s.civil - off*1e6
			n++
		}
	}
	if n == 1 {
		z.remember(found[0] / 1e6)
	}
	if n == 2 && found[1] < found[0] {
		found[0], found[1] = found[1], found[0]
	}
	return unit.Micros(found[0]), unit.Micros(found[1]), n
}

func (z *zone) remember(sec int64) {
	t := time.Unix(sec, 0).In(z.loc)
	start, end := t.ZoneBounds()
	_, off := t.Zone()
	z.offset, z.lo, z.hi = int64(off), -1<<62, 1<<62
	if !start.IsZero() {
		z.lo = start.Unix() + 2*day
	}
	if !end.IsZero() {
		z.hi = end.Unix() - 2*day
	}
}
