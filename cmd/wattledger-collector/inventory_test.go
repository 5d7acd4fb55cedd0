package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/record"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// stated counts the devices of each inventory that is put.
type stated struct{ devices []int }

func (s *stated) Put(_ context.Context, m *message.Message) error {
	inv := &wl.Inventory{}
	if err := proto.Unmarshal(m.Value, inv); err != nil {
		return err
	}
	s.devices = append(s.devices, len(inv.Devices))
	return nil
}

// What Kafka has not got, because the spool gave it up, it gets within the hour.
func TestTheDevicesAreStatedAgainEachHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stated{}
		v := newInventory(message.NewWriter(s), agent.DefaultConfig(), &instances{}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- v.run(ctx) }()
		time.Sleep(restate + time.Minute) // nothing is known yet
		v.announce([]agent.Device{{Device: record.Device{UUID: "GPU-1", Kind: record.KindGPU, Node: "n1", Model: "B200", Energy: record.EnergyHardware}}})
		time.Sleep(2*restate + time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(s.devices) != 3 || s.devices[2] != 1 {
			t.Errorf("inventories stated, by devices: %v; want the first and two more", s.devices)
		}
	})
}
