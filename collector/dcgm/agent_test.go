package dcgm_test

import (
	"context"
	"encoding/csv"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm/simctl"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// simulated is the clock of node n1: to wait is to play on.
type simulated struct {
	sim *simctl.Control
	now unit.Micros
}

func (c *simulated) Now() unit.Micros    { return c.now }
func (c *simulated) Steady() unit.Micros { return c.now }

func (c *simulated) Wait(ctx context.Context, until unit.Micros, _ <-chan struct{}) (woken bool, err error) {
	if until > c.now {
		if err := c.sim.Advance("n1", until); err != nil {
			return false, err
		}
		c.now = until
	}
	return false, ctx.Err()
}

// published keeps what the agent publishes.
type published struct{ batches []*wl.SampleBatch }

func (p *published) Publish(_ context.Context, b *wl.SampleBatch) error {
	if err := wire.ValidateSamples(b); err != nil {
		return err
	}
	p.batches = append(p.batches, proto.CloneOf(b))
	return nil
}

// The mishaps of a play begin at trouble; between measured and until the account is held against the truth.
const (
	measured = start + 5*second
	trouble  = start + 30*second
	until    = start + 90*second
)

// play is what the agent publishes of a node over a minute and a half, and the energy that each device has really used.
type play struct {
	t       *testing.T
	batches []*wl.SampleBatch
	truth   map[string]float64 // in mJ, from measured to until
	uuid    func(gpu int) string
}

func collect(t *testing.T, lines string) play {
	t.Helper()
	marks := fmt.Sprintf("mark %d\nmark %d\n", measured, until)
	lib, sim := simtest.Play(t, head+lines+marks)
	cfg := agent.DefaultConfig()
	cfg.Node, cfg.Site, cfg.Until, cfg.BlockWhenFull, cfg.MaxTicks = "n1", "s1", until+2*second, true, 7
	cfg.Run[0], cfg.BootID[0] = 1, 1
	p := &published{}
	a, err := agent.New(cfg, open(t, lib, "n1", time.Second), p, &simulated{sim, start}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return play{t, p.batches, truth(t, sim), func(gpu int) string {
		uuid, err := sim.GPUUUID("n1", gpu)
		if err != nil {
			t.Fatal(err)
		}
		return uuid
	}}
}

func truth(t *testing.T, sim *simctl.Control) map[string]float64 {
	t.Helper()
	file := filepath.Join(t.TempDir(), "truth.csv")
	if err := sim.WriteTruth(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]map[string]float64{}
	for _, row := range rows[1:] {
		uj, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		if at[row[0]] == nil {
			at[row[0]] = map[string]float64{}
		}
		at[row[0]][row[1]] = uj / 1000
	}
	out := map[string]float64{}
	for uuid, times := range at {
		out[uuid] = times[strconv.FormatInt(int64(until), 10)] - times[strconv.FormatInt(int64(measured), 10)]
	}
	return out
}

// incidents are those of one kind, as "reason device-or-*".
func (p play) incidents(kind record.IncidentKind) (out []string) {
	for _, b := range p.batches {
		for _, x := range b.Incidents {
			if i := wire.IncidentOf(x); i.Kind == kind {
				out = append(out, strings.TrimSpace(i.Reason+" "+i.Device))
			}
		}
	}
	slices.Sort(out)
	return out
}

func (p play) wantIncidents(kind record.IncidentKind, want ...string) {
	p.t.Helper()
	slices.Sort(want)
	if got := p.incidents(kind); !slices.Equal(got, want) {
		p.t.Errorf("%ss stated: %q, want %q", kind, got, want)
	}
}

// balances holds the account of a GPU against the truth: what its counter counted within each epoch, and the integral of power
// from the last reading of one to the first of the next. Readings come each second, of a counter that moves each 100 ms: the account
// may be off by as much.
func (p play) balances(gpu int) {
	p.t.Helper()
	uuid := p.uuid(gpu)
	var sum, first, last float64
	var begin, end unit.Micros
	var epoch uint32
	for _, b := range p.batches {
		for i, device := range b.Device {
			at := unit.Micros(b.EnergyTsUs[i])
			if b.Devices[device].Uuid != uuid || b.EnergyTsUs[i] == ^uint64(0) || at < measured || at > until {
				continue
			}
			counter, integral := float64(b.EnergyMj[i]), float64(b.PowerIntegralMj[i])
			switch {
			case begin == 0:
				begin = at
			case b.EnergyEpoch[i] == epoch:
				sum += counter - first
			default:
				sum += integral - last
			}
			first, last, epoch, end = counter, integral, b.EnergyEpoch[i], at
		}
	}
	if begin == 0 || end <= begin {
		p.t.Errorf("GPU %d was not read", gpu)
		return
	}
	// The edges of the account lie up to a second inside.
	perSecond := sum / (float64(end-begin) / float64(second))
	outside := float64(begin-measured) / float64(second)
	if until-end < 2*second {
		outside += float64(until-end) / float64(second)
	}
	slack := perSecond * 1.1
	if got := sum + perSecond*outside; got < p.truth[uuid]-slack || got > p.truth[uuid]+slack || p.truth[uuid] <= 0 {
		p.t.Errorf("GPU %d: %.0f mJ are accounted for, %.0f were used; a second is %.0f", gpu, got, p.truth[uuid], perSecond)
	}
}

func (p play) all(gpus int) {
	p.t.Helper()
	for g := range gpus {
		p.balances(g)
	}
}

// working is a node of four GPUs, one of which draws more than the others.
const working = "node n1 hgx-b200 gpus=4\nload n1 2 1767225600000000 1767312000000000 const:0.7\n"

func TestTheEnergyOfACalmNodeBalances(t *testing.T) {
	p := collect(t, working)
	p.wantIncidents(record.IncidentEpoch)
	p.wantIncidents(record.IncidentGap)
	p.all(4)
}

func TestAResetOfAGPUIsAnEpochOfItsOwn(t *testing.T) {
	p := collect(t, working+fmt.Sprintf("reset n1 2 %d\n", trouble+300*unit.Millisecond))
	p.wantIncidents(record.IncidentEpoch, "fell "+p.uuid(2))
	p.wantIncidents(record.IncidentGap)
	p.all(4)
}

func TestANewDriverIsAnEpochOfEveryGPU(t *testing.T) {
	p := collect(t, working+fmt.Sprintf("driver n1 %d 999.1\n", trouble+300*unit.Millisecond))
	got := p.incidents(record.IncidentEpoch)
	if len(got) != 4 {
		t.Errorf("epochs stated: %q", got)
	}
	if v := p.batches[len(p.batches)-1].DriverVersion; v != "999.1" {
		t.Errorf("the driver is said to be %s", v)
	}
	p.all(4)
}

func TestARestartOfTheHostEngineIsNoEpoch(t *testing.T) {
	p := collect(t, working+fmt.Sprintf("restart n1 %d\n", trouble+300*unit.Millisecond))
	p.wantIncidents(record.IncidentEpoch)
	p.all(4)
}

func TestAHostEngineThatIsAwayIsAGapOfTheNode(t *testing.T) {
	p := collect(t, working+fmt.Sprintf("end n1 %d\nboot n1 %d\n", trouble, trouble+20*second))
	gaps := p.incidents(record.IncidentGap)
	if len(gaps) != 1 || strings.Contains(gaps[0], "GPU-") {
		t.Errorf("gaps stated: %q, want one of the node", gaps)
	}
	if got := p.incidents(record.IncidentEpoch); len(got) != 4 {
		t.Errorf("epochs stated: %q, want one of each GPU: the node has booted", got)
	}
}

func TestARepartitionChangesTheDevicesAndNotTheEnergy(t *testing.T) {
	p := collect(t, "node n1 hgx-b200 gpus=4\nmig n1 2 3 4\n"+fmt.Sprintf("repartition n1 2 %d 2 2 3\n", trouble)+
		"load n1 1 1767225600000000 1767312000000000 const:0.7\n")
	p.wantIncidents(record.IncidentEpoch)
	if first, last := len(p.batches[0].Devices), len(p.batches[len(p.batches)-1].Devices); first != 6 || last != 7 {
		t.Errorf("%d devices before and %d after, want 6 and 7", first, last)
	}
	p.all(4)
}

func TestALostGPUIsAGapAndKeepsWhatItUsed(t *testing.T) {
	p := collect(t, working+fmt.Sprintf("lost n1 2 %d\n", trouble))
	p.wantIncidents(record.IncidentEpoch)
	gaps := p.incidents(record.IncidentGap)
	if len(gaps) != 1 || !strings.HasSuffix(gaps[0], p.uuid(2)) {
		t.Errorf("gaps stated: %q, want one of GPU 2", gaps)
	}
	p.all(4)
}

func TestAFrozenCounterIsNotBelievedUntilItHasCaughtUp(t *testing.T) {
	p := collect(t, working+fmt.Sprintf("stuck n1 2 156 %d %d\n", trouble, trouble+20*second))
	p.wantIncidents(record.IncidentEpoch)
	withheld := 0
	for _, b := range p.batches {
		for i, device := range b.Device {
			if b.Devices[device].Uuid == p.uuid(2) && b.EnergyTsUs[i] == ^uint64(0) {
				withheld++
			}
		}
	}
	if withheld < 15 {
		t.Errorf("%d readings of the counter that stood still are withheld, want those of 20 s", withheld)
	}
	p.all(4)
}
