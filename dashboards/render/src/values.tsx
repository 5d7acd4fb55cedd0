import {
  DataFrame,
  FieldDisplay,
  GrafanaTheme2,
  TimeRange,
  VizOrientation,
  formattedValueToString,
  getFieldDisplayValues,
} from '@grafana/data';
import { BarGaugeDisplayMode, BigValueColorMode, BigValueGraphMode, BigValueTextMode } from '@grafana/schema';
import { BarGauge, BigValue } from '@grafana/ui';

import { PanelModel } from './answers';

interface Props {
  panel: PanelModel;
  frames: DataFrame[];
  range: TimeRange;
  width: number;
  height: number;
  theme: GrafanaTheme2;
}

/** The figures of a panel that shows one number per field or row, by Grafana's own reduction and format. */
function valuesOf({ panel, frames, theme }: Props, sparkline: boolean): FieldDisplay[] {
  return getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig ?? { defaults: {}, overrides: [] },
    reduceOptions: { calcs: ['lastNotNull'], values: false, ...panel.options?.reduceOptions },
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
    sparkline,
  }).filter((value) => value.hasLinks !== undefined || value.display !== undefined);
}

const empty = (values: FieldDisplay[]) =>
  values.length === 0 || values.every((v) => v.display.text === '' || Number.isNaN(v.display.numeric));

/** Big numbers side by side or below one another. */
export function Stat(props: Props) {
  const { panel, width, height, theme } = props;
  const options = panel.options ?? {};
  const values = valuesOf(props, (options.graphMode ?? 'area') !== 'none');
  if (empty(values)) {
    return <div data-empty="">No data</div>;
  }
  const across = options.orientation === 'horizontal' ? false : width > height || options.orientation === 'vertical';
  const each = across ? { width: width / values.length, height } : { width, height: height / values.length };
  return (
    <div data-drawn={values.length} style={{ display: 'flex', flexDirection: across ? 'row' : 'column', height }}>
      {values.map((value, i) => (
        <BigValue
          key={i}
          theme={theme}
          {...each}
          value={{ ...value.display, title: values.length > 1 || options.textMode === 'value_and_name' ? value.display.title : undefined }}
          count={values.length}
          sparkline={value.sparkline}
          colorMode={options.colorMode ?? BigValueColorMode.Value}
          graphMode={value.sparkline ? BigValueGraphMode.Area : BigValueGraphMode.None}
          textMode={options.textMode ?? BigValueTextMode.Auto}
        />
      ))}
    </div>
  );
}

/** Bars that compare figures. Gauges are drawn so, too: what a gauge says is a figure and where it lies between two others. */
export function Bars(props: Props) {
  const { panel, width, height, theme } = props;
  const values = valuesOf(props, false);
  if (empty(values)) {
    return <div data-empty="">No data</div>;
  }
  const options = panel.options ?? {};
  const lying = options.orientation !== 'vertical';
  const each = lying ? { width, height: Math.min(height / values.length, 46) } : { width: width / values.length, height };
  const text = { title: '', text: '' };
  for (const value of values) {
    text.title = values.length > 1 ? longer(text.title, value.display.title ?? '') : '';
    text.text = longer(text.text, formattedValueToString(value.display));
  }
  return (
    <div
      data-drawn={values.length}
      style={{ display: 'flex', flexDirection: lying ? 'column' : 'row', height, overflow: 'hidden' }}
      data-scroll=""
    >
      {values.map((value, i) => (
        <BarGauge
          key={i}
          theme={theme}
          {...each}
          itemSpacing={8}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
          value={values.length > 1 ? value.display : { ...value.display, title: undefined }}
          orientation={lying ? VizOrientation.Horizontal : VizOrientation.Vertical}
          displayMode={options.displayMode ?? BarGaugeDisplayMode.Gradient}
          alignmentFactors={text}
        />
      ))}
    </div>
  );
}

const longer = (a: string, b: string) => (b.length > a.length ? b : a);

/** Shares of a whole. */
export function Pie(props: Props) {
  const { width, height, theme } = props;
  const values = valuesOf(props, false).filter((value) => value.display.numeric > 0);
  const total = values.reduce((sum, value) => sum + value.display.numeric, 0);
  if (total <= 0) {
    return <div data-empty="">No data</div>;
  }
  const radius = Math.min(height, width / 2) / 2 - 6;
  let angle = -Math.PI / 2;
  const point = (a: number) => `${radius + radius * Math.cos(a)} ${radius + radius * Math.sin(a)}`;
  return (
    <div data-drawn={values.length} style={{ display: 'flex', gap: 16, height, alignItems: 'center', fontSize: 12 }}>
      <svg width={2 * radius} height={2 * radius} style={{ flex: 'none' }}>
        {values.length === 1 ? (
          <circle cx={radius} cy={radius} r={radius} fill={values[0]!.display.color} />
        ) : (
          values.map((value, i) => {
            const turn = (value.display.numeric / total) * 2 * Math.PI;
            const path = `M ${radius} ${radius} L ${point(angle)} A ${radius} ${radius} 0 ${turn > Math.PI ? 1 : 0} 1 ${point(angle + turn)} Z`;
            angle += turn;
            return <path key={i} d={path} fill={value.display.color} stroke={theme.colors.background.primary} />;
          })
        )}
      </svg>
      <div data-scroll="" style={{ overflow: 'hidden', maxHeight: height }}>
        {values.map((value, i) => (
          <div key={i} style={{ whiteSpace: 'nowrap', lineHeight: '20px' }}>
            <span style={{ display: 'inline-block', width: 12, height: 4, background: value.display.color, verticalAlign: 'middle' }} />{' '}
            {value.display.title} {formattedValueToString(value.display)} ({((value.display.numeric / total) * 100).toFixed(0)}%)
          </div>
        ))}
      </div>
    </div>
  );
}
