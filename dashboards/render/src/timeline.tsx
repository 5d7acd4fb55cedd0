import { DataFrame, FieldType, GrafanaTheme2, formattedValueToString } from '@grafana/data';

import { hidden, nameOf } from './fields';

interface Props {
  frames: DataFrame[];
  range: [number, number];
  width: number;
  height: number;
  theme: GrafanaTheme2;
}

/** States over time: one row per field, one block for as long as its value stays. */
export function Timeline({ frames, range, width, height, theme }: Props) {
  const rows = frames.flatMap((frame) => {
    const time = frame.fields.find((field) => field.type === FieldType.time);
    return time
      ? frame.fields.filter((field) => field !== time && !hidden(field)).map((field) => ({ field, times: time.values as number[] }))
      : [];
  });
  if (rows.length === 0) {
    return <div data-empty="">No data</div>;
  }
  const label = Math.min(180, 12 + Math.max(...rows.map(({ field }) => nameOf(field).length * 6.5)));
  const across = width - label;
  const tall = Math.max(14, Math.min(34, Math.floor(height / rows.length)));
  const shown = rows.slice(0, Math.max(1, Math.floor(height / tall)));
  const x = (t: number) => ((Math.min(Math.max(t, range[0]), range[1]) - range[0]) / (range[1] - range[0])) * across;
  return (
    <div
      data-drawn={rows.reduce((n, { times }) => n + times.length, 0)}
      data-scroll=""
      style={{ height, overflow: 'hidden', fontSize: 11 }}
    >
      {shown.map(({ field, times }, i) => (
        <div key={i} style={{ height: tall, display: 'flex', alignItems: 'center' }}>
          <span style={{ width: label, whiteSpace: 'nowrap', overflow: 'hidden', textOverflow: 'ellipsis' }}>{nameOf(field)}</span>
          <svg width={across} height={tall}>
            {times.map((t, at) => {
              const value = field.values[at];
              const left = x(t);
              const right = x(times[at + 1] ?? range[1]);
              if (value === null || value === undefined || right <= left) {
                return null;
              }
              const display = field.display!(value);
              return (
                <rect key={at} x={left} y={2} width={right - left} height={tall - 4} fill={display.color ?? theme.colors.primary.main}>
                  <title>{formattedValueToString(display)}</title>
                </rect>
              );
            })}
          </svg>
        </div>
      ))}
    </div>
  );
}
