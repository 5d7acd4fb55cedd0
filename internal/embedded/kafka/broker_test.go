package kafka_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// childEnv makes the test binary be a broker on the named folder instead of testing.
const childEnv = "EMBEDDED_KAFKA_TEST_DATA"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		cfg := kafka.DefaultConfig()
		cfg.DataDir, cfg.Listen = dir, "127.0.0.1:0"
		cfg.Topics = []kafka.Topic{{Name: "t.v1", Partitions: 3}}
		b := kafka.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		go func() { fmt.Println(b.Addr()) }()
		if err := b.Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func produce(t *testing.T, cfg kafkaconn.Config, topic string, from, n int) {
	t.Helper()
	p, err := kafkaconn.NewProducer(cfg, topic, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var msgs []kafkago.Message
	for i := from; i < from+n; i++ {
		msgs = append(msgs, kafkago.Message{Key: fmt.Appendf(nil, "node-%d", i%7), Value: fmt.Appendf(nil, "%d", i)})
	}
	if err := p.Publish(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
}

// readAll reads n messages as a member of the group, commits, and returns how often each value came.
func readAll(t *testing.T, cfg kafkaconn.Config, group, topic string, n int) map[string]int {
	t.Helper()
	gc := kafkaconn.DefaultGroupConfig()
	gc.Group, gc.Topics = group, []string{topic}
	gc.HeartbeatInterval, gc.SessionTimeout = 100*time.Millisecond, 2*time.Second
	values := make(chan string)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := kafkaconn.NewConsumer(cfg, gc, func(ctx context.Context, claim *kafkaconn.Claim) error {
		for {
			msgs, err := claim.Fetch(ctx, time.Second)
			if err != nil {
				return err
			}
			if err := claim.Commit(claim.Next()); len(msgs) > 0 && err != nil {
				return err
			}
			for _, m := range msgs {
				select {
				case values <- string(m.Value):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	got := map[string]int{}
	for i := range n {
		select {
		case v := <-values:
			got[v]++
		case <-ctx.Done():
			t.Fatalf("%d of %d messages came", i, n)
		case err := <-done:
			t.Fatalf("after %d of %d messages: %v", i, n, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return got
}

func wantEach(t *testing.T, got map[string]int, from, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("%d different values, want %d", len(got), n)
	}
	for i := from; i < from+n; i++ {
		if c := got[fmt.Sprint(i)]; c != 1 {
			t.Errorf("value %d came %d times", i, c)
		}
	}
}

func TestRestartKeepsMessagesAndOffsets(t *testing.T) {
	dir := t.TempDir()
	topic := kafka.Topic{Name: "t.v1", Partitions: 3}
	conn, stop := kafkatest.StartOn(t, dir, topic)
	produce(t, conn, "t.v1", 0, 500)
	wantEach(t, readAll(t, conn, "g", "t.v1", 500), 0, 500)
	produce(t, conn, "t.v1", 500, 100)
	stop()

	// A second topic joins on existing data; the first keeps its partitions though fewer are asked for.
	conn, stop = kafkatest.StartOn(t, dir, kafka.Topic{Name: "t.v1", Partitions: 1}, kafka.Topic{Name: "u.v1", Partitions: 2})
	lag, err := kafkaconn.Lag(t.Context(), conn, "g", []string{"t.v1", "u.v1"})
	if err != nil {
		t.Fatal(err)
	}
	var behind, end int64
	for _, l := range lag {
		behind += l.Messages()
		end += l.End
	}
	if len(lag) != 5 || behind != 100 || end != 600 {
		t.Errorf("lag = %+v: %d behind of %d", lag, behind, end)
	}
	wantEach(t, readAll(t, conn, "g", "t.v1", 100), 500, 100)
	stop()
	if _, err := os.Stat(kafkaconn.EndpointFile(dir)); !os.IsNotExist(err) {
		t.Errorf("the endpoint file is left behind: %v", err)
	}
}

func TestKilledBrokerKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked := 0
	for round := range 3 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			child.Process.Kill()
			t.Fatalf("round %d: the broker did not start: %v", round, err)
		}
		conn, err := kafkaconn.EmbeddedConfig(dir)
		if err != nil || conn.Brokers[0] != strings.TrimSpace(line) {
			t.Errorf("endpoint %v, %v, want %s", conn.Brokers, err, line)
		}
		if round > 0 {
			// What the group committed before the kill is on record, and all that was acknowledged is there.
			wantEach(t, readAll(t, conn, "g", "t.v1", 300), acked-300, 300)
		}
		for range 10 {
			produce(t, conn, "t.v1", acked, 30)
			acked += 30
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		child.Wait()
	}
	conn, _ := kafkatest.StartOn(t, dir)
	wantEach(t, readAll(t, conn, "everything", "t.v1", acked), 0, acked)
	wantEach(t, readAll(t, conn, "g", "t.v1", 300), acked-300, 300)
}

func TestTornTailIsCutOff(t *testing.T) {
	// A kill in the middle of a write leaves half a batch, which nobody was told is stored.
	dir := t.TempDir()
	conn, stop := kafkatest.StartOn(t, dir, kafka.Topic{Name: "t.v1", Partitions: 1})
	produce(t, conn, "t.v1", 0, 50)
	stop()
	files, err := filepath.Glob(filepath.Join(dir, "kafka", "log", "partitions", "t.v1-0", "*.dat"))
	if err != nil || len(files) == 0 {
		t.Fatalf("segments: %v, %v", files, err)
	}
	f, err := os.OpenFile(files[len(files)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("\x00\x00\x00\x00\x00\x00\x00\x32\x00\x00\x01\x00half")); err != nil {
		t.Fatal(err)
	}
	f.Close()
	conn, _ = kafkatest.StartOn(t, dir)
	produce(t, conn, "t.v1", 50, 50)
	wantEach(t, readAll(t, conn, "g", "t.v1", 100), 0, 100)
}

func TestBatchOverOneMegabyteIsRefused(t *testing.T) {
	conn := kafkatest.Start(t, kafka.Topic{Name: "t.v1", Partitions: 1})
	noise := make([]byte, 1_100_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	w := kafkago.Writer{Addr: kafkago.TCP(conn.Brokers...), Topic: "t.v1", RequiredAcks: kafkago.RequireAll, BatchBytes: 4 << 20, BatchTimeout: time.Millisecond, MaxAttempts: 1}
	defer w.Close()
	if err := w.WriteMessages(t.Context(), kafkago.Message{Value: noise}); err == nil || !strings.Contains(err.Error(), "too large") && !strings.Contains(err.Error(), "Too Large") && !strings.Contains(err.Error(), "Message Size") {
		t.Errorf("the broker said %v to a batch of %d bytes", err, len(noise))
	}
	p, err := kafkaconn.NewProducer(conn, "t.v1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Publish(t.Context(), kafkago.Message{Value: noise}); err == nil || kafkaconn.Temporary(err) {
		t.Errorf("the producer said %v", err)
	}
	// The largest message the producer lets through fits, even if it does not compress.
	if err := p.Publish(t.Context(), kafkago.Message{Value: noise[:conn.MaxMessageBytes-100]}); err != nil {
		t.Error(err)
	}
}

func TestSecondBrokerIsTurnedAway(t *testing.T) {
	dir := t.TempDir()
	conn, _ := kafkatest.StartOn(t, dir)
	f := func(dataDir, listen, want string) {
		t.Helper()
		cfg := kafka.DefaultConfig()
		cfg.DataDir, cfg.Listen = dataDir, listen
		err := kafka.New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil))).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line with %q", err, want)
		}
	}
	f(dir, "127.0.0.1:0", fmt.Sprintf("already in use by process %d", os.Getpid()))
	f(t.TempDir(), conn.Brokers[0], "--kafka-listen")
	f("", "127.0.0.1:0", "data_dir")
}

func TestConfigNamesEveryFault(t *testing.T) {
	cfg := kafka.Config{Listen: "0.0.0.0:99999", Topics: []kafka.Topic{{Name: "", Partitions: 0}, {Name: "a", Partitions: 1}, {Name: "a", Partitions: 1}}}
	err := cfg.Validate()
	for _, want := range []string{"data_dir", "loopback", "99999", "topics[0].name", "topics[0].partitions", "listed twice", "min_session_timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	good := kafka.DefaultConfig()
	good.DataDir = "x"
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestStopFreesThePort(t *testing.T) {
	conn, stop := kafkatest.StartOn(t, t.TempDir())
	stop()
	ln, err := net.Listen("tcp", conn.Brokers[0])
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	ln.Close()
}
