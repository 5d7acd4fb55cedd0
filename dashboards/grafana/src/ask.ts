/**
 * What a panel asks of the Wattledger data source, checked against the catalogue that the backend is compiled with.
 */
import type * as cog from '@grafana/grafana-foundation-sdk/cog';
import type * as common from '@grafana/grafana-foundation-sdk/common';

import { METRICS, type Dimension, type Filter, type Form, type Kind, type Metric, type Query } from '../../datasource/src/query.gen';

export type { Dimension, Kind, Metric };

/** The data source as a panel names it: the variable of every dashboard. */
export const wattledger: common.DataSourceRef = { type: 'wattledger-wattledger-datasource', uid: '${datasource}' };

/** A question as it stands in a dashboard: query.Query beside what Grafana keeps with every target. */
export interface Target extends Query, cog.Dataquery {
  refId: string;
  datasource: common.DataSourceRef;
}

/** What can be said of a question besides what it is about. */
export interface Shape {
  by?: Dimension[];
  /** Dimensions that are filtered by the dashboard's variable of the same name. */
  where?: Dimension[];
  /** Fixed values of a dimension. */
  only?: Partial<Record<Dimension, string[]>>;
  limit?: number;
  /** Leaves provisional hours out: what is shown is then the ledger's to the last digit. */
  closedOnly?: boolean;
}

/** A question and the metric it is about. */
export interface Ask {
  metric: Metric;
  query: Query;
}

/** The metric of that name. One that is not in the catalogue ends the generation. */
function find(kind: Kind, name: string): Metric {
  const found = METRICS.find((m) => m.kind === kind && m.name === name);
  if (!found) {
    throw new Error(`there is no metric ${kind}.${name}: dashboards/query/metric.go lists them`);
  }
  return found;
}

function ask(kind: Kind, name: string, form: Form, shape: Shape): Ask {
  const metric = find(kind, name);
  const what = `${kind}.${name}`;
  if (!metric.forms.includes(form)) {
    throw new Error(`${what} has no form ${form}: it has ${metric.forms.join(', ')}`);
  }
  const filters: Filter[] = [
    ...(shape.where ?? []).map((dimension) => ({ dimension, values: [`$${dimension}`] })),
    ...Object.entries(shape.only ?? {}).map(([dimension, values]) => ({ dimension: dimension as Dimension, values })),
  ];
  for (const dimension of [...(shape.by ?? []), ...filters.map((f) => f.dimension)]) {
    if (!metric.by.includes(dimension)) {
      throw new Error(`${what} does not know the dimension ${dimension}: it knows ${metric.by.join(', ')}`);
    }
  }
  return {
    metric,
    query: {
      kind,
      metric: name,
      form,
      ...(shape.by?.length ? { by: shape.by } : {}),
      ...(filters.length ? { filters } : {}),
      ...(shape.limit ? { limit: shape.limit } : {}),
      ...(shape.closedOnly ? { closedOnly: true } : {}),
    },
  };
}

/** One line over time for each combination of what it is grouped by. */
export const series = (kind: Kind, name: string, shape: Shape = {}): Ask => ask(kind, name, 'series', shape);

/** One row for each combination, over the whole range. */
export const rows = (kind: Kind, name: string, shape: Shape = {}): Ask => ask(kind, name, 'table', shape);

/** One number over the whole range. */
export const total = (kind: Kind, name: string, shape: Shape = {}): Ask => ask(kind, name, 'total', shape);

/** The question as a target. */
export function target(a: Ask, refId: string): cog.Builder<cog.Dataquery> {
  const built: Target = { ...a.query, refId, datasource: wattledger, _implementsDataqueryVariant() {} };
  return { build: () => built };
}

/** The unit that all of them have; none where they differ, or where each column has its own. */
export function unitOf(asks: Ask[]): string | undefined {
  const units = new Set(asks.map((a) => a.metric.unit));
  const [unit] = units;
  return units.size === 1 && unit ? unit : undefined;
}
