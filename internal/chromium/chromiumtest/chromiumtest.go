// Package chromiumtest gives a test a page in the real browser.
//
// One browser serves a test binary. Where there is none the test is skipped and says how to get one.
package chromiumtest

import (
	"errors"
	"sync"
	"testing"

	"github.com/wattledger/wattledger/internal/chromium"
)

var shared struct {
	mu      sync.Mutex // guards all below
	browser *chromium.Browser
	users   int
}

// Page opens a page with a window of this size. The browser ends with the last test that uses it.
func Page(t testing.TB, width, height int) *chromium.Page {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.browser == nil {
		browser, err := chromium.Start()
		if errors.Is(err, chromium.ErrMissing) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		shared.browser = browser
	}
	shared.users++
	t.Cleanup(func() { release(t) })
	page, err := shared.browser.Page(t.Context(), width, height)
	if err != nil {
		t.Fatalf("open a page: %v", err)
	}
	return page
}

func release(t testing.TB) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.users--; shared.users > 0 {
		return
	}
	if err := shared.browser.Close(); err != nil {
		t.Errorf("end the browser: %v", err)
	}
	shared.browser = nil
}
