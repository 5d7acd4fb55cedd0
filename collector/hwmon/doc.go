// Package hwmon reads the power and energy sensors that Linux shows under /sys/class/hwmon.
//
// It owns which sensors mean something to an account. On Grace superchips these are ACPI power meters, known by their OEM
// text: the module, which holds the CPU, the GPUs, the memory and the regulators, and the CPU inside it; whoever adds up a
// node asks nodemeter.Whole, which counts the module once. The SoC rail is inside both and is left out. AMD's energy
// counters of sockets are read too. It promises that a meter keeps its name when the kernel numbers the sensors anew, that
// no sensor is taken for the whole node unless the configuration says so, and that sensors it does not know are left alone.
package hwmon
