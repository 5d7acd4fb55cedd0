package ingest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/ingest/clickhouse"
	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Holes become gap records with bounds; what fills one later is counted when they are read, and a repeat fills nothing.
func TestHolesBecomeGapRecords(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), startDatabase(t)
	s, r := newSender(t, conn), rand.New(rand.NewPCG(31, 32))
	send := func(seqs ...uint64) {
		for _, seq := range seqs {
			s.send(wire.TopicSample, "node-a", sampleBatch(r, "node-a", seq, 1, 2))
		}
	}
	ch := open(t, db)
	f := func(lines uint64, want string) {
		t.Helper()
		until(t, fmt.Sprint(lines, " lines"), func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == lines })
		got := one[string](t, ch, `SELECT toString(groupArray(tuple(reason, first_seq, last_seq, arrived, outstanding, toSecond(began), toSecond(ended)))) FROM
			(SELECT * FROM missing WHERE topic = 'wl.sample.v1' AND site = 'paris-1' AND source = 'node-a' ORDER BY first_seq)`)
		if got != want {
			t.Errorf("after %d lines\n got %s\nwant %s", lines, got, want)
		}
	}
	in := start(t, quick(), conn, fixed(db))
	send(2, 3, 7)
	f(3, "[('before_start',0,1,0,2,2,2),('hole',4,6,0,3,3,7)]")
	send(5, 5, 1, 1)
	f(7, "[('before_start',0,1,1,1,2,2),('hole',4,6,1,2,3,7)]")
	in.stop()
	in = start(t, quick(), conn, fixed(db)) // knows the run from the database alone
	send(9, 5, 6, 4)
	f(11, "[('before_start',0,1,1,1,2,2),('hole',4,6,3,0,3,7),('hole',8,8,0,1,7,9)]")
	if n := one[uint64](t, ch, "SELECT count() FROM samples"); n != 16 {
		t.Errorf("%d rows, want 16", n)
	}
	if got := in.counter(t, "wattledger_ingest_missing_total"); got != 1 {
		t.Errorf("%v counted as missing by the second ingester, want 1", got)
	}
	next := sampleBatch(r, "node-a", 0, 1, 2)
	next.Run, next.PreviousRun, next.PreviousRunLastSequence = runOf("next"), next.Run, 11
	s.send(wire.TopicSample, "node-a", next)
	until(t, "the next run", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 12 })
	if got := one[string](t, ch, "SELECT toString(tuple(first_seq, last_seq, run)) FROM missing WHERE reason = 'end_of_run'"); got != fmt.Sprintf("(10,11,'%x')", runOf("node-a")) {
		t.Errorf("the end of the run: %s", got)
	}
}

// What the store refuses is a gap until it is mended and sent again.
func TestARefusedMessageIsMissingUntilItIsSentAgain(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), startDatabase(t)
	ch := open(t, db)
	if err := ch.Exec(t.Context(), "ALTER TABLE samples ADD CONSTRAINT test CHECK driver != 'poison'"); err != nil {
		t.Fatal(err)
	}
	s, r := newSender(t, conn), rand.New(rand.NewPCG(33, 34))
	in := start(t, quick(), conn, fixed(db))
	for seq := range uint64(3) {
		m := sampleBatch(r, "node-a", seq, 1, 2)
		if seq == 1 {
			m.DriverVersion = "poison"
		}
		s.send(wire.TopicSample, "node-a", m)
	}
	missing := func() string {
		return one[string](t, ch, "SELECT toString(groupArray(tuple(first_seq, last_seq, outstanding))) FROM missing")
	}
	until(t, "a gap record", func() bool { return missing() == "[(1,1,1)]" })
	until(t, "refused", func() bool { return in.counter(t, "wattledger_ingest_refused_total") == 1 })
	s.send(wire.TopicSample, "node-a", sampleBatch(r, "node-a", 1, 1, 2)) // mended
	until(t, "nothing outstanding", func() bool { return missing() == "[(1,1,0)]" })
	if n := one[uint64](t, ch, "SELECT count() FROM samples"); n != 6 {
		t.Errorf("%d rows, want 6", n)
	}
}

// Crashes between the steps of batches, on the engine: the view says what is not stored, and nothing else.
func TestTheViewOfWhatIsMissingIsExact(t *testing.T) {
	t.Parallel()
	db := startDatabase(t)
	ch := open(t, db)
	store := clickhouse.New(fixed(db), 1, nil)
	defer store.Close()
	for round := range uint64(4) { // the law is tested more often in package pipeline
		r := rand.New(rand.NewPCG(round, 35))
		for _, table := range []string{"samples", "messages", "incidents"} {
			if err := ch.Exec(t.Context(), "TRUNCATE TABLE "+table); err != nil {
				t.Fatal(err)
			}
		}
		var msgs []pipeline.Message
		top := map[string]uint64{}
		for i := range 2 + r.IntN(15) {
			seq := r.Uint64N(16)
			m := sampleBatch(r, "node-a", seq, 1, 1)
			m.Run = fmt.Appendf(nil, "round %04d run %d", round, i%2)
			top[fmt.Sprintf("%x", m.Run)] = max(top[fmt.Sprintf("%x", m.Run)], seq)
			value, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			msgs = append(msgs, pipeline.Message{Topic: wire.TopicSample, Offset: int64(i), Value: value, Received: unit.Micros(noon)})
		}
		cfg := pipeline.DefaultConfig()
		cfg.BatchRows = 1 + r.IntN(9)
		for committed := int64(0); committed < int64(len(msgs)); {
			known, err := store.Recall(t.Context(), wire.TopicSample, 0, committed)
			if err != nil {
				t.Fatal(err)
			}
			p := pipeline.NewSharing(pipeline.NewMemory(16), cfg, wire.TopicSample, 0, known)
			for range 1 + r.IntN(3) {
				for _, m := range msgs[committed:] {
					if !p.Room(1) {
						break
					}
					for asked := p.Ask([]pipeline.Message{m}); len(asked) > 0; asked = p.Ask([]pipeline.Message{m}) {
						found, err := store.Histories(t.Context(), wire.TopicSample, asked)
						if err != nil {
							t.Fatal(err)
						}
						p.Learn(asked, found)
					}
					if !p.Offer(m, 0) {
						break
					}
				}
				b := p.Batch()
				if b.Empty() {
					break
				}
				steps := r.IntN(4)
				var faults []error
				if steps > 0 && len(b.Entries) > 0 {
					faults = append(faults, store.InsertRows(t.Context(), b, 0, len(b.Entries)))
				}
				if steps > 1 {
					faults = append(faults, store.InsertMessages(t.Context(), b))
				}
				if err := errors.Join(faults...); err != nil {
					t.Fatal(err)
				}
				if steps < 3 {
					break // a crash
				}
				committed = b.Next
				p.Done()
			}
			p.Close()
		}
		for run, last := range top {
			not := one[uint64](t, ch, "SELECT count() FROM numbers(?) WHERE number NOT IN (SELECT seq FROM samples WHERE run = ?)", last+1, run)
			said := one[uint64](t, ch, "SELECT sum(outstanding) FROM missing WHERE run = ?", run)
			twice := one[int64](t, ch, "SELECT count() - uniqExact(seq) FROM samples WHERE run = ?", run)
			if not != said || twice != 0 {
				t.Fatalf("round %d, run %s: %d of %d are not stored, the view says %d; %d rows are there twice", round, run, not, last+1, said, twice)
			}
		}
	}
}
