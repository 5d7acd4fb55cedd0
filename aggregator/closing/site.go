package closing

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/aggregator/attribution"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// site closes the hour of a site: it adds what its nodes share.
type site struct {
	hour    Hour
	sensors sensors
	nodes   []*nodeBook
	res     Result
	// marks are written into every entry at the end: sources and flags that hold for the whole site.
	marks []func(*record.Entry)
	// explain keeps the nodes as they were closed, in closers.
	explain bool
	closers []*nodeCloser
}

// nodeBook is the account of a node. The site's own account, of what no node can carry, is one without an id.
type nodeBook struct {
	id    string
	books []*book // in order of index and uuid
	// loose are entries that are no GPU's: of CPUs without a GPU, and of the node itself.
	loose []record.Entry
}

func newSite(h Hour) (*site, error) {
	if h.Site.PUEThousandths < 1000 {
		return nil, fmt.Errorf("site %s declares a PUE of %d thousandths: a site draws no less than its IT, write 1000 or more", h.Site.ID, h.Site.PUEThousandths)
	}
	table, err := factor.Sensors()
	if err != nil {
		return nil, err
	}
	return &site{hour: h, sensors: table}, nil
}

func (n *nodeBook) each(f func(*record.Entry)) {
	for _, b := range n.books {
		b.each(f)
	}
	for i := range n.loose {
		f(&n.loose[i])
	}
}

func (s *site) each(f func(*record.Entry)) {
	for _, n := range s.nodes {
		n.each(f)
	}
}

// it is the IT energy of an entry.
func it(e record.Entry) unit.Millijoules { return e.GPU + e.CPU + e.NodeRest + e.ITShared }

// weight is a share of what is spread. The difference of two virtual counters can fall by one mJ over a window in which next to
// nothing was drawn; what did takes no part.
func weight(e unit.Millijoules) uint64 { return uint64(max(e, 0)) }

func (n *nodeBook) looseIT() unit.Millijoules {
	var sum unit.Millijoules
	for _, e := range n.loose {
		sum += it(e)
	}
	return sum
}

// it is the IT energy of the node: what its devices took, its rest, and its part of what is shared.
func (n *nodeBook) it() unit.Millijoules {
	sum := n.looseIT()
	for _, b := range n.books {
		sum += b.whole
	}
	return sum
}

// spread splits an amount over the devices of the node by their energy, then within each of them. take hands an entry its part.
func (n *nodeBook) spread(h *Hour, amount int64, grow bool, take func(*record.Entry, int64)) error {
	weights := make([]uint64, 1, len(n.books)+1)
	weights[0] = weight(n.looseIT())
	for _, b := range n.books {
		weights = append(weights, weight(b.whole))
	}
	parts, err := attribution.Split(amount, weights)
	if errors.Is(err, attribution.ErrNoWeight) {
		take(n.own(h), amount)
		return nil
	}
	if err != nil {
		return err
	}
	if err := n.spreadLoose(parts[0], take); err != nil {
		return err
	}
	for i, b := range n.books {
		if err := b.spread(parts[i+1], grow, take); err != nil {
			return fmt.Errorf("device %s: %w", b.dev.UUID, err)
		}
	}
	return nil
}

// spreadLoose splits an amount over what is on no GPU, by energy, in the ledger's order.
func (n *nodeBook) spreadLoose(amount int64, take func(*record.Entry, int64)) error {
	slices.SortFunc(n.loose, record.CompareEntries)
	weights := make([]uint64, len(n.loose))
	for i, e := range n.loose {
		weights[i] = weight(it(e))
	}
	parts, err := attribution.Split(amount, weights)
	if err != nil {
		return err
	}
	for i := range n.loose {
		take(&n.loose[i], parts[i])
	}
	return nil
}

// own is the entry of the node itself, which no device carries.
func (n *nodeBook) own(h *Hour) *record.Entry {
	for i := range n.loose {
		if n.loose[i].Device == "" {
			return &n.loose[i]
		}
	}
	n.loose = append(n.loose, h.entry(n.id, Device{}, record.AccountPlatform))
	return &n.loose[len(n.loose)-1]
}

// spread splits an amount of the site over its nodes by their IT energy, then within each. With no IT energy anywhere it stays
// with the site.
func (s *site) spread(amount int64, grow bool, take func(*record.Entry, int64)) error {
	weights := make([]uint64, len(s.nodes))
	for i, n := range s.nodes {
		weights[i] = weight(n.it())
	}
	parts, err := attribution.Split(amount, weights)
	if errors.Is(err, attribution.ErrNoWeight) {
		take(s.own().own(&s.hour), amount)
		return nil
	}
	if err != nil {
		return err
	}
	for i, n := range s.nodes {
		if parts[i] == 0 {
			continue
		}
		if err := n.spread(&s.hour, parts[i], grow, take); err != nil {
			return fmt.Errorf("node %s: %w", n.id, err)
		}
	}
	return nil
}

// own is the account of the site itself, first in order.
func (s *site) own() *nodeBook {
	if len(s.nodes) == 0 || s.nodes[0].id != "" {
		s.nodes = slices.Insert(s.nodes, 0, &nodeBook{})
	}
	return s.nodes[0]
}

// it is the IT energy of the site.
func (s *site) it() unit.Millijoules {
	var sum unit.Millijoules
	for _, n := range s.nodes {
		sum += n.it()
	}
	return sum
}

// mark says of every entry of the site where a component came from, and flags it.
func (s *site) mark(set func(*record.Entry), flags ...string) {
	s.marks = append(s.marks, func(e *record.Entry) {
		set(e)
		for _, f := range flags {
			flag(e, f)
		}
	})
}

// addShared spreads the energy of IT that is on no node.
func (s *site) addShared() error {
	m, err := s.metered("it_shared_energy", 1)
	if err != nil {
		return err
	}
	if !m.usable() {
		s.mark(func(*record.Entry) {}, append(m.flags, flagSharedUnknown)...)
		return nil
	}
	err = s.spread(m.amount, true, func(e *record.Entry, v int64) {
		e.ITShared += unit.Millijoules(v)
		e.Measured += unit.Millijoules(v)
		e.Uncertainty += s.sensors.off(factor.SensorSiteMeter, unit.Millijoules(v))
	})
	name := m.source()
	s.mark(func(e *record.Entry) { e.SharedSource = name })
	return err
}

// addFacility spreads what the site took besides its IT: by its meters, else by its PUE.
func (s *site) addFacility() error {
	m, err := s.metered("site_energy", 1)
	if err != nil {
		return err
	}
	line := record.DeviceHour{
		Site: s.hour.Site.ID, Hour: s.hour.hour(), Kind: "site", Integral: record.NoIntegral, Present: unit.Hour,
		Counter: unit.Millijoules(m.amount), Covered: m.covered, BoundLow: unit.Millijoules(m.low), BoundHigh: unit.Millijoules(m.high), Flags: m.flags,
	}
	if len(m.names) > 0 {
		line.Sensor = factor.SensorSiteMeter
	}
	defer func() { s.res.DeviceHours = append(s.res.DeviceHours, line) }()
	if !m.usable() {
		return s.addPUE(m.flags)
	}
	overhead := unit.Millijoules(m.amount) - s.it()
	flags := m.flags
	if overhead < 0 {
		line.Excess, overhead = -overhead, 0
		flags = append(flags, flagSiteBelowIT)
		line.Flags = flagged(line.Flags, flagSiteBelowIT)
		s.res.find(FindingBelowParts, m.source(), "the meters of %s read %d mJ, its IT took %d mJ more: look at what is behind them", s.hour.Site.ID, m.amount, line.Excess)
	}
	err = s.spread(int64(overhead), false, func(e *record.Entry, v int64) {
		e.Facility += unit.Millijoules(v)
		e.Measured += unit.Millijoules(v)
		e.Uncertainty += s.sensors.off(factor.SensorSiteMeter, unit.Millijoules(v))
	})
	name := m.source()
	s.mark(func(e *record.Entry) { e.FacilitySource = name }, flags...)
	return err
}

// addPUE models the facility's energy node by node, so that no node depends on another.
func (s *site) addPUE(flags []string) error {
	pue, source := s.hour.Site.PUEThousandths, fmt.Sprintf("declared PUE %d", s.hour.Site.PUEThousandths)
	if c := s.hour.Factors.PUE; c.Known() {
		pue, source = c.Value, c.Ref()
	}
	if pue < 1000 {
		return fmt.Errorf("a PUE of %d thousandths (%s): a site draws no less than its IT, mend the edition", pue, source)
	}
	for _, n := range s.nodes {
		overhead, err := unit.FloorMulDiv(int64(max(n.it(), 0)), pue-1000, 1000)
		if err != nil {
			return err
		}
		err = n.spread(&s.hour, overhead, false, func(e *record.Entry, v int64) {
			e.Facility += unit.Millijoules(v)
			e.Modelled += unit.Millijoules(v)
			e.Uncertainty += s.sensors.off(factor.SensorDeclared, unit.Millijoules(v))
		})
		if err != nil {
			return fmt.Errorf("node %s: %w", n.id, err)
		}
	}
	s.mark(func(e *record.Entry) { e.FacilitySource = source }, append(flags, flagPUE)...)
	return nil
}

// sensors is how far each class of sensor, or model, may be off.
type sensors map[string]factor.Sensor

// off is how far an amount may be off, rounded up.
func (s sensors) off(class string, e unit.Millijoules) unit.Millijoules {
	v := int64(max(e, -e)) * s[class].Permille
	return unit.Millijoules((v + 999) / 1000)
}

// addUncertainty adds what is not known of a cut's place to what sensors may be off.
func (s *site) addUncertainty() error {
	s.each(func(e *record.Entry) { e.Uncertainty += max(e.BoundLow, e.BoundHigh) })
	return nil
}

// metered is what the meters of one quantity read over the hour, added up.
type metered struct {
	names             []string
	amount, low, high int64
	covered           unit.Micros // of the one that saw least
	flags             []string    // empty when all of them can be used
}

func (m metered) usable() bool { return len(m.names) > 0 && len(m.flags) == 0 }

// source names the meters as an entry does.
func (m metered) source() string {
	text := "meter "
	for i, n := range m.names {
		if i > 0 {
			text += "+"
		}
		text += n
	}
	return text
}

// metered is what the site's meters of a quantity read, each value times scale. If one of them cannot be used none is: the others
// are not the whole.
func (s *site) metered(quantity string, scale int64) (metered, error) {
	return read(s.hour.Readings, quantity, scale, s.hour.Start, s.hour.End(), &s.res)
}

// read adds up what the meters of a quantity read over [from, to).
func read(readings []record.Reading, quantity string, scale int64, from, to unit.Micros, res *Result) (metered, error) {
	byMeter := map[string][]record.Reading{}
	m := metered{covered: to - from}
	for _, r := range readings {
		if r.Quantity != quantity {
			continue
		}
		if _, ok := byMeter[r.Meter]; !ok {
			m.names = append(m.names, r.Meter)
		}
		byMeter[r.Meter] = append(byMeter[r.Meter], r)
	}
	slices.Sort(m.names)
	for _, name := range m.names {
		if err := m.addMeter(name, byMeter[name], scale, from, to, res); err != nil {
			return m, fmt.Errorf("meter %s: %w", name, err)
		}
	}
	slices.SortFunc(m.flags, cmp.Compare[string])
	return m, nil
}
