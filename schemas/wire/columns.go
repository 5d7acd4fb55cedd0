package wire

import wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"

// Counters are the counter columns of b in the order of record.Counters. An empty column is a metric that no device supports.
func Counters(b *wl.SampleBatch) []*[]uint64 {
	return []*[]uint64{
		&b.EnergyMj, &b.PowerIntegralMj, &b.GrEngineActiveUs, &b.SmActiveUs,
		&b.SmOccupancyUs, &b.TensorActiveUs, &b.DramActiveUs, &b.Fp64ActiveUs,
		&b.Fp32ActiveUs, &b.Fp16ActiveUs, &b.PcieTxBytes, &b.PcieRxBytes,
		&b.NvlinkTxBytes, &b.NvlinkRxBytes, &b.GpuUtilUs, &b.MemCopyUtilUs,
		&b.PowerViolationNs, &b.ThermalViolationNs, &b.PcieReplays, &b.EccSbe,
		&b.EccDbe, &b.TicksExpected, &b.TicksRead,
	}
}

// Gauges are the gauge columns of b in the order of record.Gauges.
func Gauges(b *wl.SampleBatch) []*[]float32 {
	return []*[]float32{
		&b.PowerW, &b.PowerInstantW, &b.GpuTempC, &b.MemoryTempC,
		&b.SmClockMhz, &b.MemoryClockMhz, &b.FbUsedMib, &b.FbFreeMib,
		&b.PowerLimitW,
	}
}

// Codes are the code columns of b in the order of record.Codes.
func Codes(b *wl.SampleBatch) []*[]uint32 {
	return []*[]uint32{
		&b.ClockEventReasons, &b.Xid, &b.Pstate, &b.EnergyEpoch,
	}
}
