package render

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/wattledger/wattledger/internal/chromium"
)

// Answers is all that a dashboard shows, as src/answers.ts has it. Frames are in the format of /api/ds/query.
type Answers struct {
	From        int64             `json:"from"` // milliseconds since 1970, as all times here
	To          int64             `json:"to"`
	Variables   []Variable        `json:"variables"`
	Panels      map[string]Answer `json:"panels"` // by the panel's id
	Annotations []Annotation      `json:"annotations"`
}

// Variable is how one was set.
type Variable struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Answer is what one panel got.
type Answer struct {
	Frames []json.RawMessage `json:"frames"`
	Errors []string          `json:"errors"`
}

// Annotation is one that the dashboard asks for, and what came.
type Annotation struct {
	Name   string            `json:"name"`
	Color  string            `json:"color"`
	Frames []json.RawMessage `json:"frames"`
}

// Drawing is a dashboard as a reader sees it, and what can be measured of it.
type Drawing struct {
	PNG    []byte       `json:"-"`
	Height int          `json:"height"`
	Panels []DrawnPanel `json:"panels"`
	// Faults are what could not be read: panels over one another, words cut off, what the page wrote to its console.
	Faults []string `json:"faults"`
}

// DrawnPanel is one of a drawing. Drawn counts the points, rows or figures that it shows.
type DrawnPanel struct {
	ID      int    `json:"id"`
	Type    string `json:"type"`
	Title   string `json:"title"`
	Drawn   int    `json:"drawn"`
	Error   string `json:"error"`
	Notices string `json:"notices"`
}

// ErrNotInstalled means that what the page is built with is not there: tests skip, and say so.
var ErrNotInstalled = errors.New("dashboards/node_modules is not there, which the page is built with (npm ci --prefix dashboards)")

// Build bundles the page into a folder. It takes a few seconds.
func Build(ctx context.Context, dir string) error {
	_, here, _, _ := runtime.Caller(0)
	source := filepath.Dir(here)
	if !filepath.IsAbs(source) { // built with -trimpath
		return errors.New("build the page: the source is not known; run from a test, built without -trimpath")
	}
	if _, err := os.Stat(filepath.Join(source, "..", "node_modules", "esbuild")); errors.Is(err, fs.ErrNotExist) {
		return ErrNotInstalled
	}
	cmd := exec.CommandContext(ctx, "node", "build.mjs", dir)
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the page: %w: %s", err, out)
	}
	return nil
}

const index = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Wattledger</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="main.css"><style>.words > :first-child { margin-top: 0 } .words > :last-child { margin-bottom: 0 }</style>
<body><div id="root"></div><script src="main.js"></script></body></html>`

// Draw draws a dashboard with the page in the folder that Build filled. The picture is as wide as the browser's page and as high as it needs to be.
func Draw(ctx context.Context, page *chromium.Page, built string, dashboard []byte, answers Answers) (Drawing, error) {
	body, err := json.Marshal(answers)
	if err != nil {
		return Drawing{}, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Drawing{}, err
	}
	mux := http.NewServeMux()
	send := func(path, kind string, body []byte) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(body) // a browser that has gone needs none
		})
	}
	send("/{$}", "text/html", []byte(index))
	send("/dashboard.json", "application/json", dashboard)
	send("/answers.json", "application/json", body)
	mux.Handle("GET /", http.FileServer(http.Dir(built)))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	drawing, err := draw(ctx, page, "http://"+listener.Addr().String()+"/")
	return drawing, errors.Join(err, server.Close(), ignoreClosed(<-ended))
}

func draw(ctx context.Context, page *chromium.Page, address string) (Drawing, error) {
	var d Drawing
	if err := page.Resize(ctx, 400); err != nil { // the last one's height is not this one's
		return d, err
	}
	if err := page.Open(ctx, address); err != nil {
		return d, err
	}
	if err := page.Evaluate(ctx, "window.drawn", &d); err != nil {
		return d, fmt.Errorf("draw the dashboard: %w", err)
	}
	d.Faults = append(d.Faults, page.Problems()...)
	if err := page.Resize(ctx, d.Height); err != nil {
		return d, err
	}
	var err error
	d.PNG, err = page.Screenshot(ctx)
	return d, err
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
