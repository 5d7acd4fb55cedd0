/**
 * The kinds of panels that the dashboards are made of, so that the same thing looks the same everywhere.
 */
import type * as cog from '@grafana/grafana-foundation-sdk/cog';
import {
  AxisPlacement,
  BarAlignment,
  BarGaugeDisplayMode,
  BarGaugeValueMode,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  GraphDrawStyle,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  LineInterpolation,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TableCellDisplayMode,
  TableSortByFieldStateBuilder,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizOrientation,
  VizTooltipOptionsBuilder,
  type DataSourceRef,
} from '@grafana/grafana-foundation-sdk/common';
import * as bargauge from '@grafana/grafana-foundation-sdk/bargauge';
import {
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  type DynamicConfigValue,
  type Panel,
  type ValueMapping,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import * as stats from '@grafana/grafana-foundation-sdk/stat';
import * as tables from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';

import { target, unitOf, wattledger, type Ask } from './ask';
import { asLink, columnLinks, type DataLink } from './links';
import { heading, legend } from './headings';
import { plain } from './palette';
import { explain, steps, thresholds, without, type Limits } from './thresholds';
import { prometheus } from './variables';

/** A question to Prometheus about our own processes. */
export interface Prom {
  expr: string;
  legend: string;
  unit: string;
}

export interface Common {
  title: string;
  /** Where the figure comes from and how to read it. */
  description: string;
  w: number;
  h?: number;
  asks?: Ask[];
  /** Instead of asks. */
  prom?: Prom[];
  decimals?: number;
  limits?: Limits;
}

/** What all kinds of panels of the SDK share. */
interface AnyPanel extends cog.Builder<Panel> {
  title(title: string): this;
  description(description: string): this;
  datasource(ref: DataSourceRef): this;
  targets(targets: cog.Builder<cog.Dataquery>[]): this;
  span(w: number): this;
  height(h: number): this;
  unit(unit: string): this;
  decimals(decimals: number): this;
}

/** How many decimals a unit is worth. What is not here is left to Grafana, which scales it to kilo, mega and so on. */
const decimalsOf: Record<string, number> = {
  percentunit: 1,
  celsius: 0,
  none: 0,
  'suffix:GPU-h': 1,
  'suffix:g/kWh': 1,
  watth: 1,
  massg: 1,
  watt: 1,
  litre: 1,
};

function unit(p: Common): string | undefined {
  if (!p.prom) {
    return unitOf(p.asks ?? []);
  }
  const units = new Set(p.prom.map((q) => q.unit));
  return units.size === 1 ? [...units][0] : undefined;
}

function refId(i: number): string {
  return String.fromCharCode('A'.charCodeAt(0) + i);
}

/** Title, description, place, questions and unit: what does not depend on the kind. */
function fill<B extends AnyPanel>(panel: B, p: Common, h: number, instant: boolean): B {
  if (!p.asks === !p.prom) {
    throw new Error(`the panel "${p.title}" has to ask either Wattledger or Prometheus`);
  }
  const its = unit(p);
  const text = p.limits ? `${p.description}\n\n${explain(p.limits, its)}` : p.description;
  panel
    .title(p.title)
    .description(text)
    .span(p.w)
    .height(p.h ?? h);
  panel.datasource(p.prom ? prometheus : wattledger);
  panel.targets(
    p.prom
      ? p.prom.map((q, i) => {
          const query = new DataqueryBuilder().datasource(prometheus).refId(refId(i)).expr(q.expr).legendFormat(q.legend);
          return instant ? query.instant().format(PromQueryFormat.TimeSeries) : query.range();
        })
      : (p.asks ?? []).map((a, i) => target(a, refId(i)))
  );
  if (its) {
    panel.unit(its);
  }
  const decimals = p.decimals ?? (its === undefined ? undefined : decimalsOf[its]);
  if (decimals !== undefined) {
    panel.decimals(decimals);
  }
  return panel;
}

const last = (perRow: boolean) => new ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(perRow);

const highest = () => new ReduceDataOptionsBuilder().calcs(['max']).fields('').values(false);

/**
 * One number to be read from across the room. A series shows its last value over its course; a table one number for each row, or its
 * highest alone, where one row that is bad must not hide behind others.
 */
export function stat(p: Common & { links?: DataLink[]; mappings?: ValueMapping[]; highest?: boolean }): AnyPanel {
  const form = p.asks?.[0]?.query.form ?? 'total';
  const panel = fill(new stats.PanelBuilder(), p, 4, true)
    .thresholds(p.limits ? thresholds(p.limits) : without(plain))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .colorMode(BigValueColorMode.Value)
    .graphMode(form === 'series' ? BigValueGraphMode.Area : BigValueGraphMode.None)
    .textMode(form === 'table' && !p.highest ? BigValueTextMode.ValueAndName : BigValueTextMode.Auto)
    .reduceOptions(p.highest ? highest() : last(form === 'table'));
  if (p.links) {
    panel.dataLinks(p.links.map(asLink));
  }
  if (p.mappings) {
    panel.mappings(p.mappings);
  }
  return panel;
}

/** A word for each value. */
export const words = (of: Record<string, { text?: string; color?: string }>): ValueMapping => ({
  type: MappingType.ValueToText,
  options: of,
});

/** What no closed hour stands behind yet: the backend ends the names of such series so. */
const provisional = '/\\(provisional\\)/';

export interface Lines extends Common {
  /** Parts that add up to the whole. */
  stack?: boolean;
  /** One bar for each hour or day, as the ledger counts. */
  bars?: boolean;
  /** A dot for each value: what happens now and then. */
  dots?: boolean;
  /** Colours of series, by a word of their names. */
  colours?: Record<string, string>;
  /** Questions, by their place, that are a line to hold others against: dashed, and in no stack. */
  against?: Record<number, string>;
  links?: DataLink[];
  axis?: string;
  min?: number;
  max?: number;
  softMax?: number;
}

/** Values over time. Gaps stay gaps. */
export function lines(p: Lines): AnyPanel {
  const panel = fill(new timeseries.PanelBuilder(), p, 8, false)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassic))
    .drawStyle(p.bars ? GraphDrawStyle.Bars : p.dots ? GraphDrawStyle.Points : GraphDrawStyle.Line)
    .lineInterpolation((p.asks ?? []).every(hourly) && p.asks ? LineInterpolation.StepAfter : LineInterpolation.Linear)
    .lineWidth(1)
    .fillOpacity(p.bars ? 70 : p.stack ? 40 : 8)
    .showPoints(p.dots ? VisibilityMode.Always : p.bars ? VisibilityMode.Never : VisibilityMode.Auto)
    .pointSize(p.dots ? 8 : 4)
    .spanNulls(false)
    .axisPlacement(AxisPlacement.Auto)
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(p.w >= 16 ? LegendDisplayMode.Table : LegendDisplayMode.List)
        .placement(p.w >= 16 ? LegendPlacement.Right : LegendPlacement.Bottom)
        .calcs(p.w >= 16 ? (p.bars ? ['sum'] : ['lastNotNull', 'max']) : [])
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
  if (p.stack) {
    panel.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'));
  }
  if (p.bars) {
    // The point of an hour is its begin, and the hour is what comes after it.
    panel.barAlignment(BarAlignment.After).barWidthFactor(0.9);
  }
  if (p.limits) {
    panel.thresholds(thresholds(p.limits)).thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
  }
  if (p.axis) {
    panel.axisLabel(p.axis);
  }
  if (p.min !== undefined) {
    panel.min(p.min);
  }
  if (p.max !== undefined) {
    panel.max(p.max);
  }
  // Of few things that are counted, an axis of 0 to 1 would show one number at several places.
  const softMax = p.softMax ?? (unit(p) === 'none' ? 5 : undefined);
  if (softMax !== undefined) {
    panel.axisSoftMax(softMax);
  }
  if (p.links) {
    panel.dataLinks(p.links.map(asLink));
  }
  for (const [name, colour] of Object.entries(p.colours ?? {})) {
    panel.overrideByRegexp(`/\\b${name}\\b/`, [fixed(colour)]);
  }
  // Of ledger figures those of closed hours alone: the backend ends the names of the others with a word of its own.
  (p.asks ?? []).forEach((a, i) => {
    const name = legend[a.query.metric];
    if (!name || (p.asks ?? []).length < 2 || a.query.by) {
      return;
    }
    if (ledger(a)) {
      panel.overrideByRegexp(`/^${a.query.metric}$/`, [{ id: 'displayName', value: name }]);
    } else {
      panel.overrideByQuery(refId(i), [{ id: 'displayName', value: name }]);
    }
  });
  for (const [i, colour] of Object.entries(p.against ?? {})) {
    panel.overrideByQuery(refId(Number(i)), [
      fixed(colour),
      { id: 'custom.fillOpacity', value: 0 },
      { id: 'custom.lineStyle', value: { fill: 'dash', dash: [10, 10] } },
      { id: 'custom.stacking', value: { group: 'limit', mode: 'none' } },
    ]);
  }
  if ((p.asks ?? []).some((a) => ledger(a) && !a.query.closedOnly)) {
    panel.overrideByRegexp(provisional, [
      { id: 'custom.lineStyle', value: { fill: 'dash', dash: [6, 4] } },
      { id: 'custom.fillOpacity', value: p.bars ? 15 : 0 },
    ]);
  }
  return panel;
}

const fixed = (colour: string): DynamicConfigValue => ({ id: 'color', value: { mode: 'fixed', fixedColor: colour } });

/** Whether the hours that are not closed yet are estimated beside what is asked. */
function ledger(a: Ask): boolean {
  return ['usage', 'energy', 'carbon'].includes(a.query.kind);
}

/** Whether what is asked comes by the hour, and holds from its begin to its end. */
function hourly(a: Ask): boolean {
  return ['usage', 'energy', 'carbon', 'coverage', 'sovereignty'].includes(a.query.kind);
}

export interface Column {
  limits?: Limits;
  /** Draws the value as a bar within the cell, from 0 to max. */
  gauge?: number;
  colours?: Record<string, string>;
  /** What the unit is, for the explanation of limits. */
  unit?: string;
  /** In pixels, for what is long and of which the beginning is enough; the cell tells the rest. */
  width?: number;
}

export interface Rows extends Common {
  /** Columns whose cells lead on; of those that are shown, each that leads anywhere. */
  links?: string[];
  columns?: Record<string, Column>;
  /** The column to sort by; a minus before it for the largest first. */
  sort?: string;
  /** Tables of several questions become one, by the columns that they share. */
  merge?: boolean;
  /** The columns to show, in this order; without it all of them, in the order of the answer. */
  show?: string[];
}

/** Rows to look through. Columns have the units that the backend gives them. */
export function table(p: Rows): AnyPanel {
  const why = Object.entries(p.columns ?? {}).flatMap(([name, c]) =>
    c.limits ? [`${heading[name] ?? name}: ${explain(c.limits, c.unit)}`] : []
  );
  const panel = fill(new tables.PanelBuilder(), { ...p, description: [p.description, ...why].join('\n\n') }, 8, true)
    .filterable(true)
    .cellOptions({ type: TableCellDisplayMode.Auto });
  // Each column brings its own unit; one for all would be wrong for most.
  const built = panel.build();
  delete built.fieldConfig?.defaults.unit;
  delete built.fieldConfig?.defaults.decimals;
  // Grafana 13 has footers by column, and the SDK still the one of before.
  delete (built.options as { footer?: unknown }).footer;
  if (p.sort) {
    const desc = p.sort.startsWith('-');
    panel.sortBy([new TableSortByFieldStateBuilder().displayName(desc ? p.sort.slice(1) : p.sort).desc(desc)]);
  }
  if (p.merge) {
    panel.withTransformation({ id: 'merge', options: {} });
  }
  const leading = p.links ?? (p.show ?? []).filter((name) => columnLinks[name]);
  for (const name of leading) {
    const link = columnLinks[name];
    if (!link) {
      throw new Error(`the column ${name} leads nowhere: links.ts says where columns lead`);
    }
    panel.overrideByName(name, [...headed(name), { id: 'links', value: [link] }]);
  }
  for (const [name, c] of Object.entries(p.columns ?? {})) {
    panel.overrideByName(name, [...headed(name), ...columnProperties(c)]);
  }
  if (p.show) {
    panel.withTransformation({ id: 'filterFieldsByName', options: { include: { names: p.show } } });
    const indexByName = Object.fromEntries(p.show.map((name, i) => [name, i]));
    panel.withTransformation({ id: 'organize', options: { excludeByName: {}, indexByName, renameByName: {} } });
  }
  // A second is as fine as events and edges have to be told apart; Grafana's own format has milliseconds.
  panel.overrideByFieldType('time', [{ id: 'unit', value: 'time:YYYY-MM-DD HH:mm:ss' }]);
  const named = new Set<string>([...leading, ...Object.keys(p.columns ?? {})]);
  for (const name of p.show ?? []) {
    if (!named.has(name) && heading[name]) {
      panel.overrideByName(name, headed(name));
    }
  }
  return panel;
}

/** What stands above a column instead of its name in the answer. */
function headed(name: string): DynamicConfigValue[] {
  const text = heading[name];
  return text ? [{ id: 'displayName', value: text }] : [];
}

function columnProperties(c: Column): DynamicConfigValue[] {
  const properties: DynamicConfigValue[] = [];
  if (c.limits) {
    properties.push(
      { id: 'thresholds', value: { mode: 'absolute', steps: steps(c.limits) } },
      { id: 'color', value: { mode: 'thresholds' } },
      { id: 'custom.cellOptions', value: { type: TableCellDisplayMode.ColorText } }
    );
  }
  if (c.colours) {
    const options = Object.fromEntries(Object.entries(c.colours).map(([text, color]) => [text, { color }]));
    properties.push(
      { id: 'mappings', value: [{ type: MappingType.ValueToText, options }] },
      { id: 'custom.cellOptions', value: { type: TableCellDisplayMode.ColorText } }
    );
  }
  if (c.gauge !== undefined) {
    properties.push(
      { id: 'min', value: 0 },
      { id: 'max', value: c.gauge },
      { id: 'color', value: { mode: 'fixed', fixedColor: plain } },
      {
        id: 'custom.cellOptions',
        value: { type: TableCellDisplayMode.Gauge, mode: BarGaugeDisplayMode.Basic, valueDisplayMode: BarGaugeValueMode.Text },
      }
    );
  }
  if (c.width !== undefined) {
    properties.push({ id: 'custom.width', value: c.width });
  }
  return properties;
}

/** One bar for each row: who has how much of it. */
export function bars(p: Common & { colours?: Record<string, string>; links?: DataLink[] }): AnyPanel {
  const perRow = p.asks?.[0]?.query.form === 'table';
  const panel = fill(new bargauge.PanelBuilder(), p, 8, true)
    .orientation(VizOrientation.Horizontal)
    .displayMode(BarGaugeDisplayMode.Basic)
    .valueMode(BarGaugeValueMode.Text)
    .min(0)
    .thresholds(p.limits ? thresholds(p.limits) : without(plain))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .reduceOptions(last(perRow));
  for (const [name, colour] of Object.entries(p.colours ?? {})) {
    panel.overrideByRegexp(`/\\b${name}\\b/`, [fixed(colour)]);
  }
  if (p.links) {
    panel.dataLinks(p.links.map(asLink));
  }
  return panel;
}
