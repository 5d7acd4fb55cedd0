import { getValueFormats } from '@grafana/data';

import { Dimension, Filter, Form, Kind, Metric, METRICS, Query } from './query.gen';

/** What a new panel asks. */
export const DEFAULT_QUERY: Query = { kind: 'fleet', metric: 'power', form: 'series' };

/** What a new annotation asks. */
export const DEFAULT_ANNOTATION: Query = { kind: 'events', metric: 'all', form: 'table' };

/** Kinds whose figures are the ledger's, where hours that are not closed yet can be left out. */
const ACCOUNTED: readonly Kind[] = ['usage', 'energy', 'carbon'];

export function hasProvisional(kind: Kind): boolean {
  return ACCOUNTED.includes(kind);
}

export function metricsOf(kind: Kind): Metric[] {
  return METRICS.filter((m) => m.kind === kind);
}

export function metricOf(query: Pick<Query, 'kind' | 'metric'>): Metric | undefined {
  return METRICS.find((m) => m.kind === query.kind && m.name === query.metric);
}

/** The form that is answered: the one asked for, or the metric's first where none is named that it has. */
export function formOf(query: Partial<Pick<Query, 'form'>>, metric: Metric): Form {
  return metric.forms.find((form) => form === query.form) ?? metric.forms[0] ?? 'table';
}

/**
 * The question with another kind or metric, and what cannot be asked of it any more left out: the form, the dimensions to group by
 * and the filters stay where the new metric knows them.
 */
export function withMetric<Q extends Query>(query: Q, kind: Kind, name?: string): Q {
  if (kind === 'sql') {
    return { ...query, kind, metric: '', form: 'table', by: undefined, filters: undefined, limit: undefined, closedOnly: undefined };
  }
  const metric = metricsOf(kind).find((m) => m.name === name) ?? metricsOf(kind)[0];
  if (!metric) {
    return { ...query, kind, metric: '' };
  }
  return {
    ...query,
    kind,
    metric: metric.name,
    form: formOf(query, metric),
    by: orAbsent(query.by?.filter((d) => metric.by.includes(d))),
    filters: orAbsent(query.filters?.filter((f) => metric.by.includes(f.dimension))),
    closedOnly: hasProvisional(kind) ? query.closedOnly : undefined,
    sql: undefined,
  };
}

/** An empty list is left out, so that a dashboard's JSON says only what was chosen. */
export function orAbsent<T>(list: T[] | undefined): T[] | undefined {
  return list && list.length > 0 ? list : undefined;
}

/** The filters of a question without those that keep everything. */
export function activeFilters(filters: Filter[] | undefined): Filter[] {
  return (filters ?? []).filter((f) => f.values.length > 0);
}

const SPELT: Readonly<Record<string, string>> = {
  sql: 'SQL',
  sm: 'SM',
  gpu: 'GPU',
  dram: 'DRAM',
  gr: 'graphics',
  ecc: 'ECC',
  sbe: 'corrected',
  dbe: 'uncorrected',
  fp64: 'FP64',
  fp32: 'FP32',
  fp16: 'FP16',
  nvlink: 'NVLink',
  pcie: 'PCIe',
  tx: 'sent',
  rx: 'received',
  xid: 'XID',
  pue: 'PUE',
  id: 'id',
};

/** A name of the catalogue as people write it: sm_active is "SM active". */
export function spell(name: string): string {
  const words = name.split('_').map((word) => SPELT[word] ?? word);
  const text = words.join(' ');
  return words[0] && SPELT[words[0]] ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

/** The same within a sentence. */
export function spellInside(name: string): string {
  return name
    .split('_')
    .map((word) => SPELT[word] ?? word)
    .join(' ');
}

export const FORM_LABELS: Readonly<Record<Form, string>> = { series: 'Lines', table: 'Table', total: 'One number' };

/** Grafana's own name of a unit; empty where the metric has none or is a plain number. */
export function unitName(id: string): string {
  if (id === '' || id === 'none') {
    return '';
  }
  if (id.startsWith('suffix:')) {
    return id.slice('suffix:'.length); // a unit of ours, written behind the number
  }
  for (const category of getValueFormats()) {
    const found = category.submenu.find((unit) => unit.value === id);
    if (found) {
      return found.text.replace(' (0.0-1.0)', ''); // how it is stored is nobody's business who reads a panel
    }
  }
  return id;
}

const SINGULAR: Readonly<Partial<Record<Dimension, string>>> = {
  model_id: 'AI model',
  model: 'GPU model',
  event: 'kind of event',
  entry: 'ledger entry',
};

/** A dimension within a sentence. */
export function dimensionName(dimension: Dimension): string {
  return SINGULAR[dimension] ?? spellInside(dimension);
}

/** A dimension as a label. */
export function dimensionLabel(dimension: Dimension): string {
  const name = dimensionName(dimension);
  return name.charAt(0).toUpperCase() + name.slice(1);
}
