// Package exposition shows the devices of this node in dcgm-exporter's text, so that dashboards and alerts made for it keep working.
//
// It owns names, labels, their order and how a value is written; which fields are shown comes from dcgm-exporter's own CSV. It
// promises that watching costs the agent's loop a copy and no allocation, that a value which is missing or too old is not
// shown, and that a scrape sees one tick. What is accounted is not made from this text: that is the meter's.
//
// Where it differs from dcgm-exporter, on purpose:
//
//   - Power, energy and whatever else a GPU has only as a whole appear once for a GPU in MIG mode, without GPU_I_PROFILE and
//     GPU_I_ID. dcgm-exporter repeats them with each instance, so that a sum counts them several times. Series with
//     GPU_I_ID are those that an instance has of its own.
//   - A value that was not sampled for StalePeriods is left out; dcgm-exporter shows the last one for ever.
//   - Label values are escaped as the format demands.
//   - The types histogram and summary of the CSV are written as untyped: a single number is neither, and parsers refuse it.
//   - Fields of CPU cores and of single links are accepted and not shown, and so are DCGM_EXP_CLOCK_EVENTS_COUNT,
//     DCGM_EXP_GPU_HEALTH_STATUS and DCGM_EXP_P2P_STATUS; Counters.Unserved lists them.
//   - A device that several hold has one series without a holder, unless asked for one each: then a sum counts it several times.
package exposition
