import { DataFrame, Field, FieldType, GrafanaTheme2, formattedValueToString, getFieldSeriesColor, reduceField } from '@grafana/data';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';

import { PanelModel } from './answers';
import { hidden, nameOf } from './fields';
import { Mark } from './marks';

interface Line {
  field: Field;
  times: number[];
  values: Array<number | null>;
  color: string;
}

interface Props {
  panel: PanelModel;
  frames: DataFrame[];
  marks: Mark[];
  range: [number, number];
  width: number;
  height: number;
  theme: GrafanaTheme2;
}

const LEGEND_ROW = 20;
const WHOLE = [0, 1, 2, 3, 4, 5, 6].flatMap((power) => [1, 2, 5].map((n) => n * 10 ** power));

/** Lines over time: a gap is a gap, what stacks is stacked, what is provisional keeps its dashes. */
export function Series({ panel, frames, marks, range, width, height, theme }: Props) {
  const lines = linesOf(frames, theme);
  const legend = panel.options?.legend ?? {};
  const showLegend = legend.showLegend !== false && legend.displayMode !== 'hidden' && lines.length > 0;
  const asTable = legend.displayMode === 'table';
  const right = legend.placement === 'right';
  const rows = asTable ? lines.length + 1 : Math.ceil((lines.length * 190) / width);
  const legendWidth = right ? Math.min(width * 0.36, 340) : width;
  const legendHeight = showLegend ? (right ? height : Math.min(rows * LEGEND_ROW + 6, height * 0.38)) : 0;
  const box = useRef<HTMLDivElement>(null);
  const plotWidth = showLegend && right ? width - legendWidth : width;
  const plotHeight = right ? height : height - legendHeight;

  useEffect(() => {
    if (!box.current || lines.length === 0) {
      return;
    }
    const { data, bands } = aligned(lines);
    const plot = new uPlot({ ...options(lines, marks, range, plotWidth, plotHeight, theme), bands }, data, box.current);
    return () => plot.destroy();
  });

  if (lines.length === 0) {
    return <div data-empty="">No data</div>;
  }
  return (
    <div
      data-drawn={lines.reduce((n, line) => n + line.values.filter((v) => v !== null).length, 0)}
      data-series={lines.length}
      style={{ display: 'flex', flexDirection: right ? 'row' : 'column', height }}
    >
      <div ref={box} style={{ width: plotWidth, height: plotHeight }} />
      {showLegend && (
        <div data-scroll="" style={{ width: legendWidth, height: legendHeight, overflow: 'hidden', fontSize: 11 }}>
          <Legend lines={lines} calcs={legend.calcs ?? []} asTable={asTable || right} />
        </div>
      )}
    </div>
  );
}

function Legend({ lines, calcs, asTable }: { lines: Line[]; calcs: string[]; asTable: boolean }) {
  const figures = (line: Line) => {
    const found = reduceField({ field: line.field, reducers: calcs });
    return calcs.map((calc) => formattedValueToString(line.field.display!(found[calc])));
  };
  if (!asTable) {
    return (
      <div style={{ display: 'flex', flexWrap: 'wrap', columnGap: 14, lineHeight: `${LEGEND_ROW}px` }}>
        {lines.map((line, i) => (
          <span key={i} style={{ whiteSpace: 'nowrap' }}>
            <Dash line={line} /> {nameOf(line.field)} {figures(line).join(' ')}
          </span>
        ))}
      </div>
    );
  }
  return (
    <table style={{ width: '100%', borderCollapse: 'collapse', lineHeight: `${LEGEND_ROW}px` }}>
      <thead>
        <tr>
          <th />
          {calcs.map((calc) => (
            <th key={calc} style={{ textAlign: 'right', fontWeight: 500 }}>
              {calc}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {lines.map((line, i) => (
          <tr key={i}>
            <td style={{ whiteSpace: 'nowrap' }}>
              <Dash line={line} /> {nameOf(line.field)}
            </td>
            {figures(line).map((figure, j) => (
              <td key={j} style={{ textAlign: 'right', whiteSpace: 'nowrap', paddingLeft: 8 }}>
                {figure}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Dash({ line }: { line: Line }) {
  const dashed = dashOf(line.field).length > 0;
  return (
    <span
      style={{ display: 'inline-block', width: 14, borderTop: `3px ${dashed ? 'dashed' : 'solid'} ${line.color}`, verticalAlign: 'middle' }}
    />
  );
}

function linesOf(frames: DataFrame[], theme: GrafanaTheme2): Line[] {
  const lines: Line[] = [];
  for (const frame of frames) {
    const time = frame.fields.find((field) => field.type === FieldType.time);
    if (!time) {
      continue;
    }
    for (const field of frame.fields) {
      if (field.type === FieldType.number && !hidden(field)) {
        lines.push({ field, times: time.values, values: field.values, color: colorOf(field, theme) });
      }
    }
  }
  return lines;
}

function colorOf(field: Field, theme: GrafanaTheme2): string {
  return getFieldSeriesColor(field, theme).color;
}

function dashOf(field: Field): number[] {
  const style = field.config.custom?.lineStyle;
  return style && style.fill && style.fill !== 'solid' ? (style.dash ?? [8, 6]) : [];
}

/** Lines on common times, and which lines stand on which. Where a line has no point it goes on; where its point is null it breaks. */
function aligned(lines: Line[]): { data: uPlot.AlignedData; bands: uPlot.Band[] } {
  const data = uPlot.join(lines.map((line) => [line.times.map((t) => t / 1000), line.values] as uPlot.AlignedData));
  const bands: uPlot.Band[] = [];
  const stacks = new Map<string, { sums: number[]; top: number }>();
  lines.forEach((line, i) => {
    const stacking = line.field.config.custom?.stacking;
    if (stacking?.mode !== 'normal') {
      return;
    }
    // What is provisional stands on its own, as it has hours of its own.
    const name = `${stacking.group ?? 'A'} ${dashOf(line.field).length > 0}`;
    const stack = stacks.get(name);
    const sums = stack?.sums ?? Array.from(data[0], () => 0);
    const values = data[i + 1] as Array<number | null | undefined>;
    values.forEach((v, at) => {
      if (typeof v === 'number') {
        sums[at]! += v;
        values[at] = sums[at];
      }
    });
    if (stack) {
      bands.push({ series: [i + 1, stack.top] });
    }
    stacks.set(name, { sums, top: i + 1 });
  });
  return { data, bands };
}

function options(
  lines: Line[],
  marks: Mark[],
  range: [number, number],
  width: number,
  height: number,
  theme: GrafanaTheme2
): uPlot.Options {
  const units = [...new Set(lines.map(scaleOf))];
  const font = `11px ${theme.typography.fontFamily}`;
  const grid = { stroke: theme.colors.border.weak, width: 1 };
  return {
    width,
    height,
    ms: 1e-3,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'UTC'),
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 20, 0, 0],
    scales: {
      x: { time: true, range: [range[0] / 1000, range[1] / 1000] },
      ...Object.fromEntries(
        units.map((unit) => [unit, { range: (_: uPlot, low: number | null, high: number | null) => bounds(unit, lines, low, high) }])
      ),
    },
    axes: [
      { stroke: theme.colors.text.secondary, font, grid, ticks: grid, size: 28, space: 70, values: (_plot, splits) => clock(splits) },
      ...units.map((unit, i): uPlot.Axis => {
        const line = lines.find((l) => scaleOf(l) === unit)!;
        return {
          scale: unit,
          side: i === 0 ? 3 : 1,
          stroke: theme.colors.text.secondary,
          font,
          grid: i === 0 ? grid : { show: false },
          ticks: { show: false },
          // Of what comes in whole numbers there is no half.
          ...(line.field.config.decimals === 0 ? { incrs: WHOLE } : {}),
          size: (_plot, labels) => 14 + Math.max(10, ...(labels ?? []).map((label) => label.length * 6.4)),
          values: (_plot, splits) => splits.map((v) => formattedValueToString(line.field.display!(v))),
        };
      }),
    ],
    series: [{}, ...lines.map((line) => seriesOf(line, theme))],
    hooks: { draw: [(plot) => drawMarks(plot, marks)] },
  };
}

function scaleOf(line: Line): string {
  return line.field.config.unit ?? 'none';
}

/** From zero where amounts are drawn as areas, and never a band of no height. */
function bounds(unit: string, lines: Line[], low: number | null, high: number | null): [number, number] {
  const own = lines.filter((line) => scaleOf(line) === unit).map((line) => line.field.config);
  const min = own.map((c) => c.min).find((v) => v !== undefined && v !== null);
  const max = own.map((c) => c.max).find((v) => v !== undefined && v !== null);
  const filled = own.some((c) => (c.custom?.fillOpacity ?? 0) > 0 || c.custom?.drawStyle === 'bars');
  let from = min ?? (filled ? Math.min(0, low ?? 0) : (low ?? 0));
  let to = max ?? high ?? 1;
  if (from === to) {
    const by = Math.abs(from) * 0.1 || 1;
    [from, to] = [min ?? from - (from === 0 ? 0 : by), max ?? to + by];
  }
  const air = (to - from) * 0.06;
  return [min ?? (from === 0 ? 0 : from - air), max ?? to + air];
}

function seriesOf(line: Line, theme: GrafanaTheme2): uPlot.Series {
  const custom = line.field.config.custom ?? {};
  const fill = custom.drawStyle === 'bars' ? (custom.fillOpacity ?? 70) : (custom.fillOpacity ?? 0);
  return {
    label: nameOf(line.field),
    scale: scaleOf(line),
    stroke: line.color,
    width: custom.lineWidth ?? 1,
    dash: dashOf(line.field),
    spanGaps: custom.spanNulls === true,
    points: { ...pointsOf(custom), size: custom.pointSize ?? 5 },
    fill: fill > 0 ? translucent(line.color, fill / 100, theme) : undefined,
    paths: pathsOf(custom),
  };
}

/** Points where they are asked for, and where a line cannot show one: between two gaps. */
function pointsOf(custom: { drawStyle?: string; showPoints?: string }): uPlot.Series.Points {
  if (custom.drawStyle === 'points' || custom.showPoints === 'always') {
    return { show: true };
  }
  if (custom.drawStyle === 'bars') {
    return { show: false };
  }
  return {
    show: true,
    filter: (plot, series) => {
      const values = plot.data[series] as Array<number | null | undefined>;
      const there = values.flatMap((v, i) => (typeof v === 'number' ? [i] : []));
      const breaks = (from: number, to: number) => values.slice(from + 1, to).some((v) => v === null);
      return there.filter((at, i) => {
        const [before, after] = [there[i - 1], there[i + 1]];
        return (before === undefined || breaks(before, at)) && (after === undefined || breaks(at, after));
      });
    },
  };
}

/** Times of day; the date where a day begins. */
function clock(seconds: number[]): string[] {
  return seconds.map((s) => {
    const iso = new Date(s * 1000).toISOString();
    return s % 86400 === 0 ? iso.slice(5, 10) : s % 60 === 0 ? iso.slice(11, 16) : iso.slice(11, 19);
  });
}

function pathsOf(custom: { drawStyle?: string; lineInterpolation?: string }): uPlot.Series.PathBuilder | undefined {
  switch (true) {
    case custom.drawStyle === 'bars':
      return uPlot.paths.bars!({ size: [0.8, 60], align: 1 });
    case custom.drawStyle === 'points':
      return () => null;
    case custom.lineInterpolation === 'stepAfter':
      return uPlot.paths.stepped!({ align: 1 });
    case custom.lineInterpolation === 'stepBefore':
      return uPlot.paths.stepped!({ align: -1 });
    case custom.lineInterpolation === 'smooth':
      return uPlot.paths.spline!();
    default:
      return uPlot.paths.linear!();
  }
}

function translucent(color: string, alpha: number, theme: GrafanaTheme2): string {
  const context = document.createElement('canvas').getContext('2d')!;
  context.fillStyle = theme.visualization.getColorByName(color);
  const hex = context.fillStyle;
  return `${hex}${Math.round(alpha * 255)
    .toString(16)
    .padStart(2, '0')}`;
}

function drawMarks(plot: uPlot, marks: Mark[]) {
  const { ctx, bbox } = plot;
  ctx.save();
  for (const mark of marks) {
    const x = plot.valToPos(mark.time / 1000, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) {
      continue;
    }
    ctx.strokeStyle = mark.color;
    ctx.globalAlpha = 0.6;
    ctx.setLineDash([3, 4]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
