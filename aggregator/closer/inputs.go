package closer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Inputs is what a seal's unhashed sidecar holds: up to where the batch saw what it was made from. The next batch asks for what
// was stored beyond it, so that nobody searches a month of samples for one that came late.
type Inputs struct {
	// Lines is how far messages were seen, by topic and partition.
	Lines []Line `json:"lines,omitempty"`
	// Stated is the server's time when statements were read, Factors the highest sequence of an edition.
	Stated  unit.Micros `json:"stated_us"`
	Factors uint64      `json:"factors"`
	// Pending are hours that were found and have yet to be evaluated. Old wait for a person: they lie further back than is
	// looked at by itself, or were closed by an older edition of the rules.
	Pending []Changed `json:"pending,omitempty"`
	Old     []Changed `json:"old,omitempty"`
}

// Line is how far the messages of a partition were seen. Offsets begin anew with a topic that is made anew; record times go on.
type Line struct {
	Topic     string      `json:"topic"`
	Partition int32       `json:"partition"`
	Offset    int64       `json:"offset"`
	Received  unit.Micros `json:"received_us"`
}

// Changed is a closed hour that something stored since may touch, and what.
type Changed struct {
	Hour   unit.Micros       `json:"hour_us"`
	Causes []adjusting.Cause `json:"causes"`
	// Asked: a person named it, and is told what stands in the way.
	Asked bool `json:"-"`
}

// ParseInputs reads a sidecar; an empty one is a batch from before there were any.
func ParseInputs(text string) (Inputs, error) {
	var in Inputs
	if text == "" {
		return in, nil
	}
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return in, fmt.Errorf("read what the last batch saw: %w", err)
	}
	return in, nil
}

// Text is the sidecar.
func (in Inputs) Text() (string, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return "", fmt.Errorf("write what the batch saw: %w", err)
	}
	return string(text), nil
}

// See takes note of a line; none falls back.
func (in *Inputs) See(l Line) {
	for i := range in.Lines {
		if had := &in.Lines[i]; had.Topic == l.Topic && had.Partition == l.Partition {
			had.Offset, had.Received = max(had.Offset, l.Offset), max(had.Received, l.Received)
			return
		}
	}
	in.Lines = append(in.Lines, l)
	slices.SortFunc(in.Lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// maxCauses bounds what is kept of one hour; a reason names fewer.
const maxCauses = 20

// merged puts hours in order, each once with all its causes.
func merged(lists ...[]Changed) []Changed {
	causes, asked := map[unit.Micros][]adjusting.Cause{}, map[unit.Micros]bool{}
	for _, c := range slices.Concat(lists...) {
		asked[c.Hour] = asked[c.Hour] || c.Asked
		for _, cause := range c.Causes {
			if had := causes[c.Hour]; !slices.Contains(had, cause) && len(had) < maxCauses {
				causes[c.Hour] = append(had, cause)
			}
		}
	}
	var out []Changed
	for hour, list := range causes {
		out = append(out, Changed{hour, list, asked[hour]})
	}
	slices.SortFunc(out, func(a, b Changed) int { return cmp.Compare(a.Hour, b.Hour) })
	return out
}

// split is what of them lies at or after an instant, and what before.
func split(list []Changed, from unit.Micros) (since, before []Changed) {
	i, _ := slices.BinarySearchFunc(list, from, func(c Changed, t unit.Micros) int { return cmp.Compare(c.Hour, t) })
	return list[i:], list[:i]
}
