/**
 * What happened, drawn across the panels. Each kind has its switch at the head of the dashboard.
 */
import type * as cog from '@grafana/grafana-foundation-sdk/cog';
import { AnnotationQueryBuilder, type AnnotationQuery } from '@grafana/grafana-foundation-sdk/dashboard';

import { rows, target, wattledger, type Dimension } from './ask';
import { event } from './palette';

export type Happening = keyof typeof event;

/** The kinds of events that each stands for. An incident is what a node, or ingest, says of itself. */
export const kinds: Record<Happening, string[]> = {
  xid: ['xid'],
  incident: ['gap', 'loss', 'missing', 'clock_step', 'epoch', 'restart'],
  violation: ['violation'],
  closing: ['closing'],
  adjustment: ['adjustment'],
};

const names: Record<Happening, string> = {
  xid: 'XIDs',
  incident: 'Incidents',
  violation: 'Violations',
  closing: 'Closings',
  adjustment: 'Adjustments',
};

/** The SDK would put the switches into a menu; they belong where they are seen. */
function shown(annotation: AnnotationQueryBuilder): cog.Builder<AnnotationQuery> {
  const built = annotation.build();
  delete built.placement;
  return { build: () => built };
}

/** A kind of events, filtered by the variables named. On says whether the switch is on at first. */
export const happenings = (kind: Happening, where: Dimension[], on: boolean) =>
  shown(
    new AnnotationQueryBuilder()
      .name(names[kind])
      .datasource(wattledger)
      .enable(on)
      .hide(false)
      .iconColor(event[kind])
      .target(target(rows('events', 'all', { where, only: { event: kinds[kind] }, limit: 200 }), 'Anno'))
  );

/** Grafana's own: what people have written, and the states of alerts. */
export const written = () =>
  shown(
    new AnnotationQueryBuilder()
      .name('Annotations & Alerts')
      .datasource({ type: 'grafana', uid: '-- Grafana --' })
      .builtIn(1)
      .enable(true)
      .hide(true)
      .iconColor('rgba(0, 211, 255, 1)')
      .type('dashboard')
  );
