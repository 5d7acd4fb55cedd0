package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/aggregator/carbon/electricitymaps"
	"github.com/wattledger/wattledger/aggregator/carbon/entsoe"
	"github.com/wattledger/wattledger/aggregator/carbon/rte"
	"github.com/wattledger/wattledger/schemas/factor"
)

// carbonConfig is where factors come from and which of them count.
type carbonConfig struct {
	// Chains say, for a grid zone, which editions count: the first step that has a value. A zone without one has life-cycle values,
	// hourly, monthly, then yearly, whoever published them.
	Chains []factor.Chain `yaml:"chains"`
	// RTE is RTE's éCO2mix at the ODRÉ portal.
	RTE rte.Config `yaml:"rte"`
	// ElectricityMaps is Electricity Maps.
	ElectricityMaps electricitymaps.Config `yaml:"electricity_maps"`
	// ENTSOE is the ENTSO-E Transparency Platform.
	ENTSOE entsoe.Config `yaml:"entsoe"`
}

func defaultCarbon() carbonConfig {
	return carbonConfig{RTE: rte.DefaultConfig(), ElectricityMaps: electricitymaps.DefaultConfig(), ENTSOE: entsoe.DefaultConfig()}
}

// Validate reports every fault at once.
func (c *carbonConfig) Validate() error {
	errs := []error{factor.ValidateChains(c.Chains)}
	for _, p := range []struct {
		key string
		err error
	}{{"rte", c.RTE.Validate()}, {"electricity_maps", c.ElectricityMaps.Validate()}, {"entsoe", c.ENTSOE.Validate()}} {
		if p.err != nil {
			errs = append(errs, fmt.Errorf("%s: %s", p.key, strings.ReplaceAll(p.err.Error(), "\n", "; ")))
		}
	}
	return errors.Join(errs...)
}
