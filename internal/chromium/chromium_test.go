package chromium_test

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/chromium"
	"github.com/wattledger/wattledger/internal/chromium/chromiumtest"
)

const page = `<!doctype html><title>%s</title><body style="margin:0;background:#f00"><script>%s</script>`

func serve(t *testing.T) string {
	t.Helper()
	pages := map[string]string{
		"/good":   fmt.Sprintf(page, "good", `console.log("hello"); console.warn("careful")`),
		"/errors": fmt.Sprintf(page, "errors", `console.error("no data", 7); setTimeout(() => { window.thrown = true; throw new Error("late") }, 1); fetch("/missing")`),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch body, ok := pages[r.URL.Path]; {
		case ok:
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, body)
		case r.URL.Path != "/favicon.ico":
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestAPageIsOpenedAskedAndPhotographed(t *testing.T) {
	p, address := chromiumtest.Page(t, 320, 200), serve(t)
	if err := p.Open(t.Context(), address+"/good"); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Title string
		Width int
		Later int
	}
	err := p.Evaluate(t.Context(), `Promise.resolve({title: document.title, width: innerWidth, later: 6 * 7})`, &got)
	if err != nil || got.Title != "good" || got.Width != 320 || got.Later != 42 {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := p.Resize(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	shot, err := p.Screenshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	image, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := image.At(160, 50).RGBA(); image.Bounds().Dx() != 320 || image.Bounds().Dy() != 100 || r != 0xffff || g != 0 || b != 0 {
		t.Errorf("a picture of %v, %d %d %d in its middle", image.Bounds(), r, g, b)
	}
	if problems := p.Problems(); len(problems) != 0 {
		t.Errorf("a good page has problems: %q", problems)
	}
}

func TestWhatAPageComplainsOfIsKept(t *testing.T) {
	p, address := chromiumtest.Page(t, 320, 200), serve(t)
	if err := p.Open(t.Context(), address+"/errors"); err != nil {
		t.Fatal(err)
	}
	if err := p.Evaluate(t.Context(), `new Promise(r => { const wait = () => window.thrown ? setTimeout(r, 50) : setTimeout(wait, 5); wait() })`, nil); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(p.Problems(), "\n")
	for _, want := range []string{`console.error: "no data" 7`, "Error: late", "404"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	if err := p.Evaluate(t.Context(), `missing.field`, nil); err == nil || !strings.Contains(err.Error(), "ReferenceError") {
		t.Errorf("got %v, want the script's error", err)
	}
	if err := p.Open(t.Context(), address+"/good"); err != nil || len(p.Problems()) != 0 {
		t.Errorf("a new page has the old one's problems: %v, %q", err, p.Problems())
	}
	if err := p.Open(t.Context(), "http://127.0.0.1:1/"); err == nil {
		t.Error("an address where nobody listens was opened")
	}
}

func TestABrowserThatIsNoneIsNamed(t *testing.T) {
	t.Setenv("CHROMIUM", "/nonexistent/chromium")
	if _, err := chromium.Start(); err == nil || !strings.Contains(err.Error(), "/nonexistent/chromium") {
		t.Errorf("got %v", err)
	}
}
