package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/hwmon"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/collector/rapl"
	"github.com/wattledger/wattledger/collector/redfish"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/schemas/unit"
)

// measure makes the loop over the meters of the node, if it has any to read.
func (n *node) measure(cfg config) error {
	var feeds []nodemeter.Feed
	if cfg.Redfish.Enabled() {
		s, err := redfish.Open(cfg.Redfish, n.env.Log, n.env.Metrics)
		if err != nil {
			return err
		}
		n.metered = append(n.metered, s)
		feeds = append(feeds, nodemeter.Feed{Name: "redfish", Source: s, Period: cfg.Redfish.Period, Timeout: cfg.Redfish.Timeout})
	}
	if slices.Contains(cfg.Meters.Sources, "rapl") {
		s, err := rapl.Open(cfg.RAPL, n.env.Log, n.env.Metrics)
		if err != nil {
			return err
		}
		n.metered = append(n.metered, s)
		feeds = append(feeds, nodemeter.Feed{Name: "rapl", Source: s})
	}
	if slices.Contains(cfg.Meters.Sources, "hwmon") {
		s, err := hwmon.Open(cfg.HWMon, n.env.Log, n.env.Metrics)
		if err != nil {
			return err
		}
		n.metered = append(n.metered, s)
		feeds = append(feeds, nodemeter.Feed{Name: "hwmon", Source: s})
	}
	if slices.Contains(cfg.Meters.Sources, "switches") {
		s, err := n.switchMeters(cfg.Agent.Node)
		if err != nil {
			return err
		}
		feeds = append(feeds, nodemeter.Feed{Name: "switches", Source: s})
	}
	if len(feeds) == 0 {
		return nil
	}
	cfg.Meters.Incident = n.agent.Report
	var err error
	n.meters, err = nodemeter.New(cfg.Meters.Config, feeds, message.NewWriter(n.spool), wallclock.Clock{}, n.env.Log, n.env.Metrics)
	return err
}

// switchMeters reads the power of the node's NVSwitches from the DCGM source, which has it anyway.
func (n *node) switchMeters(name string) (nodemeter.Source, error) {
	first := n.opener.current.Load()
	if first == nil || len(first.Switches()) == 0 {
		return nil, fmt.Errorf("meters.sources: switches: %s shows no NVSwitch; take the word out", n.opener.kind)
	}
	var list []nodemeter.Meter
	var ids []uint32
	for _, s := range first.Switches() {
		ids = append(ids, s.ID)
		thing := fmt.Sprintf("switch%d", s.ID)
		list = append(list, nodemeter.Meter{Name: name + "/" + thing, Quantity: "switch_energy", Node: name, Of: thing})
	}
	fill := func(_ context.Context, _ unit.Micros, values []nodemeter.Value) error {
		for _, s := range n.opener.current.Load().Switches() {
			i := slices.Index(ids, s.ID)
			if at, watts, ok := s.Power(); ok && i >= 0 {
				values[i] = nodemeter.Value{At: at, Power: unit.Milliwatts(watts * 1000)}
			}
		}
		return nil
	}
	return nodemeter.FuncSource{List: list, Fill: fill}, nil
}

func switchFields() []uint16 { return dcgm.SwitchFields }
