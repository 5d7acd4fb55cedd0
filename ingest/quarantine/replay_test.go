package quarantine

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// broker holds what was sent to it, and one message that had to be cut.
type broker struct {
	whole []byte
	sent  []string // topic and key
	away  bool
}

func (b *broker) Original(_ context.Context, k Kept) (Kept, error) {
	if b.whole == nil {
		return k, errors.New("removed")
	}
	k.Value = b.whole
	return k, nil
}

func (b *broker) Send(_ context.Context, topic string, messages []pipeline.Message) error {
	if b.away {
		return errors.New("away")
	}
	for _, m := range messages {
		b.sent = append(b.sent, topic+" "+string(m.Key))
	}
	return nil
}

func TestReplay(t *testing.T) {
	m := samples()
	m.Devices[1].Kind, m.Devices[1].EnergySource = wl.DeviceKind_DEVICE_KIND_GPU, wl.EnergySource_ENERGY_SOURCE_HARDWARE
	value := encode(t, m)
	sound := Kept{Topic: wire.TopicSample, Key: []byte("sound"), Value: value, KeyBytes: 5, ValueBytes: len(value)}
	faulty := Kept{Topic: wire.TopicSample, Key: []byte("faulty"), Value: []byte("garbage"), KeyBytes: 6, ValueBytes: 7}
	foreign := Kept{Reason: ReasonUnreadable, Value: []byte("garbage"), ValueBytes: 7}
	cut := Kept{Topic: wire.TopicSample, Key: []byte("cut"), Value: value[:len(value)-9], KeyBytes: 3, ValueBytes: len(value)}
	none := func(string, []pipeline.Question) ([]pipeline.Answer, error) { return nil, nil }
	all := func(_ string, asked []pipeline.Question) (out []pipeline.Answer, err error) {
		for _, q := range asked {
			out = append(out, pipeline.Answer{Run: q.Run, Highest: 9, Stored: q.Seqs})
		}
		return out, nil
	}
	f := func(r Replayer, b *broker, kept []Kept, done []Done, sent ...string) {
		t.Helper()
		r.Originals, r.Sender = b, b
		out, err := r.Replay(t.Context(), kept, unit.Micros(noon)+5_000_000)
		if err != nil {
			t.Fatal(err)
		}
		var got []Done
		for _, o := range out {
			got = append(got, o.Done)
		}
		if !slices.Equal(got, done) || !slices.Equal(b.sent, sent) {
			t.Errorf("%+v does %q and sends %q, want %q and %q", r, got, b.sent, done, sent)
		}
	}
	everything := []Kept{faulty, sound, foreign, cut}
	const s = wire.TopicSample + " "
	f(Replayer{Stored: none}, &broker{whole: value}, everything, []Done{DoneFaulty, Published, DoneFaulty, Published}, s+"sound", s+"cut")
	f(Replayer{Stored: none}, &broker{}, everything, []Done{DoneFaulty, Published, DoneFaulty, DoneLost}, s+"sound")
	f(Replayer{Stored: none, DryRun: true}, &broker{whole: value}, everything, []Done{DoneFaulty, DoneDry, DoneFaulty, DoneDry})
	f(Replayer{Stored: none, Force: true}, &broker{}, everything, []Done{Published, Published, DoneFaulty, DoneLost}, s+"faulty", s+"sound") // nobody knows where to
	f(Replayer{Stored: all}, &broker{whole: value}, everything, []Done{DoneFaulty, DoneBefore, DoneFaulty, DoneBefore})
	f(Replayer{Stored: none}, &broker{away: true}, []Kept{sound}, []Done{DoneFailed})
	away := errors.New("away")
	r := Replayer{Originals: &broker{}, Stored: func(string, []pipeline.Question) ([]pipeline.Answer, error) { return nil, away }}
	if _, err := r.Replay(t.Context(), everything, 0); !errors.Is(err, away) {
		t.Errorf("a store that cannot be asked: %v", err)
	}
}
