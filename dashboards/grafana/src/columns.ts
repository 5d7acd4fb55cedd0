/**
 * Columns of tables that several dashboards show.
 */
import * as limit from './limits';
import { eventKind } from './palette';
import type { Column } from './panels';

/** Of usage.summary, beside the share of held time that was idle. */
export const summary: Record<string, Column> = {
  held_idle_share: { limits: limit.heldIdle, unit: 'percentunit' },
};

/** Of tables of single lines of the ledger. */
export const lines: Record<string, Column> = { device: { width: 150 }, entry: { width: 120 } };

/** Of tables about what is where. */
export const sites: Record<string, Column> = {
  gpu_temp: { limits: limit.gpuTemp, unit: 'celsius' },
  throttled_thermal: { limits: limit.thermal, unit: 'percentunit' },
  coverage: { limits: limit.coverage, unit: 'percentunit' },
};

/** Ids are long, and their beginning tells them apart. */
export const ids: Record<string, Column> = { device: { width: 150 }, entry: { width: 120 }, text: { width: 250 } };

/** Of the list of what happened. */
export const happened: Record<string, Column> = { event: { colours: eventKind }, ...ids };
