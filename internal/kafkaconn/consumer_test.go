package kafkaconn_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"

	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

var quiet = slog.New(slog.DiscardHandler)

// store is what the messages are written to: it survives the consumers.
type store struct {
	mu     sync.Mutex
	times  map[string]int // guarded by mu; how often each value was stored
	holder map[int]string // guarded by mu; who stored last, by partition
	change chan struct{}
}

func newStore() *store {
	return &store{times: map[string]int{}, holder: map[int]string{}, change: make(chan struct{}, 1)}
}

func (s *store) add(who string, msgs []kafka.Message) {
	s.mu.Lock()
	for _, m := range msgs {
		s.times[string(m.Value)]++
		s.holder[m.Partition] = who
	}
	s.mu.Unlock()
	select {
	case s.change <- struct{}{}:
	default:
	}
}

// wait blocks until cond holds; the test's own time limit is the only clock.
func (s *store) wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		s.mu.Lock()
		ok := cond()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.change:
		case <-deadline:
			t.Fatalf("%s did not happen; %d values stored, held by %v", what, len(s.times), s.holder)
		}
	}
}

func group(name string, topics ...string) kafkaconn.GroupConfig {
	g := kafkaconn.DefaultGroupConfig()
	g.Group, g.Topics = name, topics
	g.SessionTimeout, g.HeartbeatInterval = 2*time.Second, 50*time.Millisecond
	g.PartitionWatch, g.FetchWait = 100*time.Millisecond, 50*time.Millisecond
	return g
}

// start runs a consumer and returns how to stop it and wait for its verdict.
func start(t *testing.T, conn kafkaconn.Config, g kafkaconn.GroupConfig, reg prometheus.Registerer, h kafkaconn.Handler) (stop func() error) {
	t.Helper()
	c, err := kafkaconn.NewConsumer(conn, g, h, quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	return stop
}

// storing is the shape of an ingester: fetch, store, commit.
func (s *store) storing(who string) kafkaconn.Handler {
	return func(ctx context.Context, c *kafkaconn.Claim) error {
		for {
			msgs, err := c.Fetch(ctx, 20*time.Millisecond)
			if err != nil {
				return err
			}
			if len(msgs) == 0 {
				continue
			}
			s.add(who, msgs)
			if err := c.Commit(c.Next()); err != nil {
				return err
			}
		}
	}
}

func publish(t *testing.T, conn kafkaconn.Config, topic string, from, n int) {
	t.Helper()
	p, err := kafkaconn.NewProducer(conn, topic, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	msgs := make([]kafka.Message, n)
	for i := range msgs {
		msgs[i] = kafka.Message{Key: fmt.Append(nil, "node-", i), Value: fmt.Append(nil, from+i)}
	}
	if err := p.Publish(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
}

func TestTwoConsumersShareAndHandOver(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: "t.v1", Partitions: 4})
	s := newStore()
	publish(t, conn, "t.v1", 0, 400)
	stopA := start(t, conn, group("g", "t.v1"), nil, s.storing("a"))
	s.wait(t, "a reading everything", func() bool { return len(s.times) == 400 })

	start(t, conn, group("g", "t.v1"), nil, s.storing("b"))
	next := 400
	s.wait(t, "b taking over a part", func() bool {
		s.mu.Unlock() // publish waits for nobody, but the handlers need the lock
		publish(t, conn, "t.v1", next, 40)
		next += 40
		s.mu.Lock()
		both := map[string]bool{}
		for _, who := range s.holder {
			both[who] = true
		}
		return both["a"] && both["b"]
	})
	if err := stopA(); err != nil {
		t.Errorf("a stopped with %v", err)
	}
	publish(t, conn, "t.v1", next, 400)
	next += 400
	s.wait(t, "b reading the rest", func() bool { return len(s.times) == next })
	s.mu.Lock()
	defer s.mu.Unlock()
	for v, n := range s.times {
		// Everybody stored and committed before giving a partition away, so nothing comes twice.
		if n != 1 {
			t.Errorf("value %s was stored %d times", v, n)
		}
	}
	lag, err := kafkaconn.Lag(t.Context(), conn, "g", []string{"t.v1", "absent.v1"})
	if err != nil || len(lag) != 4 {
		t.Fatalf("lag %v, %v", lag, err)
	}
}

func TestWhatWasNotCommittedComesAgain(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: "t.v1", Partitions: 1})
	publish(t, conn, "t.v1", 0, 100)
	crash := errors.New("store is broken")
	s := newStore()
	stop := start(t, conn, group("g", "t.v1"), nil, func(ctx context.Context, c *kafkaconn.Claim) error {
		if c.Committed() != -1 {
			return fmt.Errorf("committed = %d in a new group", c.Committed())
		}
		msgs, err := c.Fetch(ctx, time.Minute)
		if err != nil {
			return err
		}
		if err := c.Commit(msgs[10].Offset); err != nil {
			return err
		}
		s.add("first", msgs) // stored, but the commit does not happen any more
		return crash
	})
	s.wait(t, "the first attempt", func() bool { return len(s.times) > 0 })
	if err := stop(); !errors.Is(err, crash) && err != nil {
		t.Errorf("the consumer ended with %v, want the handler's error", err)
	}
	offsets := make(chan int64, 1)
	start(t, conn, group("g", "t.v1"), nil, func(ctx context.Context, c *kafkaconn.Claim) error {
		if c.Committed() != 10 {
			return fmt.Errorf("committed = %d, want 10", c.Committed())
		}
		// The store knows better: offsets below 60 are in it already.
		if err := c.SkipTo(60); err != nil {
			return err
		}
		if c.SkipTo(59) == nil {
			return errors.New("the start moved back")
		}
		msgs, err := c.Fetch(ctx, time.Minute)
		if err != nil {
			return err
		}
		offsets <- msgs[0].Offset
		<-ctx.Done()
		return ctx.Err()
	})
	if got := <-offsets; got != 60 {
		t.Errorf("reading went on at %d, want 60", got)
	}
}

func TestHandlerErrorStopsTheConsumer(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: "t.v1", Partitions: 2})
	broken := errors.New("broken")
	f := func(h kafkaconn.Handler, check func(error) bool) {
		t.Helper()
		c, err := kafkaconn.NewConsumer(conn, group("g", "t.v1"), h, quiet, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(t.Context()); !check(err) {
			t.Errorf("Run ended with %v", err)
		}
	}
	f(func(context.Context, *kafkaconn.Claim) error { return broken }, func(err error) bool { return errors.Is(err, broken) })
	f(func(context.Context, *kafkaconn.Claim) error { return nil }, func(err error) bool { return err != nil })
}

func TestFencedGenerationCannotCommit(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: "t.v1", Partitions: 1})
	publish(t, conn, "t.v1", 0, 10)
	reg := prometheus.NewRegistry()
	holding := make(chan struct{})
	second := make(chan struct{})
	verdict, held := make(chan error, 1), make(chan error, 2)
	// The zombie holds its batch until another member has the partition and has committed.
	start(t, conn, group("g", "t.v1"), reg, func(ctx context.Context, c *kafkaconn.Claim) error {
		if _, err := c.Fetch(ctx, time.Minute); err != nil {
			return err
		}
		held <- c.Held()
		close(holding)
		<-second
		held <- c.Held()
		err := c.Commit(c.Next())
		verdict <- err
		return err
	})
	<-holding
	start(t, conn, group("g", "t.v1"), nil, func(ctx context.Context, c *kafkaconn.Claim) error {
		if _, err := c.Fetch(ctx, time.Minute); err != nil {
			return err
		}
		if err := c.Commit(5); err != nil {
			return err
		}
		close(second)
		<-ctx.Done()
		return ctx.Err()
	})
	if before, after := <-held, <-held; before != nil || !errors.Is(after, kafkaconn.ErrFenced) {
		t.Errorf("asked whether it holds the partition, the zombie hears %v before it loses it and %v after", before, after)
	}
	if err := <-verdict; !errors.Is(err, kafkaconn.ErrFenced) || kafkaconn.Temporary(err) {
		t.Errorf("the zombie's commit said %v, want ErrFenced", err)
	}
	lag, err := kafkaconn.Lag(t.Context(), conn, "g", []string{"t.v1"})
	if err != nil || lag[0].Committed != 5 {
		t.Errorf("committed is %+v, %v; want 5", lag, err)
	}
	if n, err := testutil.GatherAndCount(reg, "wattledger_kafka_commits_total"); n != 1 || err != nil {
		t.Errorf("the refused commit is not counted: %d, %v", n, err)
	}
}

func TestRemovedRangeIsAnErrorWithBothOffsets(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: "t.v1", Partitions: 1})
	publish(t, conn, "t.v1", 0, 50)
	commitAt := func(offset int64) {
		t.Helper()
		client := &kafka.Client{Addr: kafka.TCP(conn.Brokers...)}
		resp, err := client.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
			GroupID: "g", GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{"t.v1": {{Partition: 0, Offset: offset}}},
		})
		if err != nil || resp.Topics["t.v1"][0].Error != nil {
			t.Fatal(err, resp)
		}
	}
	run := func() error {
		c, err := kafkaconn.NewConsumer(conn, group("g", "t.v1"), newStore().storing("a"), quiet, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Run(t.Context())
	}
	var gap *kafkaconn.RangeError
	commitAt(70) // the log ends at 50: its tail was lost
	if err := run(); !errors.As(err, &gap) || gap.Wanted != 70 || gap.First != 0 || gap.End != 50 {
		t.Errorf("got %v", err)
	}
	commitAt(10)
	kafkatest.DeleteBefore(t, conn, "t.v1", 0, 30) // the broker removed what nobody had read
	gap = nil
	if err := run(); !errors.As(err, &gap) || gap.Wanted != 10 || gap.First != 30 || kafkaconn.Temporary(err) {
		t.Errorf("got %v", err)
	}

	// An operator who accepts the loss gets it counted.
	reg := prometheus.NewRegistry()
	g := group("g", "t.v1")
	g.AcceptLoss = true
	s := newStore()
	start(t, conn, g, reg, s.storing("a"))
	s.wait(t, "the rest", func() bool { return len(s.times) == 20 })
	if n, err := testutil.GatherAndCount(reg, "wattledger_kafka_lost_total"); n != 1 || err != nil {
		t.Errorf("the lost messages are not counted: %d, %v", n, err)
	}
}

func TestRangeRemovedWhileReading(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: "t.v1", Partitions: 1})
	publish(t, conn, "t.v1", 0, 10)
	claims := make(chan *kafkaconn.Claim)
	resume := make(chan struct{})
	c, err := kafkaconn.NewConsumer(conn, group("g", "t.v1"), func(ctx context.Context, c *kafkaconn.Claim) error {
		if _, err := c.Fetch(ctx, time.Minute); err != nil {
			return err
		}
		claims <- c
		<-resume
		for {
			if _, err := c.Fetch(ctx, time.Minute); err != nil {
				return err
			}
		}
	}, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context()) }()
	<-claims
	if next, err := deleteAndRecreate(t, conn, "t.v1"); err != nil {
		t.Fatal(err)
	} else if next != 0 {
		t.Fatalf("the new topic starts at %d", next)
	}
	close(resume)
	var gap *kafkaconn.RangeError
	if err := <-done; !errors.As(err, &gap) || gap.Wanted != 10 || gap.End != 0 {
		t.Errorf("got %v, want offset 10 missed in an empty log", err)
	}
}

func TestNewPartitionsAreTaken(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: "t.v1", Partitions: 1})
	s := newStore()
	start(t, conn, group("g", "t.v1"), nil, s.storing("a"))
	publish(t, conn, "t.v1", 0, 10)
	s.wait(t, "the first partition", func() bool { return len(s.times) == 10 })
	client := &kafka.Client{Addr: kafka.TCP(conn.Brokers...)}
	resp, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: "t.v1", Count: 3}}})
	if err != nil || resp.Errors["t.v1"] != nil {
		t.Fatal(err, resp)
	}
	publish(t, conn, "t.v1", 10, 100)
	s.wait(t, "the new partitions", func() bool { return len(s.times) == 110 && len(s.holder) == 3 })
}

func TestTopicsMayComeLater(t *testing.T) {
	conn := kafkatest.Start(t)
	s := newStore()
	start(t, conn, group("g", "late.v1"), nil, s.storing("a"))
	for range 2 { // creating twice is creating once
		if err := kafkaconn.EnsureTopics(t.Context(), conn, []kafkaconn.Topic{{Name: "late.v1", Partitions: 2, Retention: time.Hour}}); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, conn, "late.v1", 0, 10)
	s.wait(t, "the messages of the late topic", func() bool { return len(s.times) == 10 })
}
