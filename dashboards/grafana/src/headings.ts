/**
 * What stands above the columns of tables. Answers name columns as queries name dimensions and metrics; people read these.
 */
export const heading: Record<string, string> = {
  site: 'Site',
  rack: 'Rack',
  node: 'Node',
  device: 'GPU',
  model: 'GPU model',
  tenant: 'Tenant',
  project: 'Project',
  entry: 'Entry',
  event: 'Event',
  account: 'Account',
  verdict: 'Verdict',

  devices: 'GPUs',
  power: 'Power',
  gpu_temp: 'Hottest GPU',
  memory_temp: 'Hottest memory',
  throttled_thermal: 'Slowed by heat',
  coverage: 'Ticks read',
  age: 'Age',

  device_time: 'Device time',
  held_idle: 'Held idle',
  held_idle_share: 'Held idle, share',
  energy: 'Energy',
  gpu: 'of GPUs',
  carbon_location: 'CO₂e by grid',
  carbon_market: 'CO₂e by contracts',
  carbon_embodied: 'CO₂e of hardware',
  water: 'Water',
  sm_active: 'SM active',
  unmeasured: 'Not measured',

  closing: 'Closing',
  closing_delay: 'Sealed after',
  adjusting_batches: 'Corrections',
};
