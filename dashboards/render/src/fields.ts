import {
  DataFrame,
  DataFrameJSON,
  Field,
  FieldColorModeId,
  FieldConfig,
  FieldConfigSource,
  FieldType,
  GrafanaTheme2,
  ThresholdsMode,
  dataFrameFromJSON,
  fieldMatchers,
  getDisplayProcessor,
  getFieldDisplayName,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

import { PanelModel } from './answers';

/** Knows the transformations by name, as Grafana does from its start. */
export function registerTransformations() {
  // Some stand in the list twice, under an old name, too.
  const byId = new Map(Object.values(standardTransformers).map((transformation) => [transformation.id, transformation]));
  standardTransformersRegistry.setInit(() =>
    [...byId.values()].map((transformation) => ({
      id: transformation.id,
      name: transformation.name,
      transformation: () => Promise.resolve(transformation),
      editor: () => null,
      imageDark: '',
      imageLight: '',
    }))
  );
}

/** The frames of a panel as it shows them: transformed, and each field with the panel's settings and a formatter. */
export async function shownFrames(panel: PanelModel, frames: DataFrameJSON[], theme: GrafanaTheme2): Promise<DataFrame[]> {
  const received = frames.map((frame) => dataFrameFromJSON(frame));
  const transformations = panel.transformations ?? [];
  const transformed = transformations.length === 0 ? received : await firstValueFrom(transformDataFrame(transformations, received));
  return configure(transformed, panel.fieldConfig ?? { defaults: {}, overrides: [] }, theme, panel.type);
}

function configure(frames: DataFrame[], source: FieldConfigSource, theme: GrafanaTheme2, type: string): DataFrame[] {
  let series = 0;
  const shown = frames.map((frame) => ({ ...frame, fields: frame.fields.map((field) => ({ ...field, state: { ...field.state } })) }));
  for (const frame of shown) {
    for (const field of frame.fields) {
      field.config = merged(field, frame, shown, source, type);
      field.state = { ...field.state, seriesIndex: field.type === FieldType.number ? series++ : 0, range: rangeOf(field) };
      field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
    }
  }
  for (const frame of shown) {
    for (const field of frame.fields) {
      field.state!.displayName = getFieldDisplayName(field, frame, shown);
    }
  }
  return shown;
}

/** As Grafana has it: what the source says of a field wins over the panel's defaults, and an override over both. */
function merged(field: Field, frame: DataFrame, all: DataFrame[], source: FieldConfigSource, type: string): FieldConfig {
  const defaults = structuredClone({ ...standard(type), ...source.defaults });
  const config: FieldConfig = { ...defaults, ...defined(field.config), custom: { ...defaults.custom, ...field.config.custom } };
  for (const rule of source.overrides ?? []) {
    const matches = fieldMatchers.getIfExists(rule.matcher.id)?.get(rule.matcher.options);
    if (!matches?.(field, frame, all)) {
      continue;
    }
    for (const { id, value } of structuredClone(rule.properties)) {
      set(config as Record<string, unknown>, id.split('.'), value);
    }
  }
  // JSON has no infinity: the lowest step has no value.
  for (const [i, step] of (config.thresholds?.steps ?? []).entries()) {
    step.value = i === 0 ? -Infinity : step.value;
  }
  return config;
}

/** What Grafana sets where the dashboard says nothing. */
function standard(type: string): FieldConfig {
  const byThreshold = ['stat', 'gauge', 'bargauge', 'table', 'state-timeline'].includes(type);
  return {
    color: { mode: byThreshold ? FieldColorModeId.Thresholds : FieldColorModeId.PaletteClassic },
    thresholds: {
      mode: ThresholdsMode.Absolute,
      steps: [
        { value: -Infinity, color: 'green' },
        { value: 80, color: 'red' },
      ],
    },
  };
}

function defined(config: FieldConfig): FieldConfig {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined && value !== null));
}

function set(into: Record<string, unknown>, path: string[], value: unknown) {
  const [head, ...rest] = path;
  if (head === undefined) {
    return;
  }
  if (rest.length === 0) {
    into[head] = value;
    return;
  }
  into[head] = { ...(into[head] as object) };
  set(into[head] as Record<string, unknown>, rest, value);
}

function rangeOf(field: Field) {
  if (field.type !== FieldType.number) {
    return undefined;
  }
  const values = field.values.filter((v): v is number => typeof v === 'number' && Number.isFinite(v));
  if (values.length === 0) {
    return undefined;
  }
  const min = field.config.min ?? values.reduce((a, b) => Math.min(a, b));
  const max = field.config.max ?? values.reduce((a, b) => Math.max(a, b));
  return { min, max, delta: max - min };
}

/** The name that legend and header show. */
export function nameOf(field: Field): string {
  return field.config.displayName ?? field.state?.displayName ?? field.name;
}

/** Whether the panel hides the field from what it draws. */
export function hidden(field: Field): boolean {
  const custom = field.config.custom ?? {};
  return Boolean(custom.hideFrom?.viz || custom.hidden);
}
