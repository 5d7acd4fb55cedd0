package workload

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// ByHolders is the value of Hold.Replicas for a device that is shared by nobody knows how many: it is divided equally by
// how many hold it, and again whenever one comes or goes.
const ByHolders = -1

// Hold is what a scheduler says about one device: who has it, and since when.
type Hold struct {
	// Ref is the scheduler's own reference, for people: a pod's namespace/name, a Slurm job id.
	Ref string
	// Key is the identity of this hold as the source sees it, the same in every statement about it and never that of
	// another: a pod's UID with container and device id, a job id with device.
	Key string
	// Device is the UUID of a GPU or a MIG instance.
	Device string
	// Thousandths is the share of the device; 0 is the whole. It is not used with Replicas.
	Thousandths unit.Thousandths
	// Replicas is into how many equal parts the device was divided, of which this hold has one (time-slicing, MPS). Each has
	// ⌊1000/Replicas⌋ thousandths and nobody has the rest. 0 is undivided, ByHolders an unknown number.
	Replicas int
	// Start and End are the scheduler's own times; 0 is not known, and of End also not yet. An end is final.
	Start, End unit.Micros
	// Attributes are what rules match: namespace, pod, container, label.X; job, account, user, partition, job_name, comment.
	// The tracker adds source.
	Attributes map[string]string
	// Names are what the source itself says; they win over every rule.
	Names Names
}

// share is that of the device; 0 is by the number of holders.
func (h Hold) share() unit.Thousandths {
	switch {
	case h.Replicas < 0:
		return 0
	case h.Replicas > 0:
		return max(1, unit.WholeDevice/unit.Thousandths(h.Replicas)) // of over a thousand replicas, those that there is room for
	case h.Thousandths <= 0 || h.Thousandths > unit.WholeDevice:
		return unit.WholeDevice
	default:
		return h.Thousandths
	}
}

// Names are what an allocation is called in the accounts.
type Names struct {
	// Tenant is the legal entity that is billed, as the inventory names it.
	Tenant string `yaml:"tenant" json:"tenant,omitempty"`
	// Project and Workload divide a tenant's usage; any text.
	Project  string `yaml:"project" json:"project,omitempty"`
	Workload string `yaml:"workload" json:"workload,omitempty"`
	// ModelID names the model that is trained or served.
	ModelID string `yaml:"model_id" json:"model_id,omitempty"`
	// Purpose is training, fine-tuning, inference or research.
	Purpose string `yaml:"purpose" json:"purpose,omitempty"`
}

// Statement is all that a source knows now.
type Statement struct {
	// Holds are those that run, and those that have ended and of which an End is known for as long as the source remembers
	// them. What ran in the statement before and is absent now has ended.
	Holds []Hold
	// UpTo is the instant up to which the statement tells everything; 0 is the moment at which it was asked for. A source that
	// has lost sight of a part holds it back, and hours wait for it.
	UpTo unit.Micros
}

// Source asks one scheduler about this node. Holds and Run are called by different goroutines.
type Source interface {
	// Name is a word: kubernetes, slurm, hpc, static.
	Name() string
	// Holds states everything. devices are those that exist now. After an error nothing is concluded, and what was known
	// stays.
	Holds(ctx context.Context, devices []agent.Device) (Statement, error)
	// Run watches the scheduler until ctx is done and calls changed when it learns that something may have changed, with the
	// instant of the event as far as it knows it, else 0. A call that comes twice or for nothing does no harm; one that
	// is lost is found by the next statement. changed does not block. A source that only answers waits for ctx.
	Run(ctx context.Context, changed func(at unit.Micros)) error
}

// Leaves are the devices that can be held: MIG instances, and GPUs without any. A GPU that is divided is held by its instances.
func Leaves(devices []agent.Device) []agent.Device {
	divided := map[string]bool{}
	for _, d := range devices {
		if d.Kind == record.KindMIG {
			divided[d.Parent] = true
		}
	}
	var out []agent.Device
	for _, d := range devices {
		if d.Kind == record.KindMIG || (d.Kind == record.KindGPU && !divided[d.UUID]) {
			out = append(out, d)
		}
	}
	return out
}

// LeavesOf are what is held by who holds a device: its instances where it is a GPU with such, else the device itself.
func LeavesOf(uuid string, devices []agent.Device) []string {
	var out []string
	for _, d := range Leaves(devices) {
		if d.UUID == uuid || d.Parent == uuid {
			out = append(out, d.UUID)
		}
	}
	return out
}

// allocationID is the hash of what makes an allocation itself: source, reference, key and device of its hold, the instant at
// which that was first thought to begin, and for one that follows a change of share the instant of the change. The texts are
// preceded by their lengths, so that no two lists of texts look the same.
func allocationID(source, ref, key, device string, starts ...unit.Micros) string {
	var buf []byte
	for _, s := range []string{source, ref, key, device} {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
		buf = append(buf, s...)
	}
	for _, t := range starts {
		buf = binary.BigEndian.AppendUint64(buf, uint64(t))
	}
	sum := sha256.Sum256(buf)
	return hex.EncodeToString(sum[:16])
}
