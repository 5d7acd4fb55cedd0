package exposition

import (
	"slices"
	"strings"
	"sync"

	"github.com/wattledger/wattledger/schemas/unit"
)

// What is remembered of XIDs is bounded: a GPU that dies reports thousands.
const (
	maxXIDKinds  = 1024
	maxXIDEvents = 4096
)

// xidLog remembers XIDs by device. The loop adds, pages read.
type xidLog struct {
	window unit.Micros

	mu     sync.Mutex
	last   map[string]uint32 // guarded by mu; by device
	totals []xidTotal        // guarded by mu; by device and number
	recent []xidEvent        // guarded by mu; in the order of coming
}

type xidTotal struct {
	uuid  string
	xid   uint32
	count uint64
	at    unit.Micros // of the last one
}

type xidEvent struct {
	uuid string
	xid  uint32
	at   unit.Micros
}

func (x *xidTotal) compare(y xidTotal) int {
	if c := strings.Compare(x.uuid, y.uuid); c != 0 {
		return c
	}
	return int(int64(x.xid) - int64(y.xid))
}

// add counts an XID, unless it is the last one of its number again. It says false when there is no room for another number.
func (l *xidLog) add(uuid string, at unit.Micros, xid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := xidTotal{uuid: uuid, xid: xid}
	i, known := slices.BinarySearchFunc(l.totals, key, func(a, b xidTotal) int { return a.compare(b) })
	switch {
	case known && l.totals[i].at == at:
		return true
	case !known && len(l.totals) >= maxXIDKinds:
		return false
	case !known:
		l.totals = slices.Insert(l.totals, i, key)
	}
	l.totals[i].count++
	l.totals[i].at = at
	if l.last == nil {
		l.last = map[string]uint32{}
	}
	l.last[uuid] = xid
	if len(l.recent) >= maxXIDEvents {
		l.recent = slices.Delete(l.recent, 0, maxXIDEvents/4)
	}
	l.recent = append(l.recent, xidEvent{uuid, xid, at})
	return true
}

// lastOf is the last XID of a device, 0 when there was none.
func (l *xidLog) lastOf(uuid string) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[uuid]
}

// of lists the totals of a device by number.
func (l *xidLog) of(uuid string) []xidTotal {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []xidTotal
	for _, t := range l.totals {
		if t.uuid == uuid {
			out = append(out, t)
		}
	}
	return out
}

// within counts the XIDs of a device in the window before now. A number that was seen earlier in this run counts 0.
func (l *xidLog) within(uuid string, xid uint32, now unit.Micros) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent = slices.DeleteFunc(l.recent, func(e xidEvent) bool { return e.at <= now-l.window })
	for _, e := range l.recent {
		if e.uuid == uuid && e.xid == xid {
			n++
		}
	}
	return n
}

// xidTexts says in a few words what the commoner XIDs mean. NVIDIA's list of XID errors has all of them.
var xidTexts = map[uint32]string{
	0: "No Error", 13: "Graphics engine exception", 31: "GPU memory page fault", 32: "Invalid or corrupted push buffer",
	38: "Driver firmware error", 39: "NVDEC exception", 42: "Video processor exception", 43: "GPU stopped processing", 44: "Graphics engine fault during context switch",
	45: "Cleanup after earlier errors", 48: "Uncorrectable ECC error", 54: "Auxiliary power not connected", 56: "Display engine error",
	57: "Error in programming of memory interface", 58: "Unstable memory interface", 60: "Video processor exception", 61: "Internal microcontroller breakpoint",
	62: "Internal microcontroller halt", 63: "Page retirement or row remap recorded", 64: "Page retirement or row remap not recorded",
	68: "NVDEC exception", 69: "Graphics engine class error", 74: "NVLink error", 79: "GPU has fallen off the bus", 92: "High rate of corrected ECC errors",
	94: "Contained memory error", 95: "Uncontained memory error", 109: "Context switch timeout", 119: "GSP RPC timeout", 120: "GSP error",
	121: "C2C link corrected error", 123: "PMU RPC failure", 137: "NVLink fault of a peer access", 140: "Unrecovered ECC error",
	143: "GPU initialisation error", 144: "NVLink SAW error", 145: "NVLink RLW error", 149: "NVLink NETIR error", 154: "GPU recovery action changed",
}

func xidText(xid uint32) string {
	if s, ok := xidTexts[xid]; ok {
		return s
	}
	return "Unknown Error"
}
