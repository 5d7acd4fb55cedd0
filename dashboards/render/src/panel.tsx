import { DataFrame, GrafanaTheme2, TimeRange } from '@grafana/data';

import { PanelModel } from './answers';
import { Mark } from './marks';
import { Series } from './series';
import { TablePanel } from './table';
import { Text } from './text';
import { Timeline } from './timeline';
import { Bars, Pie, Stat } from './values';

export const HEADER = 32;
const PADDING = 8;
const OURS = 'wattledger-wattledger-datasource';

interface Props {
  panel: PanelModel;
  frames: DataFrame[];
  errors: string[];
  marks: Mark[];
  range: TimeRange;
  width: number;
  height: number;
  theme: GrafanaTheme2;
}

/** A panel: its title, what the source remarked, and what it draws. */
export function Panel({ panel, frames, errors, marks, range, width, height, theme }: Props) {
  const notices = [...new Set(frames.flatMap((frame) => frame.meta?.notices?.map((notice) => notice.text) ?? []))];
  const headed = Boolean(panel.title);
  const inner = { width: width - 2 * PADDING - 2, height: height - (headed ? HEADER : PADDING) - PADDING - 2 };
  return (
    <section
      data-panel={panel.id}
      data-type={panel.type}
      style={{
        width,
        height,
        boxSizing: 'border-box',
        background: panel.transparent ? undefined : theme.colors.background.primary,
        border: `1px solid ${panel.transparent ? 'transparent' : theme.components.panel.borderColor}`,
        borderRadius: theme.shape.radius.default,
        color: theme.colors.text.primary,
        overflow: 'hidden',
      }}
    >
      {headed && (
        <header
          style={{
            height: HEADER,
            lineHeight: `${HEADER}px`,
            padding: `0 ${PADDING}px`,
            display: 'flex',
            gap: 6,
            fontWeight: 500,
            fontSize: 13,
          }}
        >
          <span data-title="" style={{ whiteSpace: 'nowrap', overflow: 'hidden', textOverflow: 'ellipsis' }}>
            {panel.title}
          </span>
          {panel.description && <Info color={theme.colors.text.secondary} />}
          {notices.length > 0 && (
            <span data-notices={notices.join('\n')} title={notices.join('\n')} style={{ color: theme.colors.warning.text }}>
              ⚠
            </span>
          )}
        </header>
      )}
      <div data-body="" style={{ padding: `${headed ? 0 : PADDING}px ${PADDING}px ${PADDING}px` }}>
        {errors.length > 0 ? (
          <div data-error="" style={{ color: theme.colors.error.text }}>
            {errors.join('; ')}
          </div>
        ) : (
          <Body panel={panel} frames={frames} marks={marks} range={range} theme={theme} {...inner} />
        )}
      </div>
    </section>
  );
}

/** That the panel explains itself, drawn so that no font has to have it. */
function Info({ color }: { color: string }) {
  return (
    <svg width={13} height={HEADER} viewBox="0 0 13 32" style={{ flex: 'none' }}>
      <circle cx={6.5} cy={16} r={5.5} fill="none" stroke={color} />
      <path d="M6.5 14.5 V19 M6.5 12 V13.2" stroke={color} strokeWidth={1.2} />
    </svg>
  );
}

/** Where the panel asks somebody else, such as Prometheus: the page has only the plugin's answers. */
const elsewhere = (panel: PanelModel) => panel.datasource?.type !== undefined && panel.datasource.type !== OURS && panel.type !== 'text';

function Body({ panel, frames, marks, range, width, height, theme }: Omit<Props, 'errors'>) {
  const span: [number, number] = [range.from.valueOf(), range.to.valueOf()];
  const one = { panel, frames, range, width, height, theme };
  if (elsewhere(panel)) {
    return (
      <div
        data-drawn="1"
        style={{
          height,
          overflow: 'hidden',
          fontSize: 11,
          fontFamily: theme.typography.fontFamilyMonospace,
          color: theme.colors.text.secondary,
        }}
        data-scroll=""
      >
        <p style={{ margin: 0 }}>asked of {panel.datasource?.type}, which is not here:</p>
        {panel.targets?.map((target, i) => (
          <div key={i} style={{ overflowWrap: 'anywhere' }}>
            {target.expr}
          </div>
        ))}
      </div>
    );
  }
  switch (panel.type) {
    case 'timeseries':
    case 'trend':
      return <Series panel={panel} frames={frames} marks={marks} range={span} width={width} height={height} theme={theme} />;
    case 'table':
      return <TablePanel panel={panel} frames={frames} height={height} theme={theme} />;
    case 'stat':
      return <Stat {...one} />;
    case 'bargauge':
    case 'gauge':
      return <Bars {...one} />;
    case 'piechart':
      return <Pie {...one} />;
    case 'state-timeline':
    case 'status-history':
      return <Timeline frames={frames} range={span} width={width} height={height} theme={theme} />;
    case 'text':
      return <Text panel={panel} height={height} theme={theme} />;
    default:
      return <div data-error="">This page cannot draw a panel of type {panel.type}: teach it in dashboards/render/src/panel.tsx.</div>;
  }
}
