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
	// Steady is time that only passes: no step of Now moves it. Only differences mean anything.
	Steady() unit.Micros
	// Wait returns when the time from its call until then has passed, when wake receives (woken is then true), or with the
	// context's error. A step of the clock during the wait neither shortens nor lengthens it. wake may be nil.
	Wait(ctx context.Context, until unit.Micros, wake <-chan struct{}) (woken bool, err error)
}

// Device is what a source can read: the device, and which fields it may ever give a value for.
type Device struct {
	record.Device
	Slots meter.Set
	// PCI is the bus id as NVML writes it (00000000:1B:00.0), File the name of the device file (nvidia3), Profile a MIG
	// instance's (1g.23gb). Each is empty when it is not known. Slurm counts GPUs by File, never by Index.
	PCI, File, Profile string
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

// ErrCannot means that the source has no such ability. Nothing is wrong.
var ErrCannot = errors.New("the source cannot do that")

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

// Catcher is a Source that remembers what it sampled while nobody read it.
type Catcher interface {
	// CatchUp calls row for each tick in (from, to) that is a multiple of every after from, with the energy counters that
	// the source recorded at about that time, oldest first. r is the source's and valid during the call.
	CatchUp(ctx context.Context, from, to, every unit.Micros, row func(tick unit.Micros, r *meter.Readings) error) error
}

// Edger is a Source that can read the energy counters at once, without waiting for its next sample.
type Edger interface {
	// ReadEdge fills the energy and the power of each device as of now. ErrCannot says that it cannot after all.
	ReadEdge(ctx context.Context, r *meter.Readings) error
}

// Observer is shown every reading before it is accounted. It is called by the loop, must not block, and keeps nothing of
// r. r is empty when err says why nothing was read.
type Observer interface {
	Observe(tick unit.Micros, devices []Device, r *meter.Readings, err error)
	// ObserveEvents is shown the events that came with the reading.
	ObserveEvents(devices []Device, events []Event)
}

// Losses remembers what had to be given up until a durable message has stated it. It may be called from any goroutine.
type Losses interface {
	// Pending is what has not been stated yet, oldest first.
	Pending() []record.Incident
	// Stated says that the first n of the last Pending are in a durable message.
	Stated(n int)
}

// Publisher takes samples off our hands. A nil error means that they are durable and we may forget them; after an
// error we keep them and offer them again, unless it is ErrRefused. The batch is ours again on return: a publisher
// keeps nothing of it.
type Publisher interface {
	Publish(ctx context.Context, batch *wl.SampleBatch) error
}

// ErrRefused means that the batch will never be accepted: it is counted and dropped, and its sequence stays a hole.
var ErrRefused = errors.New("batch refused")
