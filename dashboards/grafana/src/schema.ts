/**
 * Grafana's types of a dashboard, as JSON has them: with the words that its enumerations stand for, and the options of each kind of
 * panel that we use instead of any object.
 */
import type {
  Dashboard,
  FieldConfigSource,
  GraphFieldConfig,
  Panel as AnyPanel,
  RowPanel,
  TableFieldOptions,
  TableOptions,
} from '@grafana/schema';
import type { Options as BarGauge } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as TimeSeries } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

import type { Query, Filter, Dimension } from '../../datasource/src/query.gen';

/** A type without enumerations: each is the union of its words or numbers, which is all that JSON can hold. */
type Plain<T> = 0 extends 1 & T
  ? T
  : T extends string
    ? `${T}`
    : T extends number
      ? number extends T
        ? number
        : T
      : T extends ReadonlyArray<infer U>
        ? Array<Plain<U>>
        : T extends object
          ? { [K in keyof T]: Plain<T[K]> }
          : T;

interface DataSource<Type extends string> {
  type: Type;
  uid: string;
}

/** What a panel asks: us, or Prometheus. */
type Target =
  | (Query & { refId: string; datasource: DataSource<'wattledger-wattledger-datasource'> })
  | {
      refId: string;
      datasource: DataSource<'prometheus'>;
      expr: string;
      legendFormat: string;
      range: boolean;
      instant: boolean;
      format?: 'time_series';
    };

type Of<Type extends string, Options, Custom> = Plain<Omit<AnyPanel, 'type' | 'options' | 'fieldConfig' | 'targets'>> & {
  type: Type;
  title: string;
  description: string;
  options: Plain<Options>;
  fieldConfig: Plain<FieldConfigSource<Custom>>;
  targets: Target[];
};

type Panel =
  | Of<'stat', Stat, object>
  | Of<'timeseries', TimeSeries, GraphFieldConfig>
  | Of<'table', TableOptions, TableFieldOptions>
  | Of<'bargauge', BarGauge, object>;

type Row = Plain<Omit<RowPanel, 'type' | 'panels'>> & { type: 'row'; panels: never[] };

type Variables = Plain<NonNullable<NonNullable<Dashboard['templating']>['list']>>[number];

/** A variable of ours asks for the values of a dimension. */
type Variable = Omit<Variables, 'query'> & { query: string | { refId: string; dimension: Dimension; filters: Filter[] } };

type Annotation = Omit<Plain<NonNullable<NonNullable<Dashboard['annotations']>['list']>[number]>, 'target'> & { target?: Target };

export type Board = Omit<Plain<Dashboard>, 'panels' | 'templating' | 'annotations'> & {
  panels: Array<Panel | Row>;
  templating: { list: Variable[] };
  annotations: { list: Annotation[] };
};
