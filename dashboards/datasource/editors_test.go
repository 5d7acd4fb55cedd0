package datasource_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/chromium"
	"github.com/wattledger/wattledger/internal/chromium/chromiumtest"
)

var pictures = flag.String("pictures", "", "folder to write a picture of each editor into, to be looked at; those of the catalogue lie in src/img")

const modules = "../node_modules"

// The editors as Grafana shows them, in both themes: they mount without a word on the console, fit, and every field has a name that a
// screen reader can say.
func TestEditorsInABrowser(t *testing.T) {
	page, address := harness(t)
	for _, show := range []struct {
		name string
		says string // stands on the page
	}{
		{"query-new", "one line over time for all"},
		{"query", "where site is $site and tenant is fictional-bank or fictional-railway"},
		{"query-sql", "The answer to your own SQL"},
		{"query-sql-off", "SQL is off"},
		{"help", "Which hours are not closed yet?"},
		{"variable", "Every node that the data source may see"},
		{"config-new", "until then nothing is answered"},
		{"config-operator", "sees every tenant"},
		{"config-tenant", "sees this one tenant"},
		{"config-identity", "Where no person asks"},
	} {
		for _, theme := range []string{"dark", "light"} {
			open(t, page, address+"?show="+show.name+"&theme="+theme)
			t.Run(show.name+"/"+theme, func(t *testing.T) {
				text := ask[string](t, page, "document.body.innerText")
				if !strings.Contains(strings.Join(strings.Fields(text), " "), show.says) {
					t.Errorf("the page does not say %q:\n%s", show.says, text)
				}
				faults := ask[[]string](t, page, looksWrong)
				for _, fault := range append(faults, page.Problems()...) {
					t.Error(fault)
				}
				photograph(t, page, show.name+"-"+theme, "main")
				if strings.HasPrefix(show.name, "config-") {
					photograph(t, page, show.name+"-scope-"+theme, "section[aria-label='Who sees what']")
				}
			})
		}
	}
}

// looksWrong is what can be measured: fields without a name, names that stand twice, and what is wider than the page.
const looksWrong = `(() => {
	const faults = [];
	const byId = (ids) => (ids ?? '').split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' ').trim();
	for (const field of document.querySelectorAll('input, textarea, button, [role=combobox]')) {
		const name = field.getAttribute('aria-label') || byId(field.getAttribute('aria-labelledby')) ||
			[...(field.labels ?? [])].map((l) => l.textContent).join(' ').trim() || field.textContent.trim();
		if (!name) faults.push('no name: ' + field.outerHTML.slice(0, 200));
	}
	const ids = [...document.querySelectorAll('[id]')].filter((e) => !e.closest('svg')).map((e) => e.id); // Grafana's pictures have what ids they like
	for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) faults.push('id twice: ' + id);
	if (document.documentElement.scrollWidth > innerWidth) faults.push('wider than the page: ' + document.documentElement.scrollWidth);
	return faults;
})()`

// Somebody builds a question with the mouse: what the browser says in the end is what the plugin is asked.
func TestAQuestionIsBuiltInABrowser(t *testing.T) {
	page, address := harness(t)
	open(t, page, address+"?show=query-new&theme=dark")
	pick := func(field, option string) {
		t.Helper()
		click(t, page, "the field "+field, `[...document.querySelectorAll('input')].find((e) => {
			const by = (e.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id)?.textContent).join(' ');
			return [e.getAttribute('aria-label'), by, ...[...e.labels].map((l) => l.textContent)].includes(`+"`"+field+"`"+`);
		})`)
		click(t, page, "the option "+option, `[...document.querySelectorAll('[role=option]')].find((e) => e.innerText.split('\n')[0].trim() === `+"`"+option+"`"+`)`)
	}
	pick("What the question is about", "Usage")
	pick("Metric", "Held idle share")
	pick("Group by", "Tenant")
	click(t, page, "Add filter", `[...document.querySelectorAll('button')].find((e) => e.innerText.trim() === 'Add filter')`)
	pick("Values of site", "se-demo")
	photograph(t, page, "query-open-dark", "main")
	const want = `{"refId":"A","kind":"usage","metric":"held_idle_share","form":"series","by":["tenant"],"filters":[{"dimension":"site","values":["se-demo"]}]}`
	if got := ask[string](t, page, "JSON.stringify(window.said)"); got != want {
		t.Errorf("the editor says\n%s, want\n%s", got, want)
	}
	for _, problem := range page.Problems() {
		t.Error(problem)
	}
}

// harness is the bundled page, served with Grafana's own icons, and a tab to open it in.
func harness(t *testing.T) (*chromium.Page, string) {
	t.Helper()
	page := chromiumtest.Page(t, 1000, 700)
	if _, err := os.Stat(filepath.Join(modules, "esbuild")); errors.Is(err, fs.ErrNotExist) {
		t.Skip("dashboards/node_modules is not there, which the page is bundled with: npm ci --prefix dashboards")
	}
	folder := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "node", "harness/build.mjs", folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("bundle the page: %v: %s", err, out)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /public/fonts/", func(w http.ResponseWriter, _ *http.Request) { // Grafana's own, which npm does not bring: the next of the list is taken
		w.Header().Set("Content-Type", "font/woff2")
	})
	icons := filepath.Join(modules, "@grafana/ui/dist/public/img/icons")
	mux.HandleFunc("GET /public/build/img/icons/{kind}/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/svg+xml")
		picture, err := os.ReadFile(filepath.Join(icons, filepath.Base(r.PathValue("kind")), filepath.Base(r.PathValue("name"))))
		if err != nil { // npm does not bring all of them
			picture = []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"/>`)
		}
		_, _ = w.Write(picture) // a browser that has gone needs none
	})
	mux.Handle("GET /", http.FileServer(http.Dir(folder)))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Wattledger</title><link rel="icon" href="data:,">` +
			`<script>window.grafanaBootData = { settings: {}, user: {}, navTree: [] }</script>` +
			`<link rel="stylesheet" href="main.css"><body><div id="root"></div><script src="main.js"></script></body></html>`)) // a browser that has gone needs none
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return page, server.URL + "/"
}

func open(t *testing.T, page *chromium.Page, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := page.Open(ctx, address); err != nil {
		t.Fatal(err)
	}
	settle(t, page)
}

// settle waits until the page has drawn what it was told, and its icons are there.
func settle(t *testing.T, page *chromium.Page) {
	t.Helper()
	ask[bool](t, page, `new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true))), 120))`)
}

func ask[T any](t *testing.T, page *chromium.Page, script string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var value T
	if err := page.Evaluate(ctx, script, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// click presses what the expression finds, once it is there.
func click(t *testing.T, page *chromium.Page, what, find string) {
	t.Helper()
	found := ask[bool](t, page, `(async () => {
		for (let tries = 0; tries < 50; tries++) {
			const e = `+find+`;
			if (e) {
				e.focus?.();
				for (const type of ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click']) e.dispatchEvent(new MouseEvent(type, { bubbles: true, cancelable: true }));
				return true;
			}
			await new Promise((done) => setTimeout(done, 40));
		}
		return false;
	})()`)
	if !found {
		t.Fatalf("%s is not there:\n%s", what, ask[string](t, page, "document.body.innerText"))
	}
	settle(t, page)
}

// photograph keeps a picture of a part of the page, where pictures are asked for.
func photograph(t *testing.T, page *chromium.Page, name, part string) {
	t.Helper()
	if *pictures == "" {
		return
	}
	box := ask[struct{ Top, Height float64 }](t, page, `(({ top, height }) => ({ top: top + scrollY, height }))(document.querySelector(`+"`"+part+"`"+`).getBoundingClientRect())`)
	if err := page.Resize(t.Context(), max(200, int(box.Height)+1)); err != nil {
		t.Fatal(err)
	}
	ask[bool](t, page, fmt.Sprintf("(scrollTo(0, %f), true)", box.Top))
	settle(t, page)
	png, err := page.Screenshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := page.Resize(t.Context(), 700); err != nil {
		t.Fatal(err)
	}
}
