package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// since is from when on a device is said to be there: always. The stays of MIG instances are stated apart. A collector cannot know better, and a statement replaces the
// one before: were it the collector's own start, an upgrade at half past would take the half hour before from whoever held
// the device.
const since unit.Micros = 0

// restate is how often the devices are stated though nothing has changed: a list that the spool had to give up while Kafka was
// away would otherwise be missing until the next change.
const restate = time.Hour

// inventory publishes the devices that the agent announces, the newest list first if several wait.
type inventory struct {
	writer *message.Writer
	cfg    agent.Config
	log    *slog.Logger
	newest chan []agent.Device
	mig    *instances
}

func newInventory(w *message.Writer, cfg agent.Config, mig *instances, log *slog.Logger) *inventory {
	return &inventory{writer: w, cfg: cfg, log: log, newest: make(chan []agent.Device, 1), mig: mig}
}

// announce is called by the agent's loop only, so what it takes out is what it put in before.
func (v *inventory) announce(devices []agent.Device) {
	select {
	case <-v.newest:
	default:
	}
	v.newest <- devices
}

// run publishes until ctx ends. An inventory that cannot be published is tried again: samples do not wait for it.
func (v *inventory) run(ctx context.Context) error {
	var devices []agent.Device
	again := time.NewTimer(restate)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case devices = <-v.newest:
		case <-again.C:
		}
		again.Reset(restate)
		if len(devices) == 0 {
			continue
		}
		if err := v.state(ctx, devices, now()); err != nil && ctx.Err() == nil {
			v.log.Warn("inventory not published", "reason", "publish", "error", err)
			again.Reset(v.cfg.RetryMax)
		}
	}
}

// state states the devices, and when MIG instances began and ended. What changed is remembered first: what a crash in between leaves
// unsaid the next run says.
func (v *inventory) state(ctx context.Context, devices []agent.Device, at unit.Micros) error {
	if err := v.mig.see(devices, at); err != nil {
		v.log.Warn("MIG instances not remembered", "reason", "write", "error", err)
	}
	err := v.writer.Inventory(ctx, v.cfg.Site, uint64(at), since, devices)
	for _, c := range v.mig.changes(at) {
		// The time of the change is the revision: stated again it undoes nothing that an operator has said since.
		err = errors.Join(err, v.writer.Stays(ctx, v.cfg.Site, uint64(c.at), v.stays(c.instances)))
	}
	return err
}

func (v *inventory) stays(list []instance) []record.Stay {
	var out []record.Stay
	for _, in := range list {
		out = append(out, record.Stay{Site: v.cfg.Site, Node: v.cfg.Node, Device: in.UUID, From: in.From, To: in.To, Reason: "MIG layout"})
	}
	return out
}
