/**
 * A dashboard: rows in the order in which an SRE asks, and in each the panels that answer.
 */
import type * as cog from '@grafana/grafana-foundation-sdk/cog';
import {
  DashboardBuilder,
  DashboardCursorSync,
  RowBuilder,
  TimePickerBuilder,
  type AnnotationQuery,
  type DashboardLink,
  type Panel,
  type VariableModel,
} from '@grafana/grafana-foundation-sdk/dashboard';

import { written } from './annotations';
import { allBoards, tag, uid, type Board } from './links';

/** What Grafana reads from a provisioned file: the classic model. The SDK prefers the one after it, which no file provides yet. */
// eslint-disable-next-line @typescript-eslint/no-deprecated -- see above
export type Model = ReturnType<DashboardBuilder['build']>;

export interface Row {
  /** The question of the row. */
  title: string;
  panels: cog.Builder<Panel>[];
}

export interface Spec {
  board: Board;
  title: string;
  description: string;
  /** How far back the dashboard looks at first. */
  from: string;
  refresh: string;
  variables: cog.Builder<VariableModel>[];
  annotations: cog.Builder<AnnotationQuery>[];
  links: cog.Builder<DashboardLink>[];
  rows: Row[];
}

/** The SDK gives every variable the defaults of every type of variable; what only intervals have goes away. */
function ofOurs(variable: cog.Builder<VariableModel>): cog.Builder<VariableModel> {
  const { auto, auto_min, auto_count, ...rest } = variable.build();
  return { build: () => rest };
}

/** The dashboard as Grafana reads it. */
export function board(spec: Spec): Model {
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- see Model
  const built = new DashboardBuilder(`Wattledger / ${spec.title}`)
    .uid(uid[spec.board])
    .description(spec.description)
    .tags([tag])
    .editable()
    .timezone('browser')
    .time({ from: spec.from, to: 'now' })
    .timepicker(new TimePickerBuilder().refreshIntervals(['5s', '10s', '30s', '1m', '5m', '15m', '1h']))
    .refresh(spec.refresh)
    .tooltip(DashboardCursorSync.Crosshair)
    .variables(spec.variables.map(ofOurs))
    .annotations([written(), ...spec.annotations])
    .links([allBoards(), ...spec.links]);
  // Ids are row × 100 + place: a panel that is added at the end of its row moves no other, and links to single panels live on.
  spec.rows.forEach((row, r) => {
    built.withRow(new RowBuilder(row.title).id((r + 1) * 100));
    row.panels.forEach((panel, i) => {
      const its = panel.build();
      its.id = (r + 1) * 100 + i + 1;
      built.withPanel({ build: () => its });
    });
  });
  return built.build();
}
