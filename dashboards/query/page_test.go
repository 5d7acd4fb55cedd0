package query_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/dashboards/query"
)

var update = flag.Bool("update", false, "write docs/queries.md anew from the catalogue")

// The page is the catalogue: go test ./dashboards/query -run TestPage -update writes it.
func TestPage(t *testing.T) {
	const name, mark = "../../docs/queries.md", "<!-- below this line: made from dashboards/query/metric.go -->\n"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, had, ok := strings.Cut(string(b), mark)
	if !ok {
		t.Fatalf("%s has no line %q", name, mark)
	}
	want := query.Page()
	if had == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the catalogue says: go test ./dashboards/query -run TestPage -update", name)
	}
	if err := os.WriteFile(name, []byte(head+mark+want), 0o644); err != nil {
		t.Fatal(err)
	}
}
