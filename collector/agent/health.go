package agent

import (
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
)

// health sums up a node's devices for whoever watches the fleet: a series a node, where dcgm-exporter's names give one a device.
// Alerts on 18,000 GPUs then read a few thousand series. No account is made from it.
type health struct {
	counts [len(watched)]prometheus.Counter
	power  map[record.DeviceKind]prometheus.Gauge
	xids   map[Action]prometheus.Counter
	// last is, per device, what its counters showed; absent before the first reading.
	last [][len(watched)]uint64
	// gpus are the devices that throttle and err; readable how many devices have anything to read.
	gpus     prometheus.Gauge
	expected prometheus.Counter
	readable int
	// watts is what each kind of device draws at this tick.
	watts map[record.DeviceKind]float64
}

// watched are the counters that are summed up: the place among record.Counters, the metric, and what one of its units is.
var watched = [...]struct {
	counter      int
	metric, kind string
	unit         float64
}{
	{counterOf("power_violation_ns"), "throttled", "power", 1e-9},
	{counterOf("thermal_violation_ns"), "throttled", "thermal", 1e-9},
	{counterOf("ecc_sbe"), "ecc", "corrected", 1},
	{counterOf("ecc_dbe"), "ecc", "uncorrected", 1},
}

var powerGauge = slices.IndexFunc(record.Gauges, func(m record.Metric) bool { return m.Name == "power_w" })

func counterOf(name string) int {
	return slices.IndexFunc(record.Counters, func(m record.Metric) bool { return m.Name == name })
}

func newHealth(reg prometheus.Registerer, node string) *health {
	throttled := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wattledger_collector_throttled_seconds_total",
		Help: "Time for which GPUs of the node ran below the clocks asked for, summed over them, by cause: power, thermal.",
	}, []string{"node", "cause"}))
	ecc := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wattledger_collector_ecc_errors_total", Help: "Memory errors of the node's GPUs since the collector began, by kind: corrected, uncorrected.",
	}, []string{"node", "kind"}))
	power := register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "wattledger_collector_power_watts", Help: "Power that the node's devices drew at the last tick, summed over those that said it, by kind: gpu, cpu.",
	}, []string{"node", "kind"}))
	xids := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wattledger_collector_xids_by_action_total", Help: "XID events that devices reported, by what NVIDIA's catalogue says is to be done at once: reset, reboot, fabric, support, restart_app, none, unknown.",
	}, []string{"node", "action"}))
	gpus := register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wattledger_collector_gpus", Help: "GPUs of the node, MIG instances apart."}, []string{"node"}))
	expected := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wattledger_collector_samples_expected_total", Help: "Samples that should have been read: one per tick, missed ones included, and device that has anything to read.",
	}, []string{"node"}))
	// Every series is there from the start: a rate knows no increase from nothing to one.
	h := &health{gpus: gpus.WithLabelValues(node), expected: expected.WithLabelValues(node), power: map[record.DeviceKind]prometheus.Gauge{}, xids: map[Action]prometheus.Counter{}, watts: map[record.DeviceKind]float64{}}
	for i, w := range watched {
		if w.metric == "ecc" {
			h.counts[i] = ecc.WithLabelValues(node, w.kind)
		} else {
			h.counts[i] = throttled.WithLabelValues(node, w.kind)
		}
	}
	for _, kind := range []record.DeviceKind{record.KindGPU, record.KindCPU} {
		h.power[kind] = power.WithLabelValues(node, kind.String())
	}
	for _, action := range Actions {
		h.xids[action] = xids.WithLabelValues(node, string(action))
	}
	return h
}

// devices says what is read from now on. The next readings are where counting goes on from.
func (h *health) devices(list []Device) {
	h.last = make([][len(watched)]uint64, len(list))
	gpus := 0
	h.readable = 0
	for i := range list {
		if list[i].Kind == record.KindGPU {
			gpus++
		}
		if list[i].Slots&^meter.Set(0).With(meter.SlotXID) != 0 {
			h.readable++
		}
	}
	h.gpus.Set(float64(gpus))
	for i := range h.last {
		for c := range h.last[i] {
			h.last[i][c] = record.AbsentCounter
		}
	}
}

// see takes a device's row of a tick. A counter that fell begins anew.
func (h *health) see(i int, d *Device, row *meter.Row) {
	for c := range watched {
		now, before := row.Counters[watched[c].counter], h.last[i][c]
		if now == record.AbsentCounter {
			continue
		}
		if before != record.AbsentCounter && now > before {
			h.counts[c].Add(float64(now-before) * watched[c].unit)
		}
		h.last[i][c] = now
	}
	if w := float64(row.Gauges[powerGauge]); !math.IsNaN(w) && h.power[d.Kind] != nil {
		h.watts[d.Kind] += w
	}
}

// ticked shows what the tick summed up. Where nothing was read it is 0, as nothing is known; the gap is counted elsewhere.
func (h *health) ticked() {
	for kind, gauge := range h.power {
		gauge.Set(h.watts[kind])
		h.watts[kind] = 0
	}
}
