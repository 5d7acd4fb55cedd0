package pipeline

import (
	"cmp"
	"slices"
)

// Question is what only the database knows of a run.
type Question struct {
	Run Run
	// Seqs are numbers of which is asked whether they are stored; none asks for the head of the run alone.
	Seqs []uint64
}

// Answer is what the database holds of a run that was asked about. There is none for a run of which it holds nothing.
type Answer struct {
	Run Run
	// Highest is the highest number stored, Edge the latest times.
	Highest uint64
	Edge    Edge
	// Stored are those of the numbers asked about that are stored.
	Stored []uint64
}

// point is one message.
type point struct {
	run Run
	seq uint64
}

// recollection is what a pipeline remembers of runs, and what it heard from the database about messages below that.
//
// Memory is bounded: a run is known from some number on, in at most maxSpans spans, and the runs longest unused are forgotten
// when all of them weigh more than the pipeline's share. Whatever is not known is asked, and asking again is always right,
// because only runs without a message in the present batch are forgotten.
type recollection struct {
	runs   map[Run]*seen
	memory *Memory
	weight int    // of runs; part of memory's
	clock  uint64 // counts uses
	// heard is whether messages below what is known are stored, as the database said for the messages at hand.
	heard map[point]bool
	// placed are messages below what is known that the database did not hold when it was asked, with the number of their batch.
	placed map[point]uint64
	batch  uint64 // counts batches
}

func newRecollection(memory *Memory) recollection {
	memory.pipelines.Add(1)
	return recollection{runs: map[Run]*seen{}, memory: memory, heard: map[point]bool{}, placed: map[point]uint64{}}
}

// get is what is known of the run, or nil.
func (r *recollection) get(run Run) *seen {
	s := r.runs[run]
	if s != nil {
		r.clock++
		s.used = r.clock
	}
	return s
}

// put remembers a run that was unknown.
func (r *recollection) put(run Run, s *seen) {
	r.clock++
	s.used = r.clock
	r.runs[run] = s
	r.weigh(s.weight())
}

func (r *recollection) weigh(n int) {
	r.weight += n
	r.memory.used.Add(int64(n))
}

// judge says whether the message is stored or in the present batch.
func (r *recollection) judge(run Run, s *seen, seq uint64) verdict {
	if s == nil {
		return unknown
	}
	v := s.judge(seq)
	if v != unknown {
		return v
	}
	at := point{run, seq}
	if _, placed := r.placed[at]; placed {
		return repeated
	}
	stored, heard := r.heard[at]
	switch {
	case !heard:
		return unknown
	case stored:
		return repeated
	default:
		return fresh
	}
}

// add takes note of a message that is in the batch now.
func (r *recollection) add(run Run, s *seen, seq uint64) {
	s.account(seq)
	if seq < s.from {
		r.placed[point{run, seq}] = r.batch
		return
	}
	before := s.weight()
	s.add(seq)
	r.weigh(s.weight() - before)
}

// bound keeps a run to maxSpans. No message of its may be in the batch.
func (r *recollection) bound(run Run) {
	if s := r.runs[run]; s != nil && len(s.spans) > maxSpans {
		before := s.weight()
		s.bound()
		r.weigh(s.weight() - before)
	}
}

// remove forgets a message of the batch that was not stored after all. It stays accounted for.
func (r *recollection) remove(run Run, seq uint64) {
	delete(r.placed, point{run, seq})
	if s := r.runs[run]; s != nil {
		before := s.weight()
		s.remove(seq)
		r.weigh(s.weight() - before)
	}
}

// turn forgets what was heard for the messages before, and what the database can tell by now.
func (r *recollection) turn() {
	clear(r.heard)
	for at, batch := range r.placed {
		if batch != r.batch {
			delete(r.placed, at)
		}
	}
}

// forget drops the runs longest unused until the rest weighs at most so much. No message of theirs may be in the batch.
func (r *recollection) forget(most int) {
	if r.weight <= most {
		return
	}
	type aged struct {
		run  Run
		used uint64
	}
	all := make([]aged, 0, len(r.runs))
	for run, s := range r.runs {
		all = append(all, aged{run, s.used})
	}
	slices.SortFunc(all, func(a, b aged) int { return cmp.Compare(a.used, b.used) })
	for _, a := range all {
		if r.weight <= most {
			return
		}
		r.weigh(-r.runs[a.run].weight())
		delete(r.runs, a.run)
		r.memory.forgotten.Add(1)
	}
}

func (r *recollection) close() {
	r.weigh(-r.weight)
	clear(r.runs)
	r.memory.pipelines.Add(-1)
}

// Chunk is how many messages may be asked about at once.
func (p *Pipeline) Chunk() int { return max(1, p.known.memory.share()/(2*perMessage)) }

// perMessage is the most that one message adds to the weight: its run with a span, and the run before it with a span.
const perMessage = 4

// Room makes room for n more messages, at most Chunk of them, and is called before they are asked about. False means that the
// batch has to be stored first, because what is in it cannot be forgotten.
func (p *Pipeline) Room(n int) bool {
	share := p.known.memory.share()
	if p.known.weight+perMessage*n > share {
		if !p.batch.Empty() {
			return false
		}
		p.known.forget(share / 2)
	}
	p.known.turn()
	return true
}

// Ask lists what only the database knows of the messages. The answers go to Learn, and Ask is called again until it has no
// question left; then the messages are offered.
func (p *Pipeline) Ask(msgs []Message) []Question {
	var out []Question
	at := map[Run]int{}
	ask := func(run Run) *Question {
		i, ok := at[run]
		if !ok {
			i = len(out)
			at[run] = i
			out = append(out, Question{Run: run})
		}
		return &out[i]
	}
	for _, m := range msgs {
		id, ok := peek(m.Topic, m.Value)
		if !ok {
			continue
		}
		s := p.known.get(id.run)
		switch {
		case s == nil:
			ask(id.run)
		case p.known.judge(id.run, s, id.seq) == unknown:
			q := ask(id.run)
			q.Seqs = append(q.Seqs, id.seq)
		}
		if previous := (Run{id.run.Site, id.run.Source, id.previous}); (s == nil || !s.any) && id.hasPrevious && p.known.get(previous) == nil {
			ask(previous)
		}
	}
	return out
}

// Learn takes the answers to the questions asked.
func (p *Pipeline) Learn(asked []Question, found []Answer) {
	answers := make(map[Run]*Answer, len(found))
	for i := range found {
		answers[found[i].Run] = &found[i]
	}
	for _, q := range asked {
		a := answers[q.Run]
		if p.known.runs[q.Run] == nil {
			s := &seen{}
			if a != nil {
				// Beyond the highest nothing is stored; below it, the database is asked when it matters.
				s = &seen{from: a.Highest, spans: []Span{{a.Highest, a.Highest}}, top: a.Highest, any: true, edge: a.Edge}
			}
			p.known.put(q.Run, s)
		}
		for _, seq := range q.Seqs {
			p.known.heard[point{q.Run, seq}] = a != nil && slices.Contains(a.Stored, seq)
		}
	}
}
