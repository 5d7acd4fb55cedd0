package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestRunStopsAllAtTheFirstFault(t *testing.T) {
	broken := errors.New("broken")
	ended := 0
	wait := func(ctx context.Context) error { <-ctx.Done(); ended++; return ctx.Err() }
	f := func(want error, fns ...func(context.Context) error) {
		t.Helper()
		if err := Run(t.Context(), fns...); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	f(broken, wait, func(context.Context) error { return broken })
	if ended != 1 {
		t.Error("the others were not waited for")
	}
	f(nil, wait, func(context.Context) error { return nil }, func(context.Context) error { return fmt.Errorf("all: %w", ErrStop) })
	f(nil)
	other := errors.New("broken while stopping")
	f(other, func(ctx context.Context) error { <-ctx.Done(); return other }, func(context.Context) error { return ErrStop })
	// A cancelled context is no fault, but a time limit of one's own is.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, wait); err != nil {
		t.Errorf("a stop on demand gives %v", err)
	}
	f(context.DeadlineExceeded, wait, func(ctx context.Context) error { return fmt.Errorf("connect: %w", context.DeadlineExceeded) })
}

func TestRepeatedReasonsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(LimitRepeats(slog.NewTextHandler(&out, nil), 10*time.Second))
		f := func(want int) {
			t.Helper()
			if got := strings.Count(out.String(), "\n"); got != want {
				t.Errorf("%d lines, want %d:\n%s", got, want, out.String())
			}
			out.Reset()
		}
		for range 5 {
			log.Warn("refused", "reason", "size")
			log.With("reason", "age").Warn("refused")
			log.WithGroup("g").Warn("refused other")
		}
		f(1 + 1 + 5)
		time.Sleep(11 * time.Second)
		log.Warn("refused", "reason", "size")
		if !strings.Contains(out.String(), "repeated=4") {
			t.Errorf("the lines left out are not told: %s", out.String())
		}
		f(1)
		log.Warn("another message", "reason", "size")
		f(1)
		for i := range 3 * maxReasons {
			log.Warn("refused", "reason", i)
		}
		f(3 * maxReasons)
	})
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestServer(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(ReadVersion().metric())
	health := &Health{}
	sick := errors.New("no connection")
	health.Add("kafka", func(context.Context) error { return sick })
	health.Add("clock", func(context.Context) error { return nil })
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	s := NewServer(ServerConfig{Listen: "127.0.0.1:0"}, reg, health, log)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	base := "http://" + s.Addr()
	f := func(path string, code int, want string) {
		t.Helper()
		if c, body := get(t, base+path); c != code || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, c, body)
		}
	}
	f("/metrics", 200, "wattledger_build_info")
	f("/healthz", 200, "ok")
	f("/readyz", 503, `"kafka":"no connection"`)
	sick = nil
	f("/readyz", 200, `"ready":true`)
	f("/debug/pprof/", 404, "")

	err := NewServer(ServerConfig{Listen: s.Addr()}, reg, health, log).Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "--metrics-listen") || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a taken port says %v", err)
	}
	if err := NewServer(ServerConfig{Listen: "0.0.0.0:0", Pprof: true}, reg, health, log).Run(ctx); err == nil {
		t.Error("pprof was served to the world")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", s.Addr()); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
}

type testCLI struct {
	Flags
	Work struct {
		workCmd
	} `cmd:"" help:"Work."`
}

type workCmd struct {
	How string `arg:"" default:"well"`
}

func (w *workCmd) Run(ctx context.Context, env *Env) error {
	switch w.How {
	case "badly":
		return errors.Join(errors.New("first"), errors.New("second"))
	case "wrongly":
		return Usagef("%q is not a way to work", w.How)
	case "long":
		<-ctx.Done()
		return fmt.Errorf("work: %w", ctx.Err())
	case "served":
		env.ServeMetrics("127.0.0.1:0")
		return env.Run(ctx, func(context.Context) error { fmt.Fprintln(env.Stdout, "served"); return ErrStop })
	}
	fmt.Fprintln(env.Stdout, "data in", env.DataDir(".wattledger"))
	return nil
}

func execute(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	var cli testCLI
	code = Program{Name: "tester", Description: "Tests."}.Execute(ctx, args, nil, &out, &errOut, &cli, &cli.Flags)
	return code, out.String(), errOut.String()
}

func TestExitCodes(t *testing.T) {
	f := func(want int, wantOut, wantErr string, args ...string) {
		t.Helper()
		code, out, errOut := execute(t.Context(), args...)
		if code != want || !strings.Contains(out, wantOut) || !strings.Contains(errOut, wantErr) {
			t.Errorf("%v: code %d\nstdout: %s\nstderr: %s", args, code, out, errOut)
		}
	}
	f(0, "data in .wattledger", "", "work")
	f(0, "data in /x", "", "work", "--data", "/x")
	f(1, "", "tester: first; second\n", "work", "badly")
	f(1, `{"error":"first; second"}`, "first", "work", "badly", "--json")
	f(2, "", `"wrongly" is not a way`, "work", "wrongly")
	f(2, "", "unknown flag --wrok", "--wrok")
	f(2, `{"error":"unknown flag --wrok`, "unknown flag --wrok", "work", "--wrok", "--json")
	f(2, `see tester --help"}`, "unexpected argument play", "--json", "play")
	f(2, "", "tester --help", "play")
	f(2, "", "--log-level", "work", "--log-level", "loud")
	f(0, "served", "metrics served", "work", "served")
	f(0, "", "wiring are fine", "work", "served", "--check")
	f(0, "Usage: tester", "", "--help")
	f(0, "tester "+ReadVersion().Version, "", "--version")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code, _, errOut := execute(ctx, "work", "long"); code != 1 || !strings.Contains(errOut, "interrupted") {
		t.Errorf("interrupted: %d %s", code, errOut)
	}
}

func TestSignals(t *testing.T) {
	exits := make(chan int, 1)
	ctx, stop := untilSignal(t.Context(), func(code int) { exits <- code })
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := <-exits; code != 130 {
		t.Errorf("the second signal exits with %d", code)
	}
}

func TestWriteFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a", "b")
	for _, want := range []string{"one", "two"} {
		if err := WriteFile(name, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); string(got) != want || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	files, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// A writer that was killed leaves its part behind; the next one clears it away, and nobody else's.
func TestWhatAKilledWriterLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "b")
	for _, left := range []string{".b.123.tmp", ".c.123.tmp", ".b.mine"} {
		if err := os.WriteFile(filepath.Join(dir, left), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other, err := CreateTemp(name) // another writer is at work
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(name, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{filepath.Base(other.Name()), ".b.mine", ".c.123.tmp", "b"}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

func TestJSONLogs(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, "warn", "json")
	log.Info("quiet")
	log.Warn("loud", "topic", "t")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `"topic":"t"`) {
		t.Errorf("logged %s", got)
	}
}
