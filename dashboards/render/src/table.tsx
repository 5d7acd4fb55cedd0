import { DataFrame, Field, FieldType, GrafanaTheme2, formattedValueToString } from '@grafana/data';

import { PanelModel } from './answers';
import { hidden, nameOf } from './fields';

interface Props {
  panel: PanelModel;
  frames: DataFrame[];
  height: number;
  theme: GrafanaTheme2;
}

const ROW = 30;

/** Rows and columns, each cell in its field's own format. As many rows as have room; the rest is counted, as a reader would scroll. */
export function TablePanel({ panel, frames, height, theme }: Props) {
  const frame = frames[panel.options?.frameIndex ?? 0];
  const fields = frame?.fields.filter((field) => !hidden(field)) ?? [];
  if (!frame || frame.length === 0 || fields.length === 0) {
    return <div data-empty="">No data</div>;
  }
  const order = sorted(frame, panel.options?.sortBy?.[0]);
  const room = Math.max(1, Math.floor((height - ROW) / ROW));
  const shown = order.length > room ? Math.max(1, room - 1) : order.length;
  return (
    <div data-drawn={frame.length} data-scroll="x" style={{ height, overflow: 'hidden', fontSize: 12 }}>
      <table style={{ width: '100%', borderCollapse: 'collapse' }}>
        <thead>
          <tr style={{ height: ROW, borderBottom: `1px solid ${theme.colors.border.medium}` }}>
            {fields.map((field, i) => (
              <th key={i} data-column={field.name} style={{ ...cellStyle(field), color: theme.colors.primary.text, fontWeight: 500 }}>
                {nameOf(field)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {order.slice(0, shown).map((row) => (
            <tr key={row} style={{ height: ROW, borderBottom: `1px solid ${theme.colors.border.weak}` }}>
              {fields.map((field, i) => (
                <Cell key={i} field={field} row={row} theme={theme} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {order.length > shown && (
        <div style={{ padding: '4px 8px', color: theme.colors.text.secondary }}>and {order.length - shown} more rows</div>
      )}
    </div>
  );
}

function Cell({ field, row, theme }: { field: Field; row: number; theme: GrafanaTheme2 }) {
  const value = field.values[row];
  const shown = field.display!(value);
  const text = value === null || value === undefined ? (field.config.noValue ?? '') : formattedValueToString(shown);
  const how = field.config.custom?.cellOptions?.type;
  const style = { ...cellStyle(field) };
  if (how === 'color-background' && shown.color) {
    Object.assign(style, { background: shown.color, color: theme.colors.getContrastText(shown.color) });
  }
  if (how === 'color-text' && shown.color) {
    Object.assign(style, { color: shown.color });
  }
  const linked = (field.config.links?.length ?? 0) > 0;
  return (
    <td style={style} title={text}>
      {linked ? <span style={{ color: theme.colors.text.link, textDecoration: 'underline' }}>{text}</span> : text}
    </td>
  );
}

function cellStyle(field: Field) {
  const align = field.config.custom?.align;
  const byType = field.type === FieldType.number ? ('right' as const) : ('left' as const);
  return {
    padding: '0 8px',
    whiteSpace: 'nowrap' as const,
    overflow: 'hidden' as const,
    textOverflow: 'ellipsis' as const,
    maxWidth: field.config.custom?.width ?? 260,
    textAlign: !align || align === 'auto' ? byType : align,
  };
}

function sorted(frame: DataFrame, by?: { displayName: string; desc?: boolean }): number[] {
  const order = Array.from({ length: frame.length }, (_, i) => i);
  const field = by && frame.fields.find((f) => nameOf(f) === by.displayName);
  if (!field) {
    return order;
  }
  const compare = (a: number, b: number) => {
    const [x, y] = [field.values[a], field.values[b]];
    return x === y ? a - b : x === null || x === undefined || x < y ? -1 : 1;
  };
  return order.sort((a, b) => (by.desc ? compare(b, a) : compare(a, b)));
}
