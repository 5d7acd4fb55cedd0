package closing

import (
	"errors"
	"fmt"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Limits are stated by the operator and named in what they decide.
type Limits struct {
	// Idle is the share of the time held, in thousandths, under which a device whose SMs had work for less counts as held idle.
	// 0: none does.
	Idle unit.Thousandths `yaml:"idle_limit"`
	// SecondOpinion is how far the integral of power may be from the counter of a device, in thousandths of the counter, before
	// the hour is flagged. 0: it may be anything.
	SecondOpinion int64 `yaml:"second_opinion_permille"`
}

// DefaultLimits are one hundredth of the time held, and five hundredths of the counter.
func DefaultLimits() Limits { return Limits{Idle: 10, SecondOpinion: 50} }

// Validate reports every fault at once.
func (l Limits) Validate() error {
	var errs []error
	if l.Idle < 0 || l.Idle > unit.WholeDevice {
		errs = append(errs, fmt.Errorf("closing.idle_limit is %d; write thousandths from 0 to 1000", l.Idle))
	}
	if l.SecondOpinion < 0 {
		errs = append(errs, fmt.Errorf("closing.second_opinion_permille is %d; write 0 or more", l.SecondOpinion))
	}
	return errors.Join(errs...)
}

// The flags an entry, or a device-hour, may carry.
const (
	flagCounterReset  = "counter_reset" // the counter fell: an epoch ended in the hour
	flagClockStep     = "clock_step"    // readings whose time did not rise with their value were left out
	flagNoReadings    = "no_readings"   // nothing was read in the hour
	flagIntegrated    = "integrated"    // the device has no energy counter: power was integrated on the node
	flagEstimated     = "estimated"     // part of the energy was seen by no counter
	flagInterpolated  = "interpolated"  // part of the energy has no measured place in time
	flagNoActivity    = "no_activity"   // the device gives no activity, so none is known
	flagMIGBySlices   = "mig_by_slices" // activity could not be read for part of the hour
	flagOverbooked    = "overbooked"    // an allocation, or MIG instances, asked for more than there is, or for what cannot be held
	flagSecondOpinion = "second_opinion"
	// second_opinion: the integral of power is further from the counter than the stated limit.

	flagRestModelled  = "rest_modelled" // node rest from declared watts
	flagBelowDevices  = "meter_below_devices"
	flagMeterGap      = "meter_incomplete"    // a meter does not tell the whole hour and was not used
	flagMeterRefused  = "meter_refused"       // a meter's readings contradict one another and were not used
	flagPUE           = "pue_modelled"        // facility energy from a PUE
	flagSiteBelowIT   = "site_meter_below_it" // the site's meters read less than its IT: impossible
	flagSharedUnknown = "it_shared_unmetered" // what IT on no node takes is not known
)

// Flags lists the flags that an entry of a closed hour may carry, those about carbon and water included.
var Flags = []string{
	flagCounterReset, flagClockStep, flagNoReadings, flagIntegrated, flagEstimated, flagInterpolated, flagNoActivity, flagMIGBySlices,
	flagOverbooked, flagRestModelled, flagBelowDevices, flagMeterGap, flagMeterRefused, flagPUE, flagSiteBelowIT, flagSharedUnknown,
	carbon.FlagLocationUnknown, carbon.FlagMarketUnknown, carbon.FlagEmbodiedUnknown, carbon.FlagWaterModelled, carbon.FlagHeatModelled,
}
