package smilog

import (
	"fmt"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// jitter is how far a clock may step back in the hour that comes twice before that is taken for the end of summer time.
const jitter = unit.Second

// Note counts rows of one kind and says where the first is.
type Note struct {
	Count     uint64 `json:"count"`
	FirstLine int64  `json:"first_line,omitempty"`
}

func (n *Note) add(line int64) {
	if n.Count == 0 {
		n.FirstLine = line
	}
	n.Count++
}

// place says where a row stands among its GPU's.
type place uint8

const (
	placeNew  place = iota // after all rows before it
	placeSame              // at the time of the row before it
	placeBack              // before a row already accounted
)

// gpu is what both passes keep of one GPU.
type gpu struct {
	key                           string
	index                         int // position in the device table
	first, last                   unit.Micros
	rows                          uint64 // rows with a time of their own
	powered                       uint64 // those of them that have power
	same, back, doubled, inWinter Note
}

// tracker finds each row's GPU and instant. Both passes run the same tracker over the same rows.
type tracker struct {
	zone zone
	gpus []*gpu
	by   map[string]*gpu
}

func newTracker(loc *time.Location) *tracker {
	return &tracker{zone: zone{loc: loc}, by: map[string]*gpu{}}
}

// find is the GPU of a row, which is made when it is new.
func (t *tracker) find(r *reading) (*gpu, *BadRow) {
	key := r.id.String() + "=" + r.gpu
	if r.id == colTime {
		key = ""
	}
	if g := t.by[key]; g != nil {
		return g, nil
	}
	if len(t.gpus) == MaxGPUs {
		return nil, &BadRow{
			r.line, r.cells[r.head.at[r.id]-1].at, ReasonTooManyGPUs,
			fmt.Sprintf("%s %q is the GPU after the %dth of this log; replay the log in parts", r.id, r.gpu, MaxGPUs), r.text,
		}
	}
	g := &gpu{key: key, index: len(t.gpus)}
	t.gpus, t.by[key] = append(t.gpus, g), g
	return g, nil
}

// instant is when a row was written. A row whose local time never was is bad.
func (t *tracker) instant(g *gpu, r *reading) (unit.Micros, *BadRow) {
	early, late, n := t.zone.instants(r.time)
	switch n {
	case 0:
		return 0, &BadRow{
			r.line, r.timeAt, ReasonMissingHour,
			fmt.Sprintf("%s does not exist in %s: summer time begins and the clock leaves it out; name the zone the log was written in",
				time.UnixMicro(r.time.civil).UTC().Format("2006-01-02 15:04:05"), t.zone.loc), r.text,
		}
	case 1:
		return early, nil
	}
	g.doubled.add(r.line)
	if g.rows > 0 && early < g.last-jitter {
		g.inWinter.add(r.line)
		return late, nil
	}
	return early, nil
}

// put places a row in its GPU's time.
func (t *tracker) put(g *gpu, at unit.Micros, r *reading, power bool) place {
	switch {
	case g.rows > 0 && at == g.last:
		g.same.add(r.line)
		return placeSame
	case g.rows > 0 && at < g.last:
		g.back.add(r.line)
		return placeBack
	}
	if g.rows == 0 {
		g.first = at
	}
	g.last = at
	g.rows++
	if power {
		g.powered++
	}
	return placeNew
}
