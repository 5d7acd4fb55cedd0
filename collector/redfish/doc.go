// Package redfish reads what a node draws from its baseboard management controller (BMC), over Redfish.
//
// It owns the way to the BMC (TLS, login, patience), the search for what measures the node's whole input, and the many ways
// in which BMCs write a number. It promises that
//
//   - a sum of power supplies is never added to a total, and the GPUs and CPUs that the BMC lists as well are not counted;
//   - where several things could be the whole, none is guessed: the error names them and the setting that chooses;
//   - an energy counter is used where it is fine enough; a coarse one is left for the integral of power, and the readings
//     say by which method they came about;
//   - times are our own: a BMC's clock is often wrong;
//   - the password goes to the configured address only, over TLS that was checked, unless the configuration says otherwise
//     in so many words.
//
// Schemas are DMTF's (DSP8010): ServiceRoot, Chassis, EnvironmentMetrics, Power, Sensor, PowerSupplyMetrics.
package redfish
