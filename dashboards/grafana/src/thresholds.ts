/**
 * Thresholds that say why they are where they are: the reason is written under the panel's description, and a threshold without one
 * cannot be made.
 */
import { ThresholdsConfigBuilder, ThresholdsMode, type Threshold } from '@grafana/grafana-foundation-sdk/dashboard';

import { level } from './palette';

/** One step: from where on (or below where) it is how bad, and why there. */
export interface Step {
  at: number;
  level: Exclude<keyof typeof level, 'good'>;
  why: string;
}

export interface Limits {
  /** Rising: more is worse. Falling: less is worse. Away: further from 0 is worse, on either side. */
  worse: 'rising' | 'falling' | 'away';
  steps: Step[];
}

export const rising = (...steps: Step[]): Limits => ({ worse: 'rising', steps });
export const falling = (...steps: Step[]): Limits => ({ worse: 'falling', steps });
export const away = (...steps: Step[]): Limits => ({ worse: 'away', steps });

/** The steps as Grafana has them: each colour from its value on, the first from minus infinity. */
export function steps(limits: Limits): Threshold[] {
  const sorted = [...limits.steps].sort((a, b) => a.at - b.at);
  if (limits.worse === 'rising') {
    return [{ value: null, color: level.good }, ...sorted.map((s) => ({ value: s.at, color: level[s.level] }))];
  }
  if (limits.worse === 'away') {
    const right = sorted.map((s) => ({ value: s.at, color: level[s.level] }));
    const below = sorted.map((s, i) => ({ value: -s.at, color: i === 0 ? level.good : level[sorted[i - 1]?.level ?? s.level] })).reverse();
    const worst = sorted[sorted.length - 1]?.level;
    return [{ value: null, color: worst ? level[worst] : level.good }, ...below, ...right];
  }
  const above = [...sorted.slice(1).map((s) => level[s.level]), level.good];
  const [first] = sorted;
  if (!first) {
    throw new Error('thresholds without a step');
  }
  return [{ value: null, color: level[first.level] }, ...sorted.map((s, i) => ({ value: s.at, color: above[i] ?? level.good }))];
}

export const thresholds = (limits: Limits) => new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps(limits));

/** One colour whatever the value: nothing about it is good or bad. */
export const without = (colour: string) =>
  new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps([{ value: null, color: colour }]);

const word: Record<Step['level'], string> = { look: 'Yellow', act: 'Orange', broken: 'Red' };

/** What the colours mean, as a paragraph of the description. */
export function explain(limits: Limits, unit: string | undefined): string {
  const beyond = { rising: 'from', falling: 'below', away: 'beyond ±' }[limits.worse];
  return limits.steps.map((s) => `${word[s.level]} ${beyond} ${shown(s.at, unit)}: ${s.why}.`).join(' ');
}

function shown(value: number, unit: string | undefined): string {
  switch (unit) {
    case 'percentunit':
      return `${Number((value * 100).toPrecision(6))} %`;
    case 'celsius':
      return `${value} °C`;
    case 's':
      return value >= 7200 ? `${value / 3600} h` : value >= 120 ? `${value / 60} min` : `${value} s`;
    default:
      return unit?.startsWith('suffix:') ? `${value} ${unit.slice('suffix:'.length)}` : String(value);
  }
}
