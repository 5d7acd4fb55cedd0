package process

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ReplacedEnv tells a process why it took the place of another, and how often that has happened: REASON:N.
const ReplacedEnv = "WATTLEDGER_REPLACED"

// replacement is the error that asks Main for a fresh process.
type replacement struct{ reason string }

func (r *replacement) Error() string { return "a fresh process is needed: " + r.reason }

// Replace is what a command returns to have its process replaced by a fresh one of the same program with the same arguments:
// the same process id, but new memory and new threads. It first cleans up as for an end.
func Replace(reason string) error { return &replacement{reason} }

// Replaced says why this process took the place of another, and how often that has happened in a row; n is 0 when it did not.
func (e *Env) Replaced() (reason string, n int) {
	for _, v := range e.environ {
		if value, ok := strings.CutPrefix(v, ReplacedEnv+"="); ok {
			word, count, _ := strings.Cut(value, ":")
			if n, err := strconv.Atoi(count); err == nil && n > 0 {
				return word, n
			}
		}
	}
	return "", 0
}

// exec becomes a fresh process of the same program. It returns only when that fails.
func (r *replacement) exec(args, environ []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program to start anew: %w", err)
	}
	var env []string
	n := 0
	for _, v := range environ {
		value, ok := strings.CutPrefix(v, ReplacedEnv+"=")
		if !ok {
			env = append(env, v)
			continue
		}
		if _, count, ok := strings.Cut(value, ":"); ok {
			n, _ = strconv.Atoi(count)
		}
	}
	closeOnExec()
	// The fresh process reads everything anyway; until it listens a hangup must not end it. What is ignored stays so over exec.
	signal.Ignore(syscall.SIGHUP)
	env = append(env, fmt.Sprintf("%s=%s:%d", ReplacedEnv, r.reason, n+1))
	if err := syscall.Exec(self, args, env); err != nil { //nolint:gosec // it is this program, with what it was started with
		return fmt.Errorf("start %s anew: %w", self, err)
	}
	return nil
}

// closeOnExec marks what C libraries have opened. A connection that stayed open in the fresh process would keep at its other
// end what was asked for over it.
func closeOnExec() {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, f := range dir {
		if fd, err := strconv.Atoi(filepath.Base(f.Name())); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// Hangups delivers each SIGHUP, which asks a service to read its configuration again. From its first call to the end of the
// process a SIGHUP does not end it, also while it starts or stops.
func Hangups() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

func isReplacement(err error) (*replacement, bool) {
	var r *replacement
	ok := errors.As(err, &r)
	return r, ok
}
