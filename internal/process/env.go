package process

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kong"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Flags are the flags every command has. A binary embeds them in its kong grammar.
type Flags struct {
	Config        string           `help:"Read the configuration from a YAML file." placeholder:"FILE" env:"WATTLEDGER_CONFIG" group:"Common flags"`
	Set           []string         `help:"Set one configuration key; wins over file and environment. Repeatable." placeholder:"SECTION.KEY=VALUE" sep:"none" group:"Common flags"`
	Data          string           `help:"Folder for everything that is kept." placeholder:"DIR" env:"WATTLEDGER_DATA" group:"Common flags"`
	JSON          bool             `name:"json" help:"Make the last line of standard output one JSON object." group:"Common flags"`
	Quiet         bool             `short:"q" help:"No progress on the terminal." group:"Common flags"`
	LogLevel      string           `help:"Least level that is logged: debug, info, warn or error." enum:"debug,info,warn,error" default:"info" env:"WATTLEDGER_LOG_LEVEL" group:"Common flags"`
	LogFormat     string           `help:"Logs as text or json." enum:"text,json" default:"text" env:"WATTLEDGER_LOG_FORMAT" group:"Common flags"`
	MetricsListen string           `help:"Address for /metrics, /healthz and /readyz; port 0 takes a free one, off serves none." placeholder:"HOST:PORT" env:"WATTLEDGER_METRICS_LISTEN" group:"Common flags"`
	WebConfigFile string           `help:"TLS and logins for that address, as Prometheus exporters take them (web configuration file)." placeholder:"FILE" env:"WATTLEDGER_WEB_CONFIG_FILE" group:"Common flags"`
	Pprof         bool             `help:"Serve /debug/pprof/ beside the metrics." group:"Common flags"`
	Check         bool             `help:"Stop after reading the configuration and wiring up." group:"Common flags"`
	Version       kong.VersionFlag `help:"Print the version and stop." group:"Common flags"`
}

// reservedEnv are the variables that Flags reads, which are no configuration keys.
var reservedEnv = []string{"WATTLEDGER_CONFIG", "WATTLEDGER_DATA", "WATTLEDGER_LOG_LEVEL", "WATTLEDGER_LOG_FORMAT", "WATTLEDGER_METRICS_LISTEN", "WATTLEDGER_WEB_CONFIG_FILE", ReplacedEnv}

// Env is what a command is handed: its flags, where to write, what to log and to measure with.
type Env struct {
	// Flags are the common flags as they were given.
	Flags Flags
	// Log goes to standard error; lines that repeat with one reason are limited.
	Log *slog.Logger
	// Metrics is what /metrics shows.
	Metrics *prometheus.Registry
	// Health is what /readyz asks.
	Health *Health
	// Stdout is for results, Stderr for logs and progress.
	Stdout, Stderr io.Writer
	// Version is the build's.
	Version Version

	environ   []string
	knownEnv  []string
	overrides []override
	defaults  []override
	metrics   ServerConfig
}

// NewEnv makes the environment of one command. environ is as os.Environ returns it.
func NewEnv(flags Flags, stdout, stderr io.Writer, environ []string) *Env {
	e := &Env{
		Flags:   flags,
		Log:     NewLogger(stderr, flags.LogLevel, flags.LogFormat),
		Metrics: prometheus.NewRegistry(),
		Health:  &Health{},
		Stdout:  stdout,
		Stderr:  stderr,
		Version: ReadVersion(),
		environ: environ,
		metrics: ServerConfig{Listen: flags.MetricsListen, Pprof: flags.Pprof, WebConfig: flags.WebConfigFile},
	}
	e.Metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), e.Version.metric())
	for _, s := range flags.Set {
		path, value, _ := strings.Cut(s, "=")
		e.overrides = append(e.overrides, override{path: path, value: value, from: "--set " + s})
	}
	return e
}

// Again is an environment like this one at its start, to read the configuration anew with. It logs to w and shares no metric.
func (e *Env) Again(w io.Writer) *Env { return NewEnv(e.Flags, w, w, e.environ) }

// NewLogger writes to w, as text or json, from the level on, with repeated reasons limited to one line in ten seconds.
func NewLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(cmp.Or(level, "info"))); err != nil {
		l = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: l}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if format == "json" {
		h = slog.NewJSONHandler(w, opts)
	}
	return slog.New(LimitRepeats(h, 10*time.Second))
}

// DataDir is the folder from --data, or the command's default.
func (e *Env) DataDir(byDefault string) string { return cmp.Or(e.Flags.Data, byDefault) }

// ServeMetrics has Run serve metrics and health at this address unless --metrics-listen names another.
func (e *Env) ServeMetrics(byDefault string) {
	e.metrics.Listen = cmp.Or(e.metrics.Listen, byDefault)
}

// ServeMetricsAs has them served with TLS and logins by this file unless --web-config-file names another.
func (e *Env) ServeMetricsAs(webConfig string) {
	e.metrics.WebConfig = cmp.Or(e.metrics.WebConfig, webConfig)
}

// CheckMetrics says what is wrong with how metrics are to be served, without serving them.
func (e *Env) CheckMetrics() error { return e.metrics.checkWeb() }

// WrapMetrics has /metrics answered by what wrap makes of the page of the process's own metrics.
func (e *Env) WrapMetrics(wrap func(own http.Handler) http.Handler) { e.metrics.wrap = wrap }

// Run runs the functions together, with the metrics server if there is to be one, until ctx ends or
// the first of them fails. With --check it returns at once: reading and wiring went well.
func (e *Env) Run(ctx context.Context, fns ...func(context.Context) error) error {
	if err := e.CheckMetrics(); err != nil {
		return err
	}
	if e.Flags.Check {
		e.Log.Info("configuration and wiring are fine")
		return nil
	}
	if e.metrics.Listen != "" && e.metrics.Listen != "off" {
		fns = append(fns, NewServer(e.metrics, e.Metrics, e.Health, e.Log).Run)
	}
	if os.Getenv("NOTIFY_SOCKET") != "" {
		var replaced atomic.Bool
		for i, fn := range fns {
			fns[i] = func(ctx context.Context) error {
				err := fn(ctx)
				if _, ok := isReplacement(err); ok {
					replaced.Store(true)
				}
				return err
			}
		}
		fns = append(fns, func(ctx context.Context) error {
			e.attend(ctx)
			if !replaced.Load() { // else the service goes on, in a fresh process
				e.notify(daemon.SdNotifyStopping)
			}
			return nil
		})
	}
	return Run(ctx, fns...)
}
