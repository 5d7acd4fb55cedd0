package smilog

import (
	"encoding/hex"
	"math/big"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Summary is what a replay did.
type Summary struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Node   string `json:"node"`
	Run    string `json:"run"`
	// Power is the column integrated, PeriodMS the median spacing rounded up, MaxGapUS what the trapezoid joined.
	Power    string `json:"power"`
	PeriodMS int64  `json:"period_ms"`
	MaxGapUS int64  `json:"max_gap_us"`
	Timezone string `json:"timezone"`
	// Samples and Messages were published, after the publisher said so.
	Samples  uint64 `json:"samples"`
	Messages uint64 `json:"messages"`
	// BadRows were not used, by reason in Refused. Rows that go back in time are good rows and not among them, but
	// they are in Refused.
	BadRows  uint64            `json:"bad_rows"`
	Refused  map[Reason]uint64 `json:"refused"`
	FirstBad string            `json:"first_bad,omitempty"`
	GPUs     []GPUSummary      `json:"gpus"`
}

// GPUSummary is what a log says about one GPU.
type GPUSummary struct {
	UUID  string `json:"uuid"`
	Model string `json:"model"`
	// Rows have a time of their own; PowerRows of them have power.
	Rows      uint64 `json:"rows"`
	PowerRows uint64 `json:"power_rows"`
	// EqualTimes are rows at the time of the row before: no sample, but their power is gone on from. TimesBack are rows
	// before one already accounted, left out. DoubledHour are rows in the hour that comes twice when summer time ends,
	// of which InWinterTime were taken to be in its second pass.
	EqualTimes   Note `json:"equal_times"`
	TimesBack    Note `json:"times_back"`
	DoubledHour  Note `json:"doubled_hour"`
	InWinterTime Note `json:"doubled_hour_in_winter_time"`
	// First and Last are the times of the first and last row.
	First unit.Micros `json:"first_us"`
	Last  unit.Micros `json:"last_us"`
	// Energy is the counter at the end; EnergyMicrojoules the same without rounding, as an integer or a fraction.
	Energy            unit.Millijoules `json:"energy_mj"`
	EnergyMicrojoules string           `json:"energy_uj"`
	// Mean is energy by the time covered.
	Mean unit.Milliwatts `json:"mean_mw"`
	// Peak is the highest reading, rounded up.
	Peak unit.Milliwatts `json:"peak_mw"`
	// Covered is the time the trapezoids span, CoveragePPM its share of the time from First to Last, rounded down, and
	// Gaps the stretches between two readings of power that were too long to join.
	Covered     unit.Micros `json:"covered_us"`
	CoveragePPM int64       `json:"coverage_ppm"`
	Gaps        uint64      `json:"gaps"`
	// Limit is what the inventory states and LimitFrom where that comes from.
	Limit     unit.Milliwatts `json:"limit_mw"`
	LimitFrom string          `json:"limit_from"`
}

// EnergyExact is the energy in microjoules without rounding.
func (g *GPUSummary) EnergyExact() *big.Rat {
	r, _ := new(big.Rat).SetString(g.EnergyMicrojoules)
	return r
}

func (p *player) summary(track *tracker) *Summary {
	l := p.log
	s := &Summary{
		File: l.name, SHA256: hex.EncodeToString(l.digest[:]), Node: l.opt.Node, Run: hex.EncodeToString(p.msg.Run),
		Power: l.power.String(), PeriodMS: int64(l.period / unit.Millisecond), MaxGapUS: int64(l.maxGap), Timezone: l.opt.Timezone.String(),
		Messages: p.messages, Refused: p.refused,
	}
	for r, n := range p.refused {
		if r != ReasonTimeBack {
			s.BadRows += n
		}
	}
	if p.firstBad != nil {
		s.FirstBad = p.firstBad.Error()
	}
	for _, st := range p.states {
		g, d := track.by[st.device.gpu.key], st.device
		s.Samples += st.rows
		out := GPUSummary{
			UUID: d.UUID, Model: d.Model, Rows: st.rows, PowerRows: st.powered,
			EqualTimes: g.same, TimesBack: g.back, DoubledHour: g.doubled, InWinterTime: g.inWinter,
			First: g.first, Last: g.last,
			Energy: unit.Millijoules(st.energy.millijoules()), EnergyMicrojoules: st.energy.microjoules().RatString(),
			Mean: st.energy.over(st.covered), Peak: unit.Milliwatts((d.peak + 999) / 1000), Covered: st.covered, Gaps: st.gaps,
			Limit: d.LimitMilliwatts, LimitFrom: d.limitBy,
		}
		if span := g.last - g.first; span > 0 {
			ppm := new(big.Int).Mul(big.NewInt(int64(st.covered)), big.NewInt(1_000_000))
			out.CoveragePPM = ppm.Quo(ppm, big.NewInt(int64(span))).Int64()
		}
		s.GPUs = append(s.GPUs, out)
	}
	return s
}
