/**
 * Columns of tables that several dashboards show.
 */
import * as limit from './limits';
import type { Column } from './panels';

const hours: Column = { unit: 'suffix:GPU-h', show: true };

/** Of usage.summary, beside the share of held time that was idle. */
export const summary: Record<string, Column> = {
  device_time: hours,
  held_idle: hours,
  held_idle_share: { limits: limit.heldIdle, unit: 'percentunit' },
  energy: {},
  gpu: {},
  carbon_location: {},
  carbon_market: {},
  carbon_embodied: {},
  water: {},
  sm_active: { gauge: 1 },
  unmeasured: {},
};

/** Of tables of single lines of the ledger. */
export const lines: Record<string, Column> = {
  device_time: hours,
  energy: {},
  gpu: {},
  carbon_location: {},
  carbon_market: {},
  account: {},
};

/** Of tables about what is where. */
export const sites: Record<string, Column> = {
  gpu_temp: { limits: limit.gpuTemp, unit: 'celsius' },
  throttled_thermal: { limits: limit.thermal, unit: 'percentunit' },
  coverage: { limits: limit.coverage, unit: 'percentunit' },
};

export { hours };
