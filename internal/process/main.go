package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes of every command.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2
	exitKilled = 130 // a second interrupt, as shells report it
)

// Program is a binary with commands. Each command of its kong grammar has a method
// Run(ctx context.Context, env *process.Env) error.
type Program struct {
	// Name and Description head the help.
	Name, Description string
	// KnownEnv are variables beginning with WATTLEDGER_ that are read elsewhere and are no configuration.
	KnownEnv []string
	// Options go to kong as they are.
	Options []kong.Option
}

// Usage marks an error as one of wrong usage, for exit code 2.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// Usagef is Usage with a text.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// ExitCode is what a process ends with after err.
func ExitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &usage):
		return ExitUsage
	}
	return ExitFailed
}

// Main runs the command named by the arguments and ends the process. The first SIGINT or SIGTERM ends
// the command's context; the second ends the process at once. grammar is kong's, a pointer to a struct
// that embeds Flags; flags points to that part of it.
func (p Program) Main(grammar any, flags *Flags) {
	ctx, stop := untilSignal(context.Background(), os.Exit)
	code, replace := p.execute(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr, grammar, flags)
	stop()
	if replace != nil {
		if err := replace.exec(os.Args, os.Environ()); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", p.Name, oneLine(err))
		}
	}
	os.Exit(code)
}

// untilSignal ends the context at the first signal and calls exit at the second.
func untilSignal(ctx context.Context, exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-signals:
				if n > 0 {
					exit(exitKilled)
				}
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(done); cancel() }
}

// exited carries kong's wish to end (--help, --version) out of its depths; never past Execute.
type exited int

// Execute is Main without the process: it returns the exit code. Errors go to stderr in one line, unless
// they are a list of faults; with --json they are the last line of stdout as well.
func (p Program) Execute(ctx context.Context, args, environ []string, stdout, stderr io.Writer, grammar any, flags *Flags) (code int) {
	code, _ = p.execute(ctx, args, environ, stdout, stderr, grammar, flags)
	return code
}

// execute also returns what is to take the place of this process, if anything.
func (p Program) execute(ctx context.Context, args, environ []string, stdout, stderr io.Writer, grammar any, flags *Flags) (code int, replace *replacement) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exited:
			code = int(r)
		default:
			panic(r)
		}
	}()
	options := append([]kong.Option{
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.Vars{"version": p.Name + " " + ReadVersion().String()},
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	}, p.Options...)
	parser, err := kong.New(grammar, options...)
	if err != nil {
		fmt.Fprintf(stderr, "%s: command line grammar: %v\n", p.Name, err)
		return ExitFailed, nil
	}
	command, err := parser.Parse(args)
	if err != nil {
		text := fmt.Sprintf("%s; see %s --help", oneLine(err), p.Name)
		fmt.Fprintf(stderr, "%s: %s\n", p.Name, text)
		// Reading stopped at the fault: what was asked for may stand behind it.
		if flags.JSON || slices.Contains(args, "--json") {
			printLast(stdout, map[string]string{"error": text})
		}
		return ExitUsage, nil
	}
	env := NewEnv(*flags, stdout, stderr, environ)
	env.knownEnv = p.KnownEnv
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.Run(env)
	if err == nil {
		return ExitDone, nil
	}
	if r, ok := isReplacement(err); ok {
		return ExitFailed, r
	}
	text := oneLine(err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		text = "interrupted before it was done"
	}
	fmt.Fprintf(stderr, "%s: %s\n", p.Name, text)
	if flags.JSON {
		printLast(stdout, lastLine(err, text))
	}
	return ExitCode(err), nil
}

// printLast writes the last line of standard output.
func printLast(stdout io.Writer, v any) {
	if line, err := json.Marshal(v); err == nil {
		fmt.Fprintf(stdout, "%s\n", line)
	}
}

// Found is an error of a command that did its work and found something wrong: with --json its result is the last line.
type Found interface {
	error
	Result() any
}

// lastLine is what --json prints for an error: the result it found, or the error alone.
func lastLine(err error, text string) any {
	var found Found
	if errors.As(err, &found) {
		return found.Result()
	}
	return map[string]string{"error": text}
}

func oneLine(err error) string {
	var list *listError
	if errors.As(err, &list) {
		return err.Error()
	}
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}
