package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// oneSample is a message of one row.
func oneSample(node string, seq uint64) *wl.SampleBatch {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixMicro()
	return &wl.SampleBatch{
		SchemaVersion: wire.SchemaVersion, Site: "s", Node: node, Run: []byte("0123456789abcdef"), Sequence: seq, BootId: []byte("fedcba9876543210"),
		DriverVersion: "580.1", PeriodMs: 1000, Source: "dcgm", CompleteUpToUs: noon,
		Devices: []*wl.DeviceRef{{Uuid: "GPU-" + node, Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE}},
		Device:  []uint32{0}, TickUs: []int64{noon + int64(seq)*1_000_000}, EnergyTsUs: []uint64{wire.AbsentTime}, EnergyMj: []uint64{record.AbsentCounter},
	}
}

func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *servers) send(topic, key string, value []byte) {
	s.t.Helper()
	p, err := kafkaconn.NewProducer(s.broker, topic, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer p.Close()
	if err := p.Publish(s.t.Context(), kafka.Message{Key: []byte(key), Value: value}); err != nil {
		s.t.Fatal(err)
	}
}

// lists waits until so many are refused, and shows them as reason, bytes and state.
func (s *servers) lists(n int, args ...string) string {
	s.t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		code, got := s.run(append([]string{"quarantine", "list"}, args...)...)
		if code != process.ExitDone || got["state_error"] != nil {
			s.t.Fatalf("list ends with %d: %v", code, got)
		}
		entries, _ := got["entries"].([]any)
		if got["picked"] == float64(n) {
			var out []string
			for _, e := range entries {
				e, _ := e.(map[string]any)
				out = append(out, fmt.Sprint(e["position"], " ", e["reason"], " ", e["state"]))
			}
			return strings.Join(out, ", ")
		}
		if time.Now().After(limit) {
			s.t.Fatalf("%v refused, not %d: %v", got["picked"], n, entries)
		}
	}
}

func (s *servers) count(query string) (n uint64) {
	s.t.Helper()
	if err := s.conn.QueryRow(s.t.Context(), query).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// outcomes are what replay said of each message.
func outcomes(got map[string]any) string {
	var out []string
	messages, _ := got["messages"].([]any)
	for _, m := range messages {
		m, _ := m.(map[string]any)
		out = append(out, fmt.Sprint(m["position"], " ", m["outcome"]))
	}
	return strings.Join(out, ", ")
}

// What is refused for a reason that is then mended is replayed and stored once, however often it is replayed.
func TestWhatIsMendedIsReplayedAndStoredOnce(t *testing.T) {
	s := startServers(t)
	s.exec(`ALTER TABLE samples ADD CONSTRAINT none_of_b CHECK node != 'node-b'`) // the operator's, by mistake
	faulty := oneSample("node-c", 0)
	faulty.TickUs = append(faulty.TickUs, 5)
	s.send(wire.TopicSample, "node-a", encoded(t, oneSample("node-a", 0)))
	s.send(wire.TopicSample, "node-b", encoded(t, oneSample("node-b", 0)))
	s.lists(1)
	s.send(wire.TopicSample, "node-b", encoded(t, oneSample("node-b", 1)))
	s.lists(2)
	s.send(wire.TopicSample, "node-c", encoded(t, faulty))
	s.lists(3)
	s.send(wire.TopicSample, "node-d", []byte("no protobuf at all"))
	if got, want := s.lists(4), "0:0 invalid open, 0:1 invalid open, 0:2 shape open, 0:3 undecodable unknown"; got != want {
		t.Errorf("listed are %s, want %s", got, want)
	}
	if got, want := s.lists(2, "--reason", "invalid", "--since", "1h", "--limit", "1"), "0:1 invalid open"; got != want {
		t.Errorf("picked are %s, want %s", got, want)
	}
	if got := s.lists(0, "--topic", wire.TopicReading); got != "" {
		t.Errorf("of a topic of which nothing was refused: %s", got)
	}

	replay := func(wantCode int, want string, args ...string) {
		t.Helper()
		code, got := s.run(append([]string{"quarantine", "replay", "--wait", "1m"}, args...)...)
		if code != wantCode || outcomes(got) != want {
			t.Errorf("replay %v ends with %d: %s\nwant %d: %s\n%v", args, code, outcomes(got), wantCode, want, got)
		}
	}
	replay(process.ExitFailed, "0:0 published and refused again", "0:0") // nothing is mended yet
	if got, want := s.lists(5, "--limit", "1"), "0:4 invalid open"; got != want {
		t.Errorf("refused again is %s, want %s", got, want)
	}
	s.exec(`ALTER TABLE samples DROP CONSTRAINT none_of_b`)
	replay(process.ExitDone, "0:0 would be published, 0:1 would be published, 0:4 would be published", "--reason", "invalid", "--dry-run")
	if n := s.count(`SELECT count() FROM samples WHERE node = 'node-b'`); n != 0 {
		t.Errorf("%d rows after a dry run", n)
	}
	// One message is in there twice: refused, and refused again.
	replay(process.ExitFailed, "0:0 published and stored, 0:1 published and stored, 0:2 not published: faulty, 0:3 not published: faulty, 0:4 published and stored", "--all")
	replay(process.ExitDone, "0:1 stored already, 0:0 stored already", "0:1", "0:0")
	replay(process.ExitDone, "0:0 stored already, 0:1 stored already, 0:4 stored already", "--reason", "invalid")

	mended := filepath.Join(t.TempDir(), "mended")
	if err := os.WriteFile(mended, encoded(t, oneSample("node-c", 0)), 0o600); err != nil {
		t.Fatal(err)
	}
	replay(process.ExitDone, "0:2 published and stored", "0:2", "--with", mended)
	if rows, distinct := s.count(`SELECT count() FROM samples`), s.count(`SELECT uniqExact(run, node, seq, device, tick) FROM samples`); rows != 4 || distinct != 4 {
		t.Errorf("%d rows stored, %d distinct, want 4", rows, distinct)
	}
	if got, want := s.lists(5), "0:0 invalid stored, 0:1 invalid stored, 0:2 shape stored, 0:3 undecodable unknown, 0:4 invalid stored"; got != want {
		t.Errorf("afterwards there are %s, want %s", got, want)
	}
}

func TestARefusedMessageIsShown(t *testing.T) {
	s := startServers(t)
	faulty := oneSample("node-c", 7)
	faulty.TickUs = append(faulty.TickUs, 5)
	s.send(wire.TopicSample, "node-c", encoded(t, faulty))
	s.lists(1)
	large := bytes.Repeat([]byte("\xff"), wire.MaxMessageBytes-8<<10) // as much as a broker takes; with its reason it is cut
	s.send(wire.TopicSample, "node-d", large)
	s.lists(2)

	raw := filepath.Join(t.TempDir(), "raw")
	code, got := s.run("quarantine", "show", "0:1", "--raw", raw)
	written, err := os.ReadFile(raw)
	if code != process.ExitDone || err != nil || !bytes.Equal(written, large) {
		t.Errorf("show ends with %d, and %d bytes are written (%v): %v", code, len(written), err, got)
	}
	code, out, errs := execute(t, append([]string{"quarantine", "show", "0:0"}, s.args...)...)
	if code != process.ExitDone {
		t.Fatalf("show ends with %d: %s", code, errs)
	}
	for _, want := range []string{"s/node-c run 30313233343536373839616263646566 sequence 7", "Refused for shape: ", "uuid=GPU-node-c", "tick_us", "2026-01-01T12:00:07Z", "open", "refused for that again"} {
		if !strings.Contains(out, want) {
			t.Errorf("shown is no %q:\n%s", want, out)
		}
	}
	if code, out, errs = execute(t, append([]string{"quarantine", "list"}, s.args...)...); code != process.ExitDone || !strings.Contains(out, wire.TopicSample) {
		t.Errorf("list ends with %d: %s %s", code, out, errs)
	}

	bad := func(wantCode int, want string, args ...string) {
		t.Helper()
		code, got := s.run(append([]string{"quarantine"}, args...)...)
		if text, _ := got["error"].(string); code != wantCode || !strings.Contains(text, want) || strings.Contains(text, "\n") {
			t.Errorf("%v ends with %d and %q, want %d and %q", args, code, text, wantCode, want)
		}
	}
	bad(process.ExitFailed, "holds the offsets from 0 to below 2, not 9", "show", "0:9")
	bad(process.ExitFailed, "no partition 3", "replay", "3:0")
	bad(process.ExitUsage, "no position", "show", "12")
	bad(process.ExitUsage, "neither an RFC 3339 time", "list", "--since", "yesterday")
	bad(process.ExitUsage, "say which messages", "replay")
	bad(process.ExitUsage, "not both", "replay", "0:0", "--all")
	bad(process.ExitUsage, "--with is the mended bytes of one message", "replay", "--all", "--with", raw)
}
