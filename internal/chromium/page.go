package chromium

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
)

// Page is a tab.
type Page struct {
	browser *Browser
	session string
	width   int

	mu       sync.Mutex // guards all below
	problems []string
	loaded   chan struct{} // closed by the load event of the navigation under way
}

// Page opens an empty one, with a window of this size.
func (b *Browser) Page(ctx context.Context, width, height int) (*Page, error) {
	var target struct {
		ID string `json:"targetId"`
	}
	if err := b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	if err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	p := &Page{browser: b, session: attached.Session, width: width}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page.enable", "Runtime.enable", "Log.enable"} {
		if err := p.call(ctx, domain, nil, nil); err != nil {
			return nil, err
		}
	}
	return p, p.Resize(ctx, height)
}

func (p *Page) call(ctx context.Context, method string, params, into any) error {
	return p.browser.call(ctx, p.session, method, params, into)
}

// Resize sets the height of the window; its width stays.
func (p *Page) Resize(ctx context.Context, height int) error {
	return p.call(ctx, "Emulation.setDeviceMetricsOverride", map[string]any{"width": p.width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Open goes to an address and waits until it is loaded. What earlier pages complained of is forgotten.
func (p *Page) Open(ctx context.Context, address string) error {
	p.mu.Lock()
	p.problems, p.loaded = nil, make(chan struct{})
	loaded := p.loaded
	p.mu.Unlock()
	var started struct {
		Error string `json:"errorText"`
	}
	if err := p.call(ctx, "Page.navigate", map[string]any{"url": address}, &started); err != nil {
		return err
	}
	if started.Error != "" {
		return fmt.Errorf("open %s: %s", address, started.Error)
	}
	select {
	case <-loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("open %s: %w", address, ctx.Err())
	}
}

// Evaluate runs JavaScript in the page, waits for its promise if it is one, and decodes its value into what is given; nil drops it.
func (p *Page) Evaluate(ctx context.Context, script string, into any) error {
	var done struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *exception `json:"exceptionDetails"`
	}
	params := map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true}
	if err := p.call(ctx, "Runtime.evaluate", params, &done); err != nil {
		return err
	}
	if done.Exception != nil {
		return fmt.Errorf("script: %s", done.Exception)
	}
	if into == nil || done.Result.Value == nil {
		return nil
	}
	return json.Unmarshal(done.Result.Value, into)
}

// Screenshot is a PNG of what the window shows.
func (p *Page) Screenshot(ctx context.Context) ([]byte, error) {
	var shot struct {
		Data []byte `json:"data"`
	}
	err := p.call(ctx, "Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	return shot.Data, err
}

// Problems are the errors that the page has written to its console or thrown, and what it could not load.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.problems...)
}

type exception struct {
	Text      string `json:"text"`
	Exception *struct {
		Description string          `json:"description"`
		Value       json.RawMessage `json:"value"`
	} `json:"exception"`
}

func (e exception) String() string {
	switch {
	case e.Exception == nil:
		return e.Text
	case e.Exception.Description != "":
		return e.Exception.Description
	default:
		return e.Text + " " + string(e.Exception.Value)
	}
}

// event takes what the page reports by itself.
func (p *Page) event(method string, params json.RawMessage) {
	var e struct {
		Type string `json:"type"`
		Args []struct {
			Value       json.RawMessage `json:"value"`
			Description string          `json:"description"`
		} `json:"args"`
		Entry struct {
			Level string `json:"level"`
			Text  string `json:"text"`
			URL   string `json:"url"`
		} `json:"entry"`
		Exception exception `json:"exceptionDetails"`
	}
	if json.Unmarshal(params, &e) != nil {
		return // an event of another shape says nothing that is kept
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch method {
	case "Page.loadEventFired":
		if p.loaded != nil {
			close(p.loaded)
			p.loaded = nil
		}
	case "Runtime.exceptionThrown":
		p.problems = append(p.problems, "thrown: "+e.Exception.String())
	case "Runtime.consoleAPICalled":
		if e.Type != "error" && e.Type != "assert" {
			return
		}
		text := "console." + e.Type + ":"
		for _, arg := range e.Args {
			if arg.Description != "" {
				text += " " + arg.Description
			} else {
				text += " " + string(arg.Value)
			}
		}
		p.problems = append(p.problems, text)
	case "Log.entryAdded":
		if e.Entry.Level == "error" {
			p.problems = append(p.problems, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}
