/**
 * The variables of the dashboards. Each is named after the dimension whose values it has.
 */
import type * as common from '@grafana/grafana-foundation-sdk/common';
import { DatasourceVariableBuilder, QueryVariableBuilder, VariableRefresh, VariableSort } from '@grafana/grafana-foundation-sdk/dashboard';

import { wattledger, type Dimension } from './ask';

/** The variable that says which Wattledger data source is asked. */
export const source = () =>
  new DatasourceVariableBuilder('datasource').label('Wattledger').type('wattledger-wattledger-datasource').current({ text: '', value: '' });

/** The variable that says which Prometheus is asked; its default is Grafana's default Prometheus. */
export const prometheusSource = () =>
  new DatasourceVariableBuilder('prometheus').label('Prometheus').type('prometheus').current({ text: '', value: '' });

export const prometheus: common.DataSourceRef = { type: 'prometheus', uid: '${prometheus}' };

const labels: Partial<Record<Dimension, string>> = {
  site: 'Site',
  rack: 'Rack',
  node: 'Node',
  device: 'GPU',
  model: 'GPU model',
  tenant: 'Tenant',
  project: 'Project',
  model_id: 'AI model',
  entry: 'Entry',
};

function query(dimension: Dimension, after: Dimension[]): QueryVariableBuilder {
  const filters = after.map((d) => ({ dimension: d, values: [`$${d}`] }));
  return new QueryVariableBuilder(dimension)
    .label(labels[dimension] ?? dimension)
    .datasource(wattledger)
    .query({ refId: `values-${dimension}`, dimension, filters })
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.NaturalAsc);
}

/** Several values, at first all. Choices are those that the variables of `after` leave. */
export const many = (dimension: Dimension, ...after: Dimension[]) =>
  query(dimension, after).multi(true).includeAll(true).current({ text: 'All', value: '$__all' });

/** One value, at first the first one. */
export const one = (dimension: Dimension, ...after: Dimension[]) => query(dimension, after).multi(false).includeAll(false);
