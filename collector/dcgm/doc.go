// Package dcgm reads NVIDIA devices through libdcgm.so.4, without cgo.
//
// It owns the binding (struct layouts, version words, return codes, blanks), the connection to a host engine inside the
// process or outside it, the discovery of GPUs, MIG instances, Grace CPUs and NVSwitches, and the choice of fields that work
// on them. Source is the agent's source over all that; it also reads what an exposition wants to show besides, energy at
// an edge of an allocation, and the energy of ticks that were missed.
//
// It promises that a field a device lacks, or that we may not read, costs nothing but its column and is named in Status;
// that a value keeps the time stamp it came with and a blank of any kind is no value; that a dead connection is made anew;
// that no call is made twice at once on one connection; that a tick costs one call of the library per class of alike
// devices, and no memory. A call that hangs cannot be interrupted: Close then gives the source up, and another can be opened.
// What values mean is left to collector/meter; nothing here changes a setting of a device.
//
// Fields are sampled by the engine at three speeds, fast (the period of the agent), medium and slow, and known by number:
// DCGM 4.6 renamed many. Energy samples are kept for a while to catch up with, the others only until they are read. Events
// are fetched when the latest one has a new time stamp.
//
// The layouts are those of DCGM 4.6 and unchanged since 4.0, so one binding serves every 4.x; newer symbols are probed. An
// engine older than the library refuses bulk reads; its values are then fetched sample by sample, and Status says so.
// A binary built with CGO_ENABLED=0 still needs glibc, as libdcgm itself does.
package dcgm
