package record

import (
	"github.com/wattledger/wattledger/schemas/unit"
)

// DeviceKind tells GPUs, MIG instances and CPUs apart. The numbers are those of the wire.
type DeviceKind int32

// The device kinds.
const (
	KindGPU DeviceKind = 1
	KindMIG DeviceKind = 2
	KindCPU DeviceKind = 3
)

// String is the name used in tables and files.
func (k DeviceKind) String() string {
	switch k {
	case KindGPU:
		return "gpu"
	case KindMIG:
		return "mig"
	case KindCPU:
		return "cpu"
	default:
		return "unknown"
	}
}

// EnergySource says what the energy counter of a device is. The numbers are those of the wire.
type EnergySource int32

// The energy sources.
const (
	// EnergyHardware is the device's own counter (DCGM field 156).
	EnergyHardware EnergySource = 1
	// EnergyIntegrated is power integrated by trapezoid on the node, where the device has no counter.
	EnergyIntegrated EnergySource = 2
	// EnergyNone is a device without energy of its own: a MIG instance is on its GPU's counter.
	EnergyNone EnergySource = 3
)

// String is the name used in tables and files.
func (s EnergySource) String() string {
	switch s {
	case EnergyHardware:
		return "hardware"
	case EnergyIntegrated:
		return "integrated"
	case EnergyNone:
		return "none"
	default:
		return "unknown"
	}
}

// Site is a data centre.
type Site struct {
	ID string
	// Country is ISO 3166-1 alpha-2; Zone the electricity grid zone; Operator the legal entity that runs it and
	// OperatorCountry the jurisdiction that entity answers to.
	Country, Zone, Operator, OperatorCountry string
	// PUEThousandths is the declared power usage effectiveness × 1000 (ISO/IEC 30134-2), used where no site meter is.
	PUEThousandths int64
	// AllocationSource names the scheduler that must declare its events complete before an hour can close, or is the word
	// AllocationsByNodes.
	AllocationSource string
	// ReadingSource names who states the site's meters and must declare its readings complete before an hour can close. Empty:
	// nobody is waited for, and a meter that is late is booked as an adjustment.
	ReadingSource string
}

// AllocationsByNodes is the AllocationSource of a site at which each node states who holds its devices: every node expected
// in an hour must then declare its allocations complete, under the source that AllocationsOf names.
const AllocationsByNodes = "nodes"

// AllocationsOf is the source under which a node states who holds its devices.
func AllocationsOf(node string) string { return node + "/allocations" }

// Node is a host and what is expected of it.
type Node struct {
	ID, Site, Rack, Model string
	// RestMilliwatts is the declared draw of everything on the node that no counter covers: fans, NICs, boards, storage.
	RestMilliwatts unit.Milliwatts
	// From and To bound the time for which the node is expected to report; To 0 is open.
	From, To unit.Micros
}

// Device is a GPU, a MIG instance or a Grace CPU. UUID is the only durable key.
type Device struct {
	UUID, Parent, Node string
	Kind               DeviceKind
	Model, Serial      string
	Driver, VBIOS      string
	// Index is the position on the node as nvidia-smi shows it.
	Index uint32
	// Slices are the compute slices of a MIG instance, or of the whole GPU for a GPU in MIG mode (7).
	Slices uint32
	Energy EnergySource
	// LimitMilliwatts is the most the device may draw; it bounds what a counter can have done between two samples.
	LimitMilliwatts unit.Milliwatts
	// IdleMilliwatts is the model table's idle power, used to split a MIG GPU when no better figure exists.
	IdleMilliwatts unit.Milliwatts
	From, To       unit.Micros
}

// Stay is the operator's word on when a node, or a device on it, is expected. Where there is one, the From and To that the node
// or the device is stated with do not count: a collector, which states its devices at every start, cannot undo it.
type Stay struct {
	Site, Node string
	// Device is the UUID; empty means the node itself.
	Device string
	// From tells the stays of a node from one another. To is 0 while it lasts; equal to From, it was never expected.
	From, To unit.Micros
	Reason   string
}

// Tenant is the legal entity that is billed.
type Tenant struct {
	ID, Name, Sector, SizeClass, Country, VATID string
	// AllowedCountries are where the tenant allows its work to run (ISO 3166-1 alpha-2). Empty: anywhere.
	AllowedCountries []string
}

// Allocation says that a tenant held a device, or thousandths of it, over [Start, End).
type Allocation struct {
	ID, Device                  string
	Share                       unit.Thousandths
	Start                       unit.Micros
	End                         unit.Micros // 0 while it runs
	Tenant, Project, Workload   string
	ModelID, Purpose, Scheduler string
	// Revision orders statements about the same allocation: the highest one counts.
	Revision uint64
}
