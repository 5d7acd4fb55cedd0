import { DataFrame, GrafanaTheme2, TimeRange } from '@grafana/data';

import { Answers, DashboardModel, PanelModel } from './answers';
import { Mark } from './marks';
import { Panel } from './panel';

// Grafana's own grid: 24 columns, rows of 30 pixels, 8 pixels between.
const COLUMNS = 24;
const ROW = 30;
const GAP = 8;

interface Props {
  dashboard: DashboardModel;
  answers: Answers;
  frames: Map<number, DataFrame[]>;
  marks: Mark[];
  range: TimeRange;
  width: number;
  theme: GrafanaTheme2;
}

/** All panels, also those of rows that are closed at first. */
export function flat(panels: PanelModel[]): PanelModel[] {
  return panels.flatMap((panel) => (panel.type === 'row' ? [{ ...panel, panels: [] }, ...flat(panel.panels ?? [])] : [panel]));
}

/** Where each panel lies: as the JSON says, but a row that is closed at first is opened and moves down what comes after it. */
export function placed(panels: PanelModel[]): PanelModel[] {
  let shift = 0;
  const moved = (panel: PanelModel) => ({ ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + shift } });
  return panels.flatMap((panel) => {
    if (panel.type !== 'row' || !panel.panels?.length) {
      return [moved(panel)];
    }
    const opened = panel.panels.map(moved);
    const head = moved({ ...panel, panels: [] });
    const top = head.gridPos.y + 1;
    const bottom = Math.max(...opened.map(({ gridPos }) => gridPos.y + gridPos.h));
    shift += bottom - top;
    return [head, ...opened];
  });
}

/** A title with what its variables are set to. */
function named(title: string | undefined, answers: Answers): string | undefined {
  return answers.variables.reduce(
    (text, { name, text: value }) => text?.replaceAll(new RegExp(`\\$\\{?${name}\\b\\}?`, 'g'), value.slice(0, 12)),
    title
  );
}

export function Dashboard({ dashboard, answers, frames, marks, range, width, theme }: Props) {
  const panels = placed(dashboard.panels);
  const column = (width - 2 * GAP + GAP) / COLUMNS;
  const bottom = Math.max(0, ...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <main style={{ width, background: theme.colors.background.canvas, fontFamily: theme.typography.fontFamily }}>
      <h1 style={{ margin: 0, padding: '14px 12px 2px', fontSize: 20, fontWeight: 500, color: theme.colors.text.primary }}>
        {dashboard.title}
      </h1>
      <p style={{ margin: 0, padding: '0 12px 10px', fontSize: 12, color: theme.colors.text.secondary }}>
        {range.from.utc().format('YYYY-MM-DD HH:mm')} to {range.to.utc().format('YYYY-MM-DD HH:mm')} UTC
        {answers.variables.map(({ name, text }) => ` · ${name}: ${text}`).join('')}
        {' · drawn without Grafana from what the plugin answered'}
      </p>
      <div style={{ position: 'relative', height: bottom * (ROW + GAP) + GAP }}>
        {panels.map((panel) => {
          const { x, y, w, h } = panel.gridPos;
          const box = { left: GAP + x * column, top: y * (ROW + GAP), width: w * column - GAP, height: h * (ROW + GAP) - GAP };
          return (
            <div key={panel.id} style={{ position: 'absolute', left: box.left, top: box.top }}>
              {panel.type === 'row' ? (
                <h2
                  data-row=""
                  style={{
                    margin: 0,
                    width: box.width,
                    lineHeight: `${ROW}px`,
                    fontSize: 15,
                    fontWeight: 500,
                    color: theme.colors.text.primary,
                  }}
                >
                  {panel.title}
                </h2>
              ) : (
                <Panel
                  panel={{ ...panel, title: named(panel.title, answers) }}
                  frames={frames.get(panel.id) ?? []}
                  errors={answers.panels[panel.id]?.errors ?? []}
                  marks={marks}
                  range={range}
                  width={box.width}
                  height={box.height}
                  theme={theme}
                />
              )}
            </div>
          );
        })}
      </div>
    </main>
  );
}
