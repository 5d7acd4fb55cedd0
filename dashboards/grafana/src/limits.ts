/**
 * Thresholds that several dashboards share, each with its reason.
 */
import { away, falling, rising } from './thresholds';

/** Age of the last sample. */
export const age = rising(
  {
    at: 60,
    level: 'look',
    why: 'collectors send every second and a message leaves after one more, so a minute is a way that is blocked or slow',
  },
  { at: 300, level: 'broken', why: 'what the panels call now is five minutes old' }
);

/** Ticks read over ticks expected. */
export const coverage = falling(
  { at: 0.999, level: 'look', why: 'more than one tick in a thousand was not read' },
  { at: 0.95, level: 'broken', why: 'gaps are long enough that the place of energy in time is interpolated' }
);

/** Share of time below requested clocks because of temperature. */
export const thermal = rising(
  { at: 0.001, level: 'look', why: 'a GPU that is cooled as it should be is never slowed by heat' },
  { at: 0.01, level: 'broken', why: 'work is being lost to cooling' }
);

/** The same because of the power cap. */
export const capped = rising({
  at: 0.2,
  level: 'look',
  why: 'the cap is meant to be touched, not to be lived at: a fifth of the time costs work',
});

/**
 * Temperatures. NVML gives no absolute thresholds from Ada on, so the figures are where to look and the share of time throttled is
 * what was lost.
 */
export const gpuTemp = rising(
  { at: 80, level: 'look', why: 'warmer than cooling should leave it; where the device slows down the driver does not say' },
  { at: 87, level: 'broken', why: 'expect it to be slowed soon, and look at the share of time throttled for whether it is' }
);

export const memoryTemp = rising(
  { at: 90, level: 'look', why: 'memory is the hottest part of a busy GPU, and this is hot for it' },
  { at: 95, level: 'broken', why: 'expect corrected errors to rise; the driver does not say where the limit is' }
);

/** Errors of which none is expected. */
export const none = rising({ at: 1, level: 'broken', why: 'none is expected' });

/** Hours over and not closed, of one site. */
export const openHours = rising(
  { at: 2, level: 'look', why: 'the hour that has just ended is waited for; a second one means that somebody is not complete' },
  { at: 6, level: 'broken', why: 'after six hours an hour is closed without those who are silent' }
);

/** Share of energy that no meter or counter saw. */
export const unmeasured = rising(
  { at: 0.05, level: 'look', why: 'one part in twenty rests on a model or an estimate' },
  { at: 0.3, level: 'act', why: 'most overhead is modelled: a meter is missing or was refused' }
);

/** Share of held time with hardly any work. */
export const heldIdle = rising(
  { at: 0.1, level: 'look', why: 'a tenth of what is paid for does nothing' },
  { at: 0.5, level: 'act', why: 'most of what is held does nothing: give it back or find out why' }
);

/** The integral of power against the counter: more or less than it. */
export const secondOpinion = away(
  { at: 0.02, level: 'look', why: 'counter and power of one GPU usually agree within two per cent' },
  { at: 0.05, level: 'broken', why: 'the ledger flags device-hours beyond five per cent' }
);

/** All energy over that of IT. */
export const pue = rising(
  { at: 1.3, level: 'look', why: 'German law asks this of existing data centres from July 2030, as a yearly mean (EnEfG, section 11)' },
  { at: 1.5, level: 'act', why: 'German law asks this of existing data centres from July 2027, as a yearly mean (EnEfG, section 11)' }
);
