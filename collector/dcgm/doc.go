// Package dcgm reads NVIDIA devices through libdcgm.so.4, without cgo.
//
// It owns the binding (struct layouts, version words, return codes, blanks), the connection to a host engine inside the
// process or outside it, the discovery of GPUs, MIG instances and Grace CPUs, and the choice of fields that work on
// them. Source is the agent's source over all that. It promises that a field a device lacks costs nothing but its
// column, that a dead connection is made anew, and that no call is made twice at once on one handle. What values mean
// is left to collector/meter; nothing here changes a setting of a device.
//
// The layouts are those of DCGM 4.6 and unchanged since 4.0, so one binding serves every 4.x; newer symbols are probed.
// A binary built with CGO_ENABLED=0 still needs glibc, as libdcgm itself does.
package dcgm
