/**
 * Which colour means what, in one place, so that it means the same on every panel.
 *
 * The names are Grafana's own, so that they follow its light and its dark theme.
 */

/** How an amount came about. */
export const provenance = {
  measured: 'blue',
  estimated: 'orange',
  modelled: 'purple',
} as const;

/** Whose it is. */
export const account = {
  tenant: 'blue',
  held_idle: 'yellow',
  unallocated: '#8e8e8e',
  platform: 'purple',
} as const;

/** What the sovereignty rules say. */
export const verdict = {
  pass: 'green',
  fail: 'red',
  unknown: 'orange',
} as const;

/** Parts of energy, from the chip outwards. */
export const component = {
  gpu: 'green',
  cpu: 'semi-dark-green',
  node_rest: 'blue',
  it_shared: 'purple',
  facility: '#8e8e8e',
} as const;

/** The two ways to count the same emissions, and that of the hardware. */
export const carbon = {
  location: 'dark-green',
  market: 'light-blue',
  embodied: '#8e8e8e',
} as const;

/** What happened. */
export const event = {
  xid: 'red',
  incident: 'orange',
  violation: 'dark-red',
  closing: 'green',
  adjustment: 'purple',
} as const;

/** The same by the kinds of single events. */
export const eventKind = {
  xid: event.xid,
  gap: event.incident,
  loss: event.incident,
  missing: event.incident,
  clock_step: event.incident,
  epoch: event.incident,
  restart: event.incident,
  violation: event.violation,
  closing: event.closing,
  adjustment: event.adjustment,
} as const;

/** How bad it is. */
export const level = {
  good: 'green',
  look: 'yellow',
  act: 'orange',
  broken: 'red',
} as const;

/** Neither good nor bad. */
export const plain = 'blue';

/** A line that others are held against. */
export const limit = '#8e8e8e';
