package factor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Model is what is published or assumed about a device model's power.
type Model struct {
	Name string
	// Limit is the thermal design power of one device; Idle the assumed draw without load.
	Limit, Idle unit.Milliwatts
	// Counter says that the device has an energy counter (NVML: Volta and later).
	Counter bool
	// GPUsPerCPU is how many GPUs sit on the module of one Grace CPU, 0 for none.
	GPUsPerCPU int
	// Basis is "datasheet" or "assumed", for Limit.
	Basis, Source string
}

// Models is the committed table of device models by name.
func Models() (map[string]Model, error) {
	out := map[string]Model{}
	err := eachRow("models.csv", 7, func(f []string) error {
		var n [4]int64
		for i := range n {
			v, err := strconv.ParseInt(f[i+1], 10, 64)
			if err != nil {
				return fmt.Errorf("%q is not an integer", f[i+1])
			}
			n[i] = v
		}
		if _, twice := out[f[0]]; twice {
			return fmt.Errorf("model %s stands twice", f[0])
		}
		out[f[0]] = Model{
			Name: f[0], Limit: unit.Milliwatts(n[0] * 1000), Idle: unit.Milliwatts(n[1] * 1000),
			Counter: n[2] == 1, GPUsPerCPU: int(n[3]), Basis: f[5], Source: f[6],
		}
		return nil
	})
	return out, err
}

// FindModel is the model whose name is the longest prefix of a device's product name, in whole words: "NVIDIA A100-SXM4-40GB"
// is found as "NVIDIA A100", and "NVIDIA A10G", which is another card, is not an "NVIDIA A10".
func FindModel(models map[string]Model, product string) (Model, bool) {
	var best Model
	for name, m := range models {
		rest, ok := strings.CutPrefix(product, name)
		if ok && len(name) > len(best.Name) && (rest == "" || !alphanumeric(rest[0])) {
			best = m
		}
	}
	return best, best.Name != ""
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
