package agent

import (
	"context"
	"errors"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Clock is the time the agent lives by. A simulation hands in a virtual one.
type Clock interface {
	// Now is the present instant.
	Now() unit.Micros
	// Wait returns when Now has reached until, or with the context's error.
	Wait(ctx context.Context, until unit.Micros) error
}

// Device is what a source can read: the device, and which fields it may ever give a value for.
type Device struct {
	record.Device
	Slots meter.Set
}

// Event is an XID that a device reported.
type Event struct {
	// Device is the position in Devices.
	Device int
	At     unit.Micros
	XID    uint32
}

// ErrChanged means that the devices are no longer those of the last call of Devices: the connection was made anew, or
// an instance came or went. Nothing was read. Ask for the devices again and go on.
var ErrChanged = errors.New("the devices have changed")

// Source reads devices. All calls come from one goroutine.
type Source interface {
	// Devices lists what is read now, in the order of rows: GPUs, instances, CPUs, each by index. Every UUID occurs once.
	Devices() []Device
	// Read fills a row of r for each device with the latest value of each field and its own time stamp. What could not
	// be read is left empty. An error means that nothing could be read; a later call may succeed. After ErrChanged
	// the caller asks for Devices again.
	Read(ctx context.Context, tick unit.Micros, r *meter.Readings) error
	// Events appends what was reported since the last call, oldest first.
	Events(ctx context.Context, events []Event) ([]Event, error)
}

// Publisher takes samples off our hands. A nil error means that they are durable and we may forget them; after an
// error we keep them and offer them again, unless it is ErrRefused. The batch is ours again on return: a publisher
// keeps nothing of it.
type Publisher interface {
	Publish(ctx context.Context, batch *wl.SampleBatch) error
}

// ErrRefused means that the batch will never be accepted: it is counted and dropped, and its sequence stays a hole.
var ErrRefused = errors.New("batch refused")
