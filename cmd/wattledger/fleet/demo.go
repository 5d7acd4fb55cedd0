package fleet

import (
	"fmt"
	"math/rand/v2"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The demo's sites. Everything about them is fictional.
const (
	siteFR = "fr-demo"
	siteSE = "se-demo"
)

// tenant is a fictional tenant and what it runs.
type tenant struct {
	record.Tenant
	weight int
	kinds  []string
	model  string
}

var tenants = []tenant{
	{record.Tenant{ID: "fictional-bank", Name: "Fictional Bank SA", Sector: "banking", SizeClass: "large", Country: "FR", VATID: "FR00000000001", AllowedCountries: []string{"FR"}}, 3, []string{"training", "inference"}, "credit-scoring-8b"},
	{record.Tenant{ID: "fictional-railway", Name: "Fictional Railway SA", Sector: "transport", SizeClass: "large", Country: "FR", VATID: "FR00000000002", AllowedCountries: []string{"FR", "SE"}}, 2, []string{"inference"}, "timetable-planner-3b"},
	{record.Tenant{ID: "fictional-ministry", Name: "Fictional Ministry of Examples", Sector: "public administration", SizeClass: "large", Country: "FR", VATID: "FR00000000003", AllowedCountries: []string{"FR"}}, 2, []string{"inference", "training"}, "public-forms-13b"},
	{record.Tenant{ID: "fictional-labs", Name: "Fictional Labs AB", Sector: "information and communication", SizeClass: "medium", Country: "SE", VATID: "SE000000000401"}, 4, []string{"training"}, "nordic-foundation-70b"},
	{record.Tenant{ID: "fictional-hospital", Name: "Fictional Hospital Group", Sector: "health", SizeClass: "large", Country: "DE", VATID: "DE000000005", AllowedCountries: []string{"FR", "SE", "DE"}}, 2, []string{"training", "inference"}, "radiology-vision-2b"},
	{record.Tenant{ID: "fictional-university", Name: "Fictional University", Sector: "education", SizeClass: "large", Country: "FI", VATID: "FI00000006"}, 3, []string{"training"}, "open-weights-7b"},
	{record.Tenant{ID: "fictional-energy", Name: "Fictional Energy NV", Sector: "energy", SizeClass: "large", Country: "BE", VATID: "BE0000000007"}, 1, []string{"training"}, "load-forecast-1b"},
	{record.Tenant{ID: "fictional-startup", Name: "Fictional Start-up SAS", Sector: "information and communication", SizeClass: "micro", Country: "FR", VATID: "FR00000000008"}, 1, []string{"inference"}, "assistant-8b"},
	{record.Tenant{ID: "fictional-media", Name: "Fictional Media SARL", Sector: "media", SizeClass: "small", Country: "FR", VATID: "FR00000000009"}, 1, []string{"inference"}, "subtitles-1b"},
	{record.Tenant{ID: "fictional-archive", Name: "Fictional Archive", Sector: "culture", SizeClass: "small", Country: "SE", VATID: "SE000000001001"}, 0, []string{"idle"}, ""},
}

// Demo is the fictional two-site fleet: 16 HGX B200 nodes and 4 GB200 trays, 144 GPUs, ten tenants, over hours from start.
// It holds a tenant whose work runs where its policy forbids, one that holds and does nothing, a reset, missing values, a
// node in MIG mode and GPUs that are shared.
func Demo(seed uint64, start unit.Micros, hours int) *Fleet {
	f := &Fleet{Name: "demo", Seed: seed, Start: start, End: start + unit.Micros(hours)*unit.Hour}
	f.addPlaces()
	f.addMeters()
	f.addFactors()
	p := planner{fleet: f, rng: rand.New(rand.NewPCG(seed, 0x77617474))}
	for _, n := range f.Nodes {
		switch n.ID {
		case "fr-b200-10":
			p.partitioned(n)
		case "fr-b200-09":
			p.shared(n)
		case "se-b200-06":
			p.archive(n)
		default:
			p.jobs(n)
		}
	}
	p.violation()
	p.events()
	return f
}

func (f *Fleet) addPlaces() {
	f.Sites = []record.Site{
		{ID: siteFR, Country: "FR", Zone: "FR", Operator: "Fictional Cloud SAS", OperatorCountry: "FR", PUEThousandths: 1220, AllocationSource: "scheduler-" + siteFR},
		{ID: siteSE, Country: "SE", Zone: "SE", Operator: "Fictional Cloud AB", OperatorCountry: "SE", PUEThousandths: 1120, AllocationSource: "scheduler-" + siteSE},
	}
	for _, t := range tenants {
		f.Tenants = append(f.Tenants, t.Tenant)
	}
	add := func(site, prefix, hardware, model string, count, gpus int, rest unit.Milliwatts) {
		for i := range count {
			id := fmt.Sprintf("%s-%02d", prefix, i+1)
			// Nodes come up within the first seconds; counters count from there.
			boot := f.Start + unit.Micros(137+211*len(f.Nodes))*unit.Millisecond
			f.Nodes = append(f.Nodes, Node{
				Node: record.Node{ID: id, Site: site, Rack: fmt.Sprintf("%s-r%d", site[:2], i/4+1), Model: model, RestMilliwatts: rest, From: boot},
				Boot: boot, Hardware: hardware, GPUs: gpus,
			})
		}
	}
	// Node rest is declared: fans, NICs, boards, drives. For an air-cooled HGX node about a fifth of its draw, for a
	// liquid-cooled tray less.
	add(siteFR, "fr-b200", "hgx-b200", "HGX B200", 10, 8, 2_800_000)
	add(siteFR, "fr-gb200", "gb200", "GB200 tray", 2, 4, 650_000)
	add(siteSE, "se-b200", "hgx-b200", "HGX B200", 6, 8, 2_800_000)
	add(siteSE, "se-gb200", "gb200", "GB200 tray", 2, 4, 650_000)
	for i := range f.Nodes {
		if f.Nodes[i].ID == "fr-b200-10" {
			f.Nodes[i].MIG = map[int][]int{0: {3, 2, 1, 1}, 1: {4, 3}, 2: {2, 2, 2}, 3: {7}, 4: {1, 1, 1, 1}, 5: {3, 3}, 6: {3, 2, 2}, 7: {4, 2, 1}}
		}
	}
}

// planner fills a fleet's days with work.
type planner struct {
	fleet *Fleet
	rng   *rand.Rand
	count int
}

// edge is an instant within the play at a random millisecond.
func (p *planner) edge(from, to unit.Micros) unit.Micros {
	ms := p.rng.Int64N(int64((to-from)/unit.Millisecond)) + 1
	return from + unit.Micros(ms)*unit.Millisecond
}

// offSecond moves an instant that chance has put on a whole second, where collectors read, by a millisecond: an edge that falls
// on a sample would try nothing. Neighbours that share an edge still do.
func offSecond(t unit.Micros) unit.Micros {
	if t%unit.Second == 0 {
		t += unit.Millisecond
	}
	return t
}

func (p *planner) span(fromMinutes, toMinutes int) unit.Micros {
	return p.edge(unit.Micros(fromMinutes)*60*unit.Second, unit.Micros(toMinutes)*60*unit.Second)
}

// pick draws a tenant by weight that may run on site.
func (p *planner) pick(country string) tenant {
	total := 0
	for _, t := range tenants {
		if allowed(t.Tenant, country) {
			total += t.weight
		}
	}
	n := p.rng.IntN(total)
	for _, t := range tenants {
		if !allowed(t.Tenant, country) {
			continue
		}
		if n -= t.weight; n < 0 {
			return t
		}
	}
	return tenants[0]
}

func allowed(t record.Tenant, country string) bool {
	if len(t.AllowedCountries) == 0 {
		return true
	}
	for _, c := range t.AllowedCountries {
		if c == country {
			return true
		}
	}
	return false
}

func (p *planner) country(site string) string {
	for _, s := range p.fleet.Sites {
		if s.ID == site {
			return s.Country
		}
	}
	return ""
}

var purposes = map[string]string{"training": "training", "inference": "inference", "idle": "research"}

// hold books GPUs of a node for a tenant over [start, end); an end after the play leaves the allocation running. A play may be
// too short for what was meant to be held; then nothing is.
func (p *planner) hold(n Node, t tenant, kind string, gpus []int, instance int, share unit.Thousandths, start, end unit.Micros) {
	start, end = offSecond(start), offSecond(end)
	if start >= min(end, p.fleet.End) {
		return
	}
	p.count++
	if end >= p.fleet.End {
		end = 0
	}
	for _, g := range gpus {
		id := fmt.Sprintf("%s-%05d-%d", n.Site[:2], p.count, g)
		if instance >= 0 {
			id += fmt.Sprintf(".%d", instance)
		}
		device := GPUUUID(p.fleet.Seed, n.ID, g)
		if instance >= 0 {
			device = MIGUUID(p.fleet.Seed, n.ID, g, instance)
		}
		p.fleet.Loads = append(p.fleet.Loads, Load{
			Allocation: record.Allocation{
				ID: id, Device: device, Share: share, Start: start, End: end, Tenant: t.ID, Project: t.ID + "-" + kind,
				Workload: fmt.Sprintf("job-%05d", p.count), ModelID: t.model, Purpose: purposes[kind],
				Scheduler: fmt.Sprintf("%s/job/%d", p.fleet.siteOf(n.Site).AllocationSource, p.count),
			},
			Node: n.ID, GPU: g, Instance: instance, Kind: kind,
		})
	}
}

func (f *Fleet) siteOf(id string) record.Site {
	for _, s := range f.Sites {
		if s.ID == id {
			return s
		}
	}
	return record.Site{}
}

// jobs runs whole-GPU jobs on a node, one after the other with gaps, on all GPUs or on halves.
func (p *planner) jobs(n Node) {
	halves := [][]int{span(0, n.GPUs)}
	if p.rng.IntN(3) == 0 {
		halves = [][]int{span(0, n.GPUs/2), span(n.GPUs/2, n.GPUs)}
	}
	for _, gpus := range halves {
		at := p.fleet.Start + p.span(1, 50)
		for at < p.fleet.End-30*60*unit.Second {
			t := p.pick(p.country(n.Site))
			end := at + p.span(180, 560)
			p.hold(n, t, t.kinds[p.rng.IntN(len(t.kinds))], gpus, -1, unit.WholeDevice, at, end)
			at = end
			if p.rng.IntN(3) > 0 {
				at += p.span(1, 45)
			}
		}
	}
}

// shared lets several tenants hold thousandths of each GPU of a node at a time.
func (p *planner) shared(n Node) {
	shares := []unit.Thousandths{500, 300, 150}
	for g := range n.GPUs {
		for i, share := range shares {
			at := p.fleet.Start + p.span(1, 90)
			for at < p.fleet.End-60*60*unit.Second {
				t := tenants[(g+i+p.rng.IntN(3))%8]
				if !allowed(t.Tenant, p.country(n.Site)) {
					t = tenants[0]
				}
				end := at + p.span(200, 500)
				p.hold(n, t, "inference", []int{g}, -1, share, at, end)
				at = end + p.span(1, 60)
			}
		}
	}
}

// partitioned lets small tenants hold the MIG instances of a node.
func (p *planner) partitioned(n Node) {
	small := []int{1, 2, 7, 8}
	for g := range n.GPUs {
		for i := range n.MIG[g] {
			at := p.fleet.Start + p.span(1, 120)
			for at < p.fleet.End-60*60*unit.Second {
				t := tenants[small[p.rng.IntN(len(small))]]
				end := at + p.span(240, 700)
				p.hold(n, t, "inference", []int{g}, i, unit.WholeDevice, at, end)
				at = end + p.span(5, 90)
			}
		}
	}
}

// archive holds four GPUs all day and does nothing; the rest of the node works.
func (p *planner) archive(n Node) {
	p.hold(n, tenants[9], "idle", span(0, 4), -1, unit.WholeDevice, p.edge(p.fleet.Start, p.fleet.Start+10*60*unit.Second), p.fleet.End)
	t := tenants[5]
	p.hold(n, t, "training", span(4, 8), -1, unit.WholeDevice, p.fleet.Start+p.span(10, 30), p.fleet.End-p.span(10, 50))
}

// violation moves work of a tenant that allows France only to Sweden: the first job there that is someone else's.
func (p *planner) violation() {
	for i := range p.fleet.Loads {
		l := &p.fleet.Loads[i]
		if l.Node != "se-gb200-01" {
			continue
		}
		job := l.Workload
		for k := range p.fleet.Loads {
			if m := &p.fleet.Loads[k]; m.Workload == job {
				m.Tenant, m.Project, m.ModelID = tenants[0].ID, tenants[0].ID+"-"+m.Kind, tenants[0].model
			}
		}
		return
	}
}

// events are what goes wrong during the day.
func (p *planner) events() {
	f := p.fleet
	at := func(hour int) unit.Micros {
		h := f.Start + unit.Micros(hour)*unit.Hour
		if h >= f.End {
			h = f.End - unit.Hour
		}
		return offSecond(p.edge(h, h+50*60*unit.Second))
	}
	t := at(9)
	f.Events = append(f.Events, fmt.Sprintf("reset fr-b200-03 2 %d", t), fmt.Sprintf("xid fr-b200-03 2 %d 95", max(t-5*unit.Second, f.Start+unit.Millisecond)))
	t = at(14)
	f.Events = append(f.Events, fmt.Sprintf("missing se-b200-01 4 156 %d %d", t, t+95*unit.Second))
	t = at(17)
	f.Events = append(f.Events, fmt.Sprintf("missing fr-b200-05 0 1002 %d %d", t, t+300*unit.Second), fmt.Sprintf("xid se-b200-02 1 %d 63", t))
}

func span(from, to int) []int {
	var out []int
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}
