package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// running is a command that was started as a user would.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	mark string
	line string
	// out and err may be read while the command runs.
	out, err lines
	// ended is closed when the command is gone; code is then what it ended with, −1 after a signal.
	ended chan struct{}
	code  int
}

// options are what a case changes about how a command is started.
type options struct {
	// dir is the working folder; a fresh empty one if absent.
	dir string
	// env is added to the environment.
	env []string
	// limit is how long the command may take; two minutes if absent.
	limit time.Duration
}

// start starts a command. It is killed at the end of the test, or when it takes too long, and all its children with it.
func start(t *testing.T, o options, program string, args ...string) *running {
	t.Helper()
	b := binaries(t)
	if o.limit == 0 {
		o.limit = 2 * time.Minute
	}
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	// Children inherit the mark, so that none can hide.
	r := &running{t: t, mark: "E2E_COMMAND=" + strconv.FormatInt(time.Now().UnixNano(), 36), ended: make(chan struct{})}
	r.cmd = exec.Command(program, args...)
	r.line = filepath.Base(program) + " " + strings.Join(args, " ")
	r.cmd.Dir = o.dir
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "WATTLEDGER_") {
			r.cmd.Env = append(r.cmd.Env, e)
		}
	}
	r.cmd.Env = append(r.cmd.Env, r.mark)
	if program == b.wattledger { // the collector has no engine, and refuses keys that it does not know
		r.cmd.Env = append(r.cmd.Env, "WATTLEDGER_LIBCHDB="+b.libchdb)
	}
	r.cmd.Env = append(r.cmd.Env, o.env...) // the case has the last word
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C for the tests is not one for the command
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(o.limit, func() {
		t.Errorf("%s: still running after %s; where it was is in its standard error", r.line, o.limit)
		r.signal(syscall.SIGQUIT)
		time.AfterFunc(5*time.Second, func() { r.signal(syscall.SIGKILL) })
	})
	go func() {
		defer close(r.ended)
		defer late.Stop()
		err := r.cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			fmt.Fprintln(&r.err, "wait:", err)
		}
		r.code = r.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		select {
		case <-r.ended:
		default:
			r.signal(syscall.SIGKILL)
			<-r.ended
		}
		for _, pid := range r.orphans(5 * time.Second) {
			t.Errorf("%s: left process %d behind", r.line, pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("%s\nended with %d\n%s%s", r.line, r.code, tail(r.out.String(), 2000), tail(r.err.String(), 6000))
		}
	})
	return r
}

// wattledger starts our program.
func wattledger(t *testing.T, o options, args ...string) *running {
	t.Helper()
	return start(t, o, binaries(t).wattledger, args...)
}

func (r *running) signal(s syscall.Signal) {
	select {
	case <-r.ended: // the pid may be another's by now
	default:
		_ = r.cmd.Process.Signal(s)
	}
}

// wait returns when the command has ended, with its exit code.
func (r *running) wait() int {
	r.t.Helper()
	<-r.ended
	return r.code
}

// endsWithin waits for an end that has to be quick.
func (r *running) endsWithin(limit time.Duration) int {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(limit):
		r.t.Errorf("%s: still running %s after it was told to stop", r.line, limit)
		r.signal(syscall.SIGQUIT)
		select {
		case <-r.ended:
		case <-time.After(5 * time.Second):
			r.signal(syscall.SIGKILL)
			<-r.ended
		}
	}
	return r.code
}

// until waits for something that the command brings about.
func (r *running) until(what string, limit time.Duration, f func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(limit); !f(); {
		select {
		case <-r.ended:
			if !f() {
				r.t.Fatalf("%s ended with %d before %s", r.line, r.code, what)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %s not within %s", r.line, what, limit)
		}
	}
}

// orphans are processes that this command started, directly or not, and that are still there after a while.
func (r *running) orphans(patience time.Duration) (pids []int) {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		pids = nil
		entries, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, e := range entries {
			env, err := os.ReadFile(e)
			if err != nil || !bytes.Contains(env, []byte(r.mark+"\x00")) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(e))); err == nil {
				pids = append(pids, pid)
			}
		}
		if len(pids) == 0 || time.Now().After(deadline) {
			return pids
		}
	}
}

// lastLine is the last line of standard output.
func (r *running) lastLine() []byte {
	all := strings.Split(strings.TrimRight(r.out.String(), "\n"), "\n")
	return []byte(all[len(all)-1])
}

// lines collects output that is read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
