package workload

import (
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/record"
)

// ByMinor are the devices held by who was given /dev/nvidia<minor>: the GPU, or its instances where it is divided. The number
// is that of the device file and never an index: the two orders differ on many machines, and may change at a boot.
func ByMinor(devices []agent.Device, minor int) []string {
	file := "nvidia" + strconv.Itoa(minor)
	for _, d := range devices {
		if d.Kind == record.KindGPU && strings.TrimPrefix(d.File, "/dev/") == file {
			return LeavesOf(d.UUID, devices)
		}
	}
	return nil
}

// ByIndex are the devices held by who was given the GPU of an index, as nvidia-smi and DCGM count.
func ByIndex(devices []agent.Device, index int) []string {
	for _, d := range devices {
		if d.Kind == record.KindGPU && int(d.Index) == index {
			return LeavesOf(d.UUID, devices)
		}
	}
	return nil
}

// ByInstance is the MIG instance of a GPU by the driver's number of the GPU instance.
func ByInstance(devices []agent.Device, gpu string, instance int) []string {
	for _, d := range devices {
		if d.Kind == record.KindMIG && d.Parent == gpu && int(d.Index) == instance {
			return []string{d.UUID}
		}
	}
	return nil
}

// InstanceOfMinor is the MIG instance of a GPU that is known by its device file.
func InstanceOfMinor(devices []agent.Device, minor, instance int) []string {
	for _, d := range devices {
		if d.Kind == record.KindGPU && strings.TrimPrefix(d.File, "/dev/") == "nvidia"+strconv.Itoa(minor) {
			return ByInstance(devices, d.UUID, instance)
		}
	}
	return nil
}

// InstanceOfIndex is the MIG instance of a GPU that is known by its index.
func InstanceOfIndex(devices []agent.Device, index, instance int) []string {
	for _, d := range devices {
		if d.Kind == record.KindGPU && int(d.Index) == index {
			return ByInstance(devices, d.UUID, instance)
		}
	}
	return nil
}
