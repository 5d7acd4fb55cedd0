package quarantine

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

func TestWhatIsKeptFitsAndSaysWhatIsMissing(t *testing.T) {
	f := func(key, value int, whole bool) {
		t.Helper()
		b, err := Encode(pipeline.Refusal{
			Message: pipeline.Message{Topic: "t", Key: bytes.Repeat([]byte{'k'}, key), Value: bytes.Repeat([]byte{'v'}, value)},
			Reason:  wire.ReasonShape, Detail: strings.Repeat("\xff", 100_000),
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > wire.MaxMessageBytes {
			t.Errorf("key of %d and value of %d bytes are kept in %d bytes", key, value, len(b))
		}
		var m wl.Refused
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if got := len(m.Value) == value && len(m.Key) == key; got != whole || whole == strings.Contains(m.Detail, "are kept here") {
			t.Errorf("key of %d and value of %d bytes: %d and %d are kept, detail ends %q", key, value, len(m.Key), len(m.Value), m.Detail[max(0, len(m.Detail)-120):])
		}
	}
	f(5, 100, true)
	f(5, 900_000, true)
	f(5, 1_048_000, false)
	f(1_048_000, 5, false)
}

type publisher struct{ fail int }

func (p *publisher) Publish(context.Context, []byte, []byte) error {
	if p.fail--; p.fail == 0 {
		return errors.New("away")
	}
	return nil
}

// Keep is called again after an error: what is counted is messages, not tries.
func TestRefusedAreCountedOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	k := New(&publisher{fail: 2}, slog.New(slog.DiscardHandler), reg)
	refused := []pipeline.Refusal{{Reason: wire.ReasonShape}, {Reason: wire.ReasonShape}, {Reason: wire.ReasonTime}}
	if err := k.Keep(t.Context(), refused); err == nil {
		t.Fatal("a message that was not kept is said to be")
	}
	if err := k.Keep(t.Context(), refused); err != nil {
		t.Fatal(err)
	}
	if n := testutil.CollectAndCount(k.refused); n != len(wire.Reasons) { // a rate knows no increase from nothing to one
		t.Errorf("%d series, want one for each reason", n)
	}
	if got := testutil.ToFloat64(k.refused.WithLabelValues("shape")); got != 2 {
		t.Errorf("%v counted as shape, want 2", got)
	}
	if got := testutil.ToFloat64(k.refused.WithLabelValues("time")); got != 1 {
		t.Errorf("%v counted as time, want 1", got)
	}
}
