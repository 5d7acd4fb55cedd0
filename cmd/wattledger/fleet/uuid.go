package fleet

import (
	"fmt"
	"hash/fnv"
)

// GPUUUID is the UUID that the simulated libdcgm gives GPU index of a node (collector/dcgm/sim/SCENARIO.md).
func GPUUUID(seed uint64, node string, index int) string {
	return uuid("GPU-", fmt.Sprintf("%d/%s/gpu/%d", seed, node, index))
}

// MIGUUID is the UUID of a MIG instance of a GPU.
func MIGUUID(seed uint64, node string, index, instance int) string {
	return uuid("MIG-", fmt.Sprintf("%d/%s/mig/%d/%d", seed, node, index, instance))
}

func uuid(prefix, name string) string {
	h := fnv.New64a()
	h.Write([]byte(name))
	a, b := mix(h.Sum64()), mix(h.Sum64()+0x9e3779b97f4a7c15)
	return fmt.Sprintf("%s%08x-%04x-%04x-%04x-%012x", prefix, a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
