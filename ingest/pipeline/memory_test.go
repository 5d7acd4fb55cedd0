package pipeline

import (
	"testing"

	"github.com/wattledger/wattledger/schemas/wire"
)

// points is a database that is as quick as a map.
type points struct {
	stored map[point]int
	top    map[Run]uint64
}

func (d *points) answer(asked []Question) []Answer {
	var out []Answer
	for _, q := range asked {
		top, any := d.top[q.Run]
		if !any {
			continue
		}
		a := Answer{Run: q.Run, Highest: top}
		for _, seq := range q.Seqs {
			if d.stored[point{q.Run, seq}] > 0 {
				a.Stored = append(a.Stored, seq)
			}
		}
		out = append(out, a)
	}
	return out
}

// Runs without end, numbers that leave a hole each, numbers that fall, and all of it again: memory stays within its bound, for two
// partitions together, and everything is stored once.
func TestMemoryIsBoundedWhateverArrives(t *testing.T) {
	const limit = 1000
	memory := NewMemory(limit)
	d := &points{stored: map[point]int{}, top: map[Run]uint64{}}
	partitions := []*Pipeline{
		NewSharing(memory, DefaultConfig(), wire.TopicSample, 0, nil),
		NewSharing(memory, DefaultConfig(), wire.TopicSample, 1, nil),
	}
	flush := func(p *Pipeline) {
		for _, e := range p.Batch().Entries {
			if !e.Repeat {
				d.stored[point{e.Run, e.Seq}]++
				d.top[e.Run] = max(d.top[e.Run], e.Seq)
			}
		}
		p.Done()
	}
	sent, offset, most := map[point]bool{}, int64(0), int64(0)
	send := func(p *Pipeline, msgs []Message) {
		t.Helper()
		for len(msgs) > 0 {
			part := msgs[:min(p.Chunk(), len(msgs))]
			msgs = msgs[len(part):]
			for !p.Room(len(part)) {
				flush(p)
			}
			for asked := p.Ask(part); len(asked) > 0; asked = p.Ask(part) {
				p.Learn(asked, d.answer(asked))
			}
			for _, m := range part {
				for !p.Offer(m, noon) {
					flush(p)
				}
				most = max(most, memory.Used())
			}
		}
	}
	batch := func(n int, of func(i int) (run int, seq uint64)) []Message {
		var out []Message
		for i := range n {
			run, seq := of(i)
			m := samples(seq, 1)
			m.Run, m.PreviousRun, m.PreviousRunLastSequence = runBytes(run), runBytes(run+100_000), 7
			sent[point{Run{m.Site, m.Node, [16]byte(m.Run)}, seq}] = true
			out = append(out, message(offset, m))
			offset++
		}
		return out
	}
	for range 2 {
		for k, p := range partitions {
			base := 10_000 * k
			send(p, batch(3000, func(i int) (int, uint64) { return base + i, uint64(i % 3) }))                // each of its own run
			send(p, batch(3000, func(i int) (int, uint64) { return base + 5000, uint64(3 * i) }))             // a hole before each
			send(p, batch(3000, func(i int) (int, uint64) { return base + 5001, uint64(2 * (3000 - i)) }))    // falling
			send(p, batch(3000, func(i int) (int, uint64) { return base + 5002 + i%7, uint64(i * i % 977) })) // to and fro, with repeats
		}
	}
	for _, p := range partitions {
		flush(p)
	}
	if most > limit || most < limit/2 {
		t.Errorf("at most %d runs and spans were remembered, want up to %d", most, limit)
	}
	if memory.Forgotten() == 0 {
		t.Error("nothing was forgotten")
	}
	if len(d.stored) != len(sent) {
		t.Errorf("%d messages stored, want %d", len(d.stored), len(sent))
	}
	for at, n := range d.stored {
		if n != 1 {
			t.Fatalf("message %d of run %s is stored %d times", at.seq, at.run.Hex(), n)
		}
	}
	for _, p := range partitions {
		p.Close()
		if len(p.known.heard)+len(p.known.placed) > p.Chunk()*2 {
			t.Errorf("%d answers and %d placed messages are kept", len(p.known.heard), len(p.known.placed))
		}
	}
	if memory.Used() != 0 {
		t.Errorf("%d are remembered after the end", memory.Used())
	}
}

// What a run and its span take is about what the configuration's manual says.
func TestTheCostOfARun(t *testing.T) {
	const runs = 50_000
	per := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			p := New(DefaultConfig(), wire.TopicSample, 0, nil)
			for i := range runs {
				p.known.put(Run{"paris-1", "node-00001", [16]byte(runBytes(i))}, &seen{spans: []Span{{1, 1}}, any: true})
			}
		}
	})
	bytes := per.AllocedBytesPerOp() / runs / 2
	t.Logf("%d bytes a run or span", bytes)
	if bytes > 200 {
		t.Errorf("%d bytes a run or span, the manual says some 150", bytes)
	}
}
