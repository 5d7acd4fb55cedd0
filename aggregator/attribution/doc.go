// Package attribution splits what a counter measured over those who held the device.
//
// The parts always add up to the whole: a device's counter is split into virtual counters by slots (design §3), which are
// cut like any other, and shared energy is split in integers by largest remainder. One holder's edge never moves another
// holder's energy. Nothing here reads a clock, a file or the network.
package attribution
