package fleet

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// openbModel is a GPU model of the trace, as the simulated libdcgm plays it. Power stands in the table of package factor.
type openbModel struct {
	// name is the trace's word, product what the driver calls the device. Products and memory are those that the trace's
	// authors give for their words; G2 and G3 are undisclosed, and their memory there is a stand-in.
	name, product string
	arch          int // DCGM's number of the architecture
	fbMiB         int
	minLimitW     int
	smMHz, memMHz int
	nvlinks       int
	// instant: the driver gives instantaneous power; memTemp: the memory has a sensor.
	instant, memTemp bool
}

var openbModels = []openbModel{
	{"P100", "Tesla P100-PCIE-16GB", 4, 16280, 125, 1328, 715, 0, false, false},
	{"T4", "Tesla T4", 6, 15109, 60, 1590, 5001, 0, false, false},
	{"V100M16", "Tesla V100-SXM2-16GB", 5, 16160, 150, 1530, 877, 6, false, true},
	{"V100M32", "Tesla V100-SXM2-32GB", 5, 32510, 150, 1530, 877, 6, false, true},
	{"A10", "NVIDIA A10", 7, 22731, 100, 1695, 6251, 0, true, false},
	{"G2", "OpenB G2", 7, 20000, 100, 1695, 6251, 0, true, false},
	{"G3", "OpenB G3", 7, 30000, 100, 1410, 1215, 12, true, true},
}

func findOpenBModel(name string) *openbModel {
	for i := range openbModels {
		if openbModels[i].name == name {
			return &openbModels[i]
		}
	}
	return nil
}

func openbModelNames() []string {
	var out []string
	for _, m := range openbModels {
		out = append(out, m.name)
	}
	return out
}

// line is the model as a line of a scenario.
func (m *openbModel) line(power factor.Model) string {
	bit := map[bool]string{false: "0", true: "1"}
	return fmt.Sprintf(
		`model %s name=%q arch=%d idle_w=%s limit_w=%s min_limit_w=%d fb_mib=%d sm_mhz=%d mem_mhz=%d pcie_gen=3 nvlinks=%d energy_counter=%s power_instant=%s mem_temp=%s`,
		m.name, m.product, m.arch, watts(power.Idle), watts(power.Limit), m.minLimitW, m.fbMiB, m.smMHz, m.memMHz, m.nvlinks,
		bit[power.Counter], bit[m.instant], bit[m.memTemp])
}

// watts writes milliwatts as a decimal number of watts, exactly.
func watts(p unit.Milliwatts) string {
	s := strconv.FormatInt(int64(p/1000), 10)
	if rest := p % 1000; rest != 0 {
		s += strings.TrimRight(fmt.Sprintf(".%03d", rest), "0")
	}
	return s
}

// openbRest is the assumed draw of a node without its GPUs: 60 W for boards, fans and disks, 2 W for each logical CPU and 20 W
// for each GPU slot. The trace says nothing about power.
func openbRest(n openbNode) unit.Milliwatts {
	return 60_000 + unit.Milliwatts(2*n.cpuMilli) + unit.Milliwatts(20_000*n.gpus)
}

// openbClass is a QoS class of the trace and the fictional tenants that its pods go to, by weight. The trace names no tenants.
type openbClass struct {
	qos, code, purpose, sector string
	weights                    []int
}

var openbClasses = []openbClass{
	{"LS", "ls", "inference", "information and communication", []int{5, 4, 3, 2, 1}}, // latency-sensitive
	{"BE", "be", "training", "information and communication", []int{4, 3, 2, 1}},     // best effort
	{"Burstable", "bu", "research", "education", []int{2, 1}},
	{"Guaranteed", "gu", "training", "banking", []int{1}},
}

func findOpenBClass(qos string) *openbClass {
	for i := range openbClasses {
		if openbClasses[i].qos == qos {
			return &openbClasses[i]
		}
	}
	return nil
}

func openbClassNames() []string {
	var out []string
	for _, c := range openbClasses {
		out = append(out, c.qos)
	}
	return out
}

// tenant is whose pod it is: a hash of the pod's name, whatever the seed.
func (c *openbClass) tenant(pod string) string {
	total := 0
	for _, w := range c.weights {
		total += w
	}
	at := int(openbHash(0, "tenant", pod) % uint64(total))
	for i, w := range c.weights {
		if at -= w; at < 0 {
			return c.tenantID(i)
		}
	}
	return c.tenantID(0)
}

func (c *openbClass) tenantID(i int) string { return fmt.Sprintf("openb-%s-%02d", c.code, i+1) }

// openbTenants are all fictional tenants, whether the window has work of theirs or not.
func openbTenants() []record.Tenant {
	sizes := []string{"large", "large", "medium", "small", "micro"}
	var out []record.Tenant
	for _, c := range openbClasses {
		for i := range c.weights {
			out = append(out, record.Tenant{
				ID: c.tenantID(i), Name: fmt.Sprintf("Fictional OpenB tenant %s %02d", strings.ToUpper(c.code), i+1),
				Sector: c.sector, SizeClass: sizes[i], Country: "DE", VATID: fmt.Sprintf("DE%09d", len(out)+1),
				AllowedCountries: []string{"DE"},
			})
		}
	}
	return out
}
