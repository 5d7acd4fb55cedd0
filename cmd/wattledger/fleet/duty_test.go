package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/schemas/unit"
)

const dutyHeader = "value,timestamp_anon,container_ip\n"

func dutyOf(t *testing.T, rows string, maxSeries int) (*duty, OpenBReport, error) {
	t.Helper()
	var rep OpenBReport
	d, err := readDuty(OpenBOptions{Duty: strings.NewReader(dutyHeader + rows), DutyName: "duty", MaxSeries: maxSeries}, &rep)
	return d, rep, err
}

// steady is a container with n values of v, one each step seconds.
func steady(id string, v float64, first, step, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%g,%d.0,%s\n", v, first+i*step, id)
	}
	return b.String()
}

func TestDutyOnAGrid(t *testing.T) {
	f := func(points []dutyPoint, steps int, want ...float32) {
		t.Helper()
		if got := gridDuty(points, 100, 60, steps); !slices.Equal(got, want) {
			t.Errorf("%v on the grid: %v, want %v", points, got, want)
		}
	}
	f([]dutyPoint{{100, 5000}, {160, 2500}, {220, 0}}, 3, 0.5, 0.25, 0)
	f([]dutyPoint{{100, 5000}, {280, 1000}}, 5, 0.5, 0.5, 0.5, 0.1, 0.1) // a gap repeats
	f([]dutyPoint{{220, 5000}}, 3, 0.5, 0.5, 0.5)                        // nothing before the first
	f([]dutyPoint{{100, 2000}, {130, 4000}}, 1, 0.3)                     // two in a step give their mean
}

func TestDutySeries(t *testing.T) {
	rows := steady("c1", 50, 1000, 57, 300) + steady("c2", 0.004, 1000, 57, 300) + steady("short", 90, 1000, 57, minDutyValues-1)
	d, rep, err := dutyOf(t, rows+"x,1,c1\n101,1,c1\nNaN,1,c1\n1,-1,c1\n1,2,\n", 10)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Containers != 2 || len(d.values) != 2 || d.step != 57 || len(d.values[0]) != 300 || d.values[0][0] != 0.5 || d.values[1][0] != 0 {
		t.Errorf("%d containers, %d series, step %d", rep.Containers, len(d.values), d.step)
	}
	if len(rep.Bad) != 5 || rep.Bad[0].Line != 2+300+300+minDutyValues-1 || rep.Bad[3].Column != 3 {
		t.Errorf("bad rows %v", rep.Bad)
	}
	for i := range 100 {
		if kind := d.kind(1, fmt.Sprint("pod", i)); kind != "loop:duty-000" && kind != "loop:duty-001" {
			t.Fatalf("kind %s", kind)
		}
	}
	used := d.used(start)
	if len(used) != 2 || used[1].Name != "duty-001" || used[0].Step != 57*unit.Second || used[0].Start != start {
		t.Errorf("series used: %d", len(used))
	}
	if d, _, err = dutyOf(t, rows, 1); err != nil || len(d.values) != 1 {
		t.Errorf("%v: %d series, want at most 1", err, len(d.values))
	}
}

func TestDutyThatIsOfNoUse(t *testing.T) {
	f := func(rows, words string) {
		t.Helper()
		if _, _, err := dutyOf(t, rows, 10); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want …%s…", err, words)
		}
	}
	f("", "no container has 240 values")
	f(steady("c", 1, 0, 60, 10), "no container has 240 values")
	f(steady("c", 1, 0, 60, 300)+"1,90000000,c\n", "steps of 60 s from first to last value: cut it")
}

func TestWithoutDutyLoadsAreConstant(t *testing.T) {
	d := &duty{}
	for i := range 1000 {
		var percent int
		if kind := d.kind(1, fmt.Sprint("pod", i)); len(kind) != len("const:0.05") {
			t.Fatalf("kind %s", kind)
		} else if _, err := fmt.Sscanf(kind, "const:0.%02d", &percent); err != nil || percent < 5 || percent > 95 {
			t.Fatalf("kind %s: %v", kind, err)
		}
	}
}
