package quarantine

import (
	"context"
	"slices"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Originals reads a message where it was read first, whole. It is asked for those that had to be cut.
type Originals interface {
	Original(ctx context.Context, k Kept) (Kept, error)
}

// Sender publishes messages to their topic under their keys. After an error some of them may have been published.
type Sender interface {
	Send(ctx context.Context, topic string, messages []pipeline.Message) error
}

// Done is what a replay did with a message.
type Done string

// What a replay did.
const (
	// Published says that every in-sync replica has it; DoneDry that it would be published.
	Published Done = "published"
	DoneDry   Done = "would be published"
	// DoneBefore says that its identity is stored, so that publishing it would add nothing.
	DoneBefore Done = "stored already"
	// DoneStored and DoneAgain are what ingest made of a published one, for those who wait for it.
	DoneStored Done = "published and stored"
	DoneAgain  Done = "published and refused again"
	// DoneFaulty says that ingest would refuse it again; DoneLost that it was cut and is not held any more.
	DoneFaulty Done = "not published: faulty"
	DoneLost   Done = "not published: cut"
	DoneFailed Done = "not published: failed"
)

// Outcome is what became of one message.
type Outcome struct {
	Position Position `json:"position"`
	Topic    string   `json:"topic"`
	Identity string   `json:"identity,omitempty"`
	Done     Done     `json:"outcome"`
	Detail   string   `json:"detail,omitempty"`
	// ID is the identity to look for, if there is one.
	ID *Identity `json:"-"`
}

// Failed says that the message still needs somebody.
func (o Outcome) Failed() bool {
	return o.Done == DoneAgain || o.Done == DoneFaulty || o.Done == DoneLost || o.Done == DoneFailed
}

// Replayer publishes kept messages again, as they were. Their identity is the same, so what is stored already counts once.
type Replayer struct {
	Originals Originals
	Stored    Histories
	Sender    Sender
	// DryRun publishes nothing. Force publishes also what this program's rules would refuse, for an ingest that has others.
	DryRun, Force bool
}

// Replay publishes the messages in order and tells of each what was done. The error is of a store that could not be asked.
func (r *Replayer) Replay(ctx context.Context, kept []Kept, now unit.Micros) ([]Outcome, error) {
	kept = slices.Clone(kept)
	out := make([]Outcome, len(kept))
	for i, k := range kept {
		out[i] = Outcome{Position: k.Position, Topic: k.Topic}
		if !k.Cut() {
			continue
		}
		whole, err := r.Originals.Original(ctx, k)
		if err != nil {
			out[i].Done, out[i].Detail = DoneLost, err.Error()
		}
		kept[i] = whole
	}
	states, err := States(kept, r.Stored)
	if err != nil {
		return nil, err
	}
	var topics []string
	send := map[string][]pipeline.Message{}
	of := map[string][]int{}
	for i, k := range kept {
		o := &out[i]
		o.identify(k)
		if states[i] == Stored {
			o.Done, o.Detail = DoneBefore, ""
		}
		if o.Done != "" {
			continue
		}
		m := k.Message(now)
		if refusal := pipeline.Judge(m); refusal != nil && (!r.Force || k.Topic == "") {
			o.Done, o.Detail = DoneFaulty, string(refusal.Reason)+": "+refusal.Detail
			continue
		}
		if o.Done = DoneDry; r.DryRun {
			continue
		}
		if send[k.Topic] == nil {
			topics = append(topics, k.Topic)
		}
		send[k.Topic], of[k.Topic] = append(send[k.Topic], m), append(of[k.Topic], i)
	}
	for _, topic := range topics {
		err := r.Sender.Send(ctx, topic, send[topic])
		for _, i := range of[topic] {
			if out[i].Done = Published; err != nil {
				out[i].Done, out[i].Detail = DoneFailed, err.Error()
			}
		}
	}
	return out, nil
}

func (o *Outcome) identify(k Kept) {
	if id, ok := k.Identity(); ok {
		o.ID, o.Identity = &id, id.String()
	}
}
