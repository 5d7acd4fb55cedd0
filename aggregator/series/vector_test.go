package series_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/aggregator/series"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The vectors of docs/ledger-format-samples.md: samples a line, and the leaf of the device that another program made of them.
func TestLeafVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/leaf.txt")
	if err != nil {
		t.Fatal(err)
	}
	var device string
	var rows series.Rows
	var ids []series.Identity
	n := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] == "#":
		case f[0] == "device":
			device, ids = f[1], nil
			rows.Resize(0)
		case f[0] == "sample":
			at := rows.Len()
			rows.Resize(at + 1)
			for c := range series.Columns {
				rows.Cols[c][at] = number(t, f[1+c])
			}
			id := series.Identity{
				Run: f[8], Boot: f[9], Driver: f[10], Source: record.EnergySource(number(t, f[11])), Period: unit.Micros(number(t, f[12])), Epoch: number(t, f[13]),
			}
			rows.Who[at] = int32(len(ids))
			ids = append(ids, id)
		case f[0] == "leaf":
			var w series.Workspace
			spans := make([]series.Span, rows.Len())
			for i := range spans {
				spans[i] = series.Span{From: i, To: i + 1}
			}
			s := w.Sort(&rows, spans, ids)
			got := s.Leaf(device, series.Span{To: s.Len()})
			if want, err := hex.DecodeString(f[1]); err != nil || !bytes.Equal(got[:], want) {
				t.Errorf("leaf of %s is %x, want %s", device, got, f[1])
			}
			n++
		default:
			t.Fatalf("line %q", line)
		}
	}
	if n == 0 {
		t.Fatal("no vectors")
	}
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(fmt.Errorf("number %q: %w", text, err))
	}
	return v
}
