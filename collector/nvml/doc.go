// Package nvml reads NVIDIA GPUs through the driver's own libnvidia-ml.so.1, for nodes that have no DCGM, without cgo.
//
// It owns the binding (struct layouts, return codes, field ids), the discovery of GPUs and MIG instances, and the choice of
// calls that work on them. Source is the agent's source over all that. It promises that what a GPU lacks is asked for once,
// that a GPU that is lost stays listed and silences nobody else, that a driver that went away is found again, and that a
// reading allocates nothing. What values mean is left to collector/meter; nothing here changes a setting of a device.
//
// NVML samples when it is asked: nothing is remembered for us, so there is no catching up after a stall. Values of
// nvmlDeviceGetFieldValues carry NVML's time stamp; the rest gets the clock just before its call. Energy and power are
// refreshed inside the GPU at a pace of their own (20 to 100 ms) that NVML does not show. PCIe and NVLink traffic and SM
// activity come from GPM on Hopper and later; nvmlDeviceGetPcieThroughput, the older way, blocks for 20 ms a call and is
// left out. While we hold NVML the driver cannot be unloaded nor a GPU be reset: stop the collector first.
//
// The layouts are those of NVML 13 and unchanged since the calls exist; newer symbols are probed. A binary built with
// CGO_ENABLED=0 still needs glibc, as the library itself does.
package nvml
