package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// reading is what --once --json prints.
type reading struct {
	Node string      `json:"node"`
	At   unit.Micros `json:"tick_us"`
	// Unsupported are the metrics that no device has a field for.
	Unsupported []string        `json:"unsupported"`
	Devices     []deviceReading `json:"devices"`
}

type deviceReading struct {
	UUID   string `json:"uuid"`
	Kind   string `json:"kind"`
	Parent string `json:"parent_uuid,omitempty"`
	Model  string `json:"model"`
	Serial string `json:"serial,omitempty"`
	Driver string `json:"driver,omitempty"`
	Index  uint32 `json:"index"`
	Energy string `json:"energy_source"`
	Limit  int64  `json:"limit_mw"`
	// Fields are the values as DCGM gives them, by its field id.
	Fields map[string]fieldReading `json:"fields"`
}

type fieldReading struct {
	At    unit.Micros `json:"at_us"`
	Value json.Number `json:"value"`
}

// once waits for a second sample, since rates exist between two, and prints it.
func once(ctx context.Context, env *process.Env, cfg config) (err error) {
	o, err := choose(cfg, env)
	if err != nil {
		return err
	}
	source, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	clock := wallclock.Clock{}
	if _, err := clock.Wait(ctx, clock.Now()+unit.Micros((cfg.Agent.Period+cfg.Agent.Period/4).Microseconds()), nil); err != nil {
		return err
	}
	devices := source.Devices()
	at, r := clock.Now(), meter.NewReadings(len(devices))
	err = source.Read(ctx, at, r)
	if errors.Is(err, agent.ErrChanged) {
		devices = source.Devices()
		r = meter.NewReadings(len(devices))
		err = source.Read(ctx, at, r)
	}
	if err != nil {
		return err
	}
	if env.Flags.JSON {
		return printJSON(env, cfg.Agent.Node, at, unsupported(source), devices, r)
	}
	return printTable(env, devices, r)
}

func printJSON(env *process.Env, node string, at unit.Micros, unsupported []string, devices []agent.Device, r *meter.Readings) error {
	out := reading{Node: node, At: at, Unsupported: unsupported, Devices: []deviceReading{}}
	for i, d := range devices {
		x := deviceReading{
			UUID: d.UUID, Kind: d.Kind.String(), Parent: d.Parent, Model: d.Model, Serial: d.Serial, Driver: d.Driver, Index: d.Index,
			Energy: d.Energy.String(), Limit: int64(d.LimitMilliwatts), Fields: map[string]fieldReading{},
		}
		for s, v := range r.Row(i) {
			if v.At == 0 {
				continue
			}
			number := strconv.FormatInt(v.Int, 10)
			if v.Float != float64(v.Int) {
				number = strconv.FormatFloat(v.Float, 'f', -1, 64)
			}
			x.Fields[strconv.Itoa(int(meter.Fields[s]))] = fieldReading{v.At, json.Number(number)}
		}
		out.Devices = append(out.Devices, x)
	}
	line, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode the reading: %w", err)
	}
	_, err = fmt.Fprintf(env.Stdout, "%s\n", line)
	return err
}

func printTable(env *process.Env, devices []agent.Device, r *meter.Readings) error {
	table := progress.Table{Columns: []progress.Column{
		progress.Text("device"), progress.Number("index", ""), progress.Text("model"), progress.Number("power", "W"), progress.Number("limit", "W"),
		progress.Number("energy", "kWh"), progress.Text("energy from"), progress.Number("SM", "%"), progress.Number("tensor", "%"),
		progress.Number("memory", "MiB"), progress.Number("temp", "°C"),
	}}
	for i, d := range devices {
		row := r.Row(i)
		show := func(field uint16, scale float64, decimals int) string {
			s, ok := meter.SlotOf(field)
			if !ok || row[s].At == 0 {
				return "–"
			}
			return strconv.FormatFloat(row[s].Float*scale, 'f', decimals, 64)
		}
		limit := show(164, 1, 0)
		if row[meter.SlotPower].At != 0 && limit == "–" && d.LimitMilliwatts > 0 {
			limit = strconv.FormatFloat(d.LimitMilliwatts.Watts(), 'f', 0, 64)
		}
		source := d.Energy.String()
		if d.Kind == record.KindMIG {
			source = "its GPU"
		}
		table.Add(d.UUID, d.Index, d.Model, show(155, 1, 1), limit, show(156, 1.0/unit.MillijoulesPerKWh, 3), source,
			show(1002, 100, 1), show(1004, 100, 1), show(252, 1, 0), show(150, 1, 0))
	}
	return table.Render(env.Stdout, progress.Width(env.Stdout))
}
