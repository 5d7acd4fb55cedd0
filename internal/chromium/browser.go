package chromium

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// ErrMissing means that there is no Chromium on this machine: tests skip, and say how to get one.
var ErrMissing = errors.New("no Chromium here, which draws the pages (apt-get install chromium, or dnf install chromium; CHROMIUM names another one)")

// Find returns the browser's path: that in the environment's CHROMIUM, else the first known name on the PATH.
func Find() (string, error) {
	if named := os.Getenv("CHROMIUM"); named != "" {
		return named, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", ErrMissing
}

// Browser is a Chromium that runs.
type Browser struct {
	cmd     *exec.Cmd
	profile string
	errors  *bytes.Buffer // what it printed; read after ended

	out   *os.File // to the browser
	ended chan struct{}

	mu      sync.Mutex // guards all below, and writes to out
	next    int
	waiting map[int]chan reply
	pages   map[string]*Page
}

// message is one of the protocol, either way.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

type reply struct {
	result json.RawMessage
	err    error
}

// Start runs the browser. Close ends it; it ends also when this process does.
func Start() (*Browser, error) {
	path, err := Find()
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "wattledger-chromium-")
	if err != nil {
		return nil, err
	}
	b := &Browser{profile: profile, errors: &bytes.Buffer{}, ended: make(chan struct{}), waiting: map[int]chan reply{}, pages: map[string]*Page{}}
	if err := b.run(path); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), os.RemoveAll(profile))
	}
	return b, nil
}

func (b *Browser) run(path string) error {
	theirIn, out, err := os.Pipe()
	if err != nil {
		return err
	}
	in, theirOut, err := os.Pipe()
	if err != nil {
		return errors.Join(err, theirIn.Close(), out.Close())
	}
	// No sandbox, because it needs rights that containers do not give; the pages are our own.
	b.cmd = exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps", "--mute-audio", "--hide-scrollbars",
		"--force-color-profile=srgb", "--font-render-hinting=none", "--user-data-dir="+b.profile, "--remote-debugging-pipe", "about:blank")
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, where the browser looks for them
	b.cmd.Stderr = b.errors
	err = b.cmd.Start()
	_, _ = theirIn.Close(), theirOut.Close() // the browser has its own
	if err != nil {
		return errors.Join(err, in.Close(), out.Close())
	}
	b.out = out
	go b.listen(in)
	return nil
}

// listen hands out what the browser says until it ends.
func (b *Browser) listen(in io.ReadCloser) {
	defer close(b.ended)
	reader := bufio.NewReaderSize(in, 1<<16)
	for {
		raw, err := reader.ReadBytes(0)
		if err != nil {
			break
		}
		var m struct {
			message
			Params json.RawMessage `json:"params"`
		}
		if json.Unmarshal(raw[:len(raw)-1], &m) != nil {
			continue // not ours to read; a call that waits for it runs into its context
		}
		b.mu.Lock()
		answer, page := b.waiting[m.ID], b.pages[m.Session]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case m.ID == 0 && page != nil:
			page.event(m.Method, m.Params)
		case answer != nil && m.Error != nil:
			answer <- reply{err: errors.New(m.Error.Message)}
		case answer != nil:
			answer <- reply{result: m.Result}
		}
	}
	_, _ = in.Close(), b.cmd.Wait() // it has ended, one way or another
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, answer := range b.waiting {
		answer <- reply{err: fmt.Errorf("the browser has ended: %s", lastLine(b.errors.String()))}
		delete(b.waiting, id)
	}
}

// call asks the browser, or one of its pages, and waits for the answer.
func (b *Browser) call(ctx context.Context, session, method string, params, into any) error {
	answer := make(chan reply, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.waiting[id] = answer
	body, err := json.Marshal(message{ID: id, Session: session, Method: method, Params: params})
	if err == nil {
		_, err = b.out.Write(append(body, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	case <-b.ended:
		return fmt.Errorf("%s: the browser has ended: %s", method, lastLine(b.errors.String()))
	case r := <-answer:
		if r.err != nil {
			return fmt.Errorf("%s: %w", method, r.err)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(r.result, into)
	}
}

// Close ends the browser and removes its profile.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = b.call(ctx, "", "Browser.close", nil, nil) // it may be gone, or slow: then it is killed
	select {
	case <-b.ended:
	case <-ctx.Done():
		_ = b.cmd.Process.Kill()
		<-b.ended
	}
	return errors.Join(b.out.Close(), os.RemoveAll(b.profile))
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
