package allocations

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/ingest/fault"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

const head = "allocation_id,device,start,tenant\n"

func TestFaultsSayWhereAndHow(t *testing.T) {
	f := func(file string, want ...string) {
		t.Helper()
		got, err := Parse([]byte(file))
		var said []string
		if err != nil {
			said = append(said, err.Error())
		}
		for _, p := range got.Faults {
			said = append(said, p.Error())
		}
		if len(said) != len(want) {
			t.Fatalf("faults %q, want %q", said, want)
		}
		for i := range want {
			if !strings.Contains(said[i], want[i]) {
				t.Errorf("fault %q does not say %q", said[i], want[i])
			}
		}
	}
	const row = "a1,GPU-1,2026-01-31T10:00:00Z,t1\n"
	f(head + row)
	f("\xef\xbb\xbfTenant, DEVICE,start,allocation_id\nt1,GPU-1,2026-01-31T10:00:00Z,a1\n") // columns in any order
	f("", "the file is empty")
	f("allocation_id,devcie,start,tenant\n", `line 1, column 15: column "devcie" is unknown; did you mean device?`)
	f("allocation_id,device,start\n", "column tenant is missing")
	f("allocation_id;device;start;tenant\n", "not separated by commas")
	f("device,device\n", "line 1, column 8: column device is there twice")
	f(head+"a1,GPU-1,yesterday,t1\n"+strings.Replace(row, "a1", "a2", 1), `line 2, column 10: start is "yesterday"; write an instant with its time zone`)
	f(head+"a1,GPU-1,2026-01-31T10:00:00.0000001Z,t1\n", "six digits")
	f(head+"a1,GPU-1,1970-01-31T10:00:00Z,t1\n", "between 2000 and 2100")
	f(head+",GPU-1,2026-01-31T10:00:00Z,\n", "line 2, column 1: allocation_id is empty", "line 2, column 29: tenant is empty")
	f(head+"a1,GPU-1,2026-01-31T10:00:00Z,t1,extra\n", "the row has 5 fields and the header 4")
	f(head+row+row, "line 3, column 1: allocation a1 holds device GPU-1 in line 2 already")
	f(head+`a1,GPU"1,2026-01-31T10:00:00Z,t1`+"\n"+row, `line 2, column 7: a double quote stands inside`)
	f("thousandths,"+head+"1500,"+row, "line 2, column 1: thousandths is 1500; write a share from 1 to 1000")
	f("thousandths,"+head+"half,"+row, `thousandths is "half"; write a whole number`)
	f("end,"+head+"2026-01-31T09:00:00Z,"+row, "line 2, column 1: end")
	f("purpose,"+head+"fun,"+row, `line 2, column 1: purpose is "fun"; write one of training`)
	f(head+"a1,GPU-\xff,2026-01-31T10:00:00Z,t1\n", "device is not UTF-8")
}

func TestGoodRowsGoThrough(t *testing.T) {
	got, err := Parse([]byte("allocation_id,device,thousandths,start,end,tenant,project,workload,model_id,purpose,scheduler_ref\n" +
		"a1,GPU-1,250,2026-01-31T11:00:00.5+01:00,2026-01-31T12:00:00Z,t1,p,w,m,training,job 1\n" +
		"bad\n" +
		"a2,GPU-1,,2026-01-31T12:00:00Z,,t2,,,,,\n"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) unit.Micros {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return unit.Micros(v.UnixMicro())
	}
	want := []record.Allocation{
		{
			ID: "a1", Device: "GPU-1", Share: 250, Start: at("2026-01-31T10:00:00Z") + 500_000, End: at("2026-01-31T12:00:00Z"), Tenant: "t1",
			Project: "p", Workload: "w", ModelID: "m", Purpose: "training", Scheduler: "job 1", Revision: 2,
		},
		{ID: "a2", Device: "GPU-1", Share: 1000, Start: at("2026-01-31T12:00:00Z"), Tenant: "t2", Revision: 1},
	}
	if !slices.Equal(got.Allocations, want) {
		t.Errorf("got %+v, want %+v", got.Allocations, want)
	}
	if got.Rows != 3 || len(got.Faults) != 1 {
		t.Errorf("%d rows, faults %v; want 3 rows and one fault", got.Rows, got.Faults)
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-z][a-z ,";0-9]{0,6}[a-z]`)
		var rows []record.Allocation
		for i := range rapid.IntRange(0, 5).Draw(t, "rows") {
			a := record.Allocation{
				ID: fmt.Sprint("a", i), Device: word.Draw(t, "device"), Tenant: word.Draw(t, "tenant"), Project: word.Draw(t, "project"),
				Share: unit.Thousandths(rapid.IntRange(1, 1000).Draw(t, "share")), Start: unit.Micros(rapid.Int64Range(1e15, 2e15).Draw(t, "start")), Revision: 1,
			}
			if rapid.Bool().Draw(t, "ended") {
				a.End, a.Revision = a.Start+unit.Micros(rapid.Int64Range(1, 1e12).Draw(t, "length")), 2
			}
			rows = append(rows, a)
		}
		order := rapid.Permutation([]string{"allocation_id", "device", "thousandths", "start", "end", "tenant", "project"}).Draw(t, "order")
		var buf bytes.Buffer
		w := csv.NewWriter(&buf)
		_ = w.Write(order)
		for _, a := range rows {
			stamp := func(m unit.Micros) string {
				if m == 0 {
					return ""
				}
				return m.Time().Format(time.RFC3339Nano)
			}
			v := map[string]string{
				"allocation_id": a.ID, "device": a.Device, "tenant": a.Tenant, "project": a.Project, "thousandths": strconv.Itoa(int(a.Share)),
				"start": stamp(a.Start), "end": stamp(a.End),
			}
			var fields []string
			for _, c := range order {
				fields = append(fields, v[c])
			}
			_ = w.Write(fields)
		}
		w.Flush()
		got, err := Parse(buf.Bytes())
		if err != nil || len(got.Faults) > 0 || !slices.Equal(got.Allocations, rows) {
			t.Fatalf("%s\nread back %+v, faults %v, %v", buf.String(), got.Allocations, got.Faults, err)
		}
	})
}

func TestMessagesOfAFile(t *testing.T) {
	var rows []record.Allocation
	for i := range 20_000 {
		rows = append(rows, record.Allocation{ID: fmt.Sprint("a", i), Device: "GPU-1", Share: 1000, Start: 1e15, Tenant: "t", Workload: strings.Repeat("w", 100), Revision: 1})
	}
	s := Statement{Site: "paris-1", Source: "slurm", CompleteUpTo: 2e15}
	got, err := Messages([]byte("file"), rows, s)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, b := range got {
		if err := wire.ValidateAllocations(b); err != nil {
			t.Error(err)
		}
		if size := proto.Size(b); size > wire.MaxMessageBytes {
			t.Errorf("message %d has %d bytes", i, size)
		}
		if b.Sequence != uint64(i) || (b.CompleteUpToUs != 0) != (i == len(got)-1) {
			t.Errorf("message %d has sequence %d and is complete up to %d", i, b.Sequence, b.CompleteUpToUs)
		}
		n += len(b.Allocations)
	}
	if n != len(rows) || len(got) < 2 {
		t.Errorf("%d rows in %d messages, want %d in several", n, len(got), len(rows))
	}
	f := func(data string, s Statement, same bool) {
		t.Helper()
		other, err := Messages([]byte(data), rows[:1], s)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(other[0].Run, got[0].Run) != same {
			t.Errorf("run of %q for %+v is %x, of the first %x", data, s, other[0].Run, got[0].Run)
		}
	}
	f("file", s, true)
	f("file2", s, false)
	f("file", Statement{Site: "lyon-1", Source: "slurm", CompleteUpTo: 2e15}, false)
	if _, err := Messages(nil, rows, Statement{}); err == nil {
		t.Error("a file without site and source was taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "a1,GPU-1,2026-01-31T10:00:00Z,t1\n"))
	f.Add([]byte("allocation_id,device,thousandths,start,end,tenant\n\"a\"\"1\",g,5,2026-01-31T10:00:00Z,2026-01-31T11:00:00Z,t\n\"open"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse(data)
		var where fault.Fault
		if err != nil && (len(got.Allocations) > 0 || !asFault(err, &where)) {
			t.Fatalf("%v with %d rows", err, len(got.Allocations))
		}
		bad := map[int]bool{}
		for _, p := range got.Faults {
			bad[p.Line] = true
		}
		if len(got.Allocations) > got.Rows || err == nil && len(bad) == 0 && len(got.Allocations) != got.Rows {
			t.Fatalf("%d rows, %d good, faults %v", got.Rows, len(got.Allocations), got.Faults)
		}
		for _, a := range got.Allocations {
			if err := a.Validate(); err != nil {
				t.Fatalf("%+v was taken: %v", a, err)
			}
		}
	})
}

func asFault(err error, to *fault.Fault) bool {
	f, ok := err.(fault.Fault) //nolint:errorlint // Parse promises the fault itself
	*to = f
	return ok
}
