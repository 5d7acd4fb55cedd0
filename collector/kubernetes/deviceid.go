package kubernetes

import (
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/workload"
)

// deviceID is what the id of a device plugin names: a UUID or a device file, perhaps a MIG instance of it, perhaps a replica.
type deviceID struct {
	uuid     string // GPU-… or MIG-…; empty when minor is given
	minor    int    // -1 when not given
	instance int    // the GPU instance, -1 when not given
	// base is the id without the mark of a replica: all replicas of a device have the same.
	base    string
	replica bool
}

// parseDeviceID reads every form that NVIDIA's and Google's plugins use: GPU-UUID, MIG-UUID, MIG-GPU-UUID/GI/CI, UUID::REPLICA,
// nvidiaMINOR, nvidiaMINOR/giGI, and either of the last two with /vgpuREPLICA.
func parseDeviceID(id string) (deviceID, bool) {
	d := deviceID{minor: -1, instance: -1}
	base, replica, found := strings.Cut(id, "::")
	if found {
		if _, ok := number(replica); !ok {
			return d, false
		}
		d.replica = true
	}
	if at := strings.LastIndex(base, "/vgpu"); at >= 0 && strings.HasPrefix(base, "nvidia") {
		if _, ok := number(base[at+len("/vgpu"):]); !ok || d.replica {
			return d, false
		}
		base, d.replica = base[:at], true
	}
	d.base = base
	switch {
	case strings.HasPrefix(base, "MIG-GPU-"):
		parts := strings.Split(strings.TrimPrefix(base, "MIG-"), "/")
		if len(parts) != 3 || len(parts[0]) == len("GPU-") {
			return d, false
		}
		gi, ok := number(parts[1])
		if _, ok2 := number(parts[2]); !ok || !ok2 {
			return d, false
		}
		d.uuid, d.instance = parts[0], gi
		return d, true
	case strings.HasPrefix(base, "GPU-") || strings.HasPrefix(base, "MIG-"):
		d.uuid = base
		return d, len(base) > len("GPU-") && !strings.ContainsAny(base, "/ ")
	case strings.HasPrefix(base, "nvidia"):
		file, gi, divided := strings.Cut(strings.TrimPrefix(base, "nvidia"), "/")
		minor, ok := number(file)
		if !ok {
			return d, false
		}
		d.minor = minor
		if !divided {
			return d, true
		}
		text, isGI := strings.CutPrefix(gi, "gi")
		d.instance, ok = number(text)
		return d, isGI && ok
	default:
		return d, false
	}
}

// number is a small one in plain digits.
func number(s string) (int, bool) {
	if len(s) == 0 || len(s) > 6 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// find is which devices of this node are meant; none when it is not here.
func (d deviceID) find(devices []agent.Device) []string {
	switch {
	case d.minor >= 0 && d.instance >= 0:
		return workload.InstanceOfMinor(devices, d.minor, d.instance)
	case d.minor >= 0:
		return workload.ByMinor(devices, d.minor)
	case d.instance >= 0:
		return workload.ByInstance(devices, d.uuid, d.instance)
	default:
		return workload.LeavesOf(d.uuid, devices)
	}
}
