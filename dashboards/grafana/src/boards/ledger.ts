import { happenings } from '../annotations';
import { rows, series, total } from '../ask';
import { board } from '../board';
import * as columns from '../columns';
import * as limit from '../limits';
import { dataLink, headLink, label } from '../links';
import { lines, stat, table } from '../panels';
import { rising } from '../thresholds';
import { many, one, source } from '../variables';

const toNode = [dataLink('Node ${__field.labels.node}', 'node', { node: label('node') })];

export const ledger = board({
  board: 'ledger',
  title: 'Ledger and data quality',
  description:
    'Whether the figures can be trusted: hours closed, what is missing or estimated, what was corrected, and how one figure came about.',
  from: 'now-24h',
  refresh: '1m',
  variables: [
    source(),
    many('site'),
    many('node', 'site'),
    many('tenant', 'site'),
    one('entry', 'site', 'node', 'tenant').allowCustomValue(true),
  ],
  annotations: [
    happenings('closing', ['site'], true),
    happenings('adjustment', ['site'], true),
    happenings('incident', ['site'], false),
    happenings('xid', ['site'], false),
  ],
  links: [headLink('Pipeline', 'pipeline', 'Whether data arrive'), headLink('Energy and carbon', 'energy', 'What the figures say')],
  rows: [
    {
      title: 'Can the figures be trusted now?',
      panels: [
        stat({
          title: 'Hours not closed',
          description: 'Hours that are over and have no seal.',
          w: 4,
          asks: [rows('ledger', 'open_hours', { by: ['site'], where: ['site'] })],
          limits: limit.openHours,
        }),
        stat({
          title: 'Is every moment covered?',
          description: 'Time between two readings over time expected, closed hours of the range.',
          w: 4,
          asks: [total('coverage', 'coverage', { where: ['site', 'node'], closedOnly: true })],
          limits: limit.coverage,
          decimals: 2,
        }),
        stat({
          title: 'How much is estimated?',
          description: 'Share of energy that is estimated from power, as a counter fell or stood still.',
          w: 4,
          asks: [total('coverage', 'estimated_share', { where: ['site', 'node'], closedOnly: true })],
          limits: rising(
            { at: 0.0001, level: 'look', why: 'counters began anew while power was read: look for resets' },
            { at: 0.01, level: 'broken', why: 'one part in a hundred is a guess' }
          ),
          decimals: 3,
        }),
        stat({
          title: 'Out of place in time',
          description:
            'Share of energy that is measured and whose place in time is interpolated, as readings around an edge lie more than three periods apart.',
          w: 4,
          asks: [total('coverage', 'interpolated_share', { where: ['site', 'node'], closedOnly: true })],
          limits: rising({
            at: 0.01,
            level: 'look',
            why: 'gaps are moving energy between tenants or hours, within the bounds that each entry states',
          }),
          decimals: 3,
        }),
        stat({
          title: 'Counter against power',
          description: 'The energy counters against the integral of power, difference over the counters.',
          w: 4,
          asks: [total('coverage', 'second_opinion', { where: ['site', 'node'], closedOnly: true })],
          limits: limit.secondOpinion,
          decimals: 2,
        }),
        stat({
          title: 'How much was corrected?',
          description: 'Energy that adjustments moved in the range, up and down added up. 0 says that nothing came late.',
          w: 4,
          asks: [total('ledger', 'adjusted_energy', { where: ['site', 'tenant'] })],
        }),
      ],
    },
    {
      title: 'Which hours?',
      panels: [
        table({
          title: 'How did each hour close?',
          description:
            'One row per site and hour: closed or open, the batch, complete or by lateness, entries, adjustments booked since, and the seal’s root. A closed hour never changes: what comes late is an adjustment.',
          w: 14,
          h: 9,
          asks: [rows('ledger', 'hours', { where: ['site'], limit: 500 })],
          show: ['site', 'hour', 'seal', 'state', 'closing', 'entries', 'adjusting_batches', 'energy', 'closing_delay'],
          columns: { closing: { colours: { complete: 'green', lateness: 'orange' } }, seal: { width: 110 } },
        }),
        lines({
          title: 'How long after its end was an hour sealed?',
          description: 'From the end of the hour to its seal, by site. In a replay or a demo hours close long after they were.',
          w: 10,
          h: 9,
          asks: [series('ledger', 'closing_delay', { by: ['site'], where: ['site'] })],
          dots: true,
          min: 0,
        }),
      ],
    },
    {
      title: 'What is missing, and where?',
      panels: [
        lines({
          title: 'How much time is covered?',
          description: 'Time between two readings over time expected, by hour and site.',
          w: 8,
          asks: [series('coverage', 'coverage', { by: ['site'], where: ['site', 'node'] })],
          limits: limit.coverage,
          max: 1,
        }),
        lines({
          title: 'Which nodes miss ticks?',
          description:
            'Ticks expected and not read, by hour, the ten nodes with the most; the others are summed. Click a bar for the node.',
          w: 8,
          asks: [series('coverage', 'ticks_missing', { by: ['node'], where: ['site', 'node'], limit: 10 })],
          bars: true,
          stack: true,
          links: toNode,
          min: 0,
        }),
        lines({
          title: 'Counters that began anew, clocks that were set',
          description:
            'By hour. A reset is expected after somebody reset a GPU or loaded a driver; a clock that steps is a machine without time.',
          w: 8,
          asks: [series('coverage', 'resets', { where: ['site', 'node'] }), series('coverage', 'clock_steps', { where: ['site', 'node'] })],
          bars: true,
          min: 0,
        }),
        table({
          title: 'Which device-hours have a flag?',
          description: 'What is wrong with which device-hour, in the words of docs/accounting.md.',
          w: 12,
          asks: [rows('coverage', 'lines', { where: ['site', 'node'], limit: 200 })],
          show: ['hour', 'node', 'device', 'flags', 'coverage'],
          columns: { ...columns.ids, flags: { width: 240 } },
        }),
        table({
          title: 'What closed, what was corrected?',
          description: 'Newest first: closings and adjustments, each with its batch.',
          w: 12,
          asks: [rows('events', 'all', { where: ['site'], only: { event: ['closing', 'adjustment'] }, limit: 100 })],
          show: ['time', 'event', 'site', 'text'],
          columns: columns.happened,
        }),
      ],
    },
    {
      title: 'How did one figure come about?',
      panels: [
        table({
          title: 'Which entries are there?',
          description: 'The lines of the ledger with their ids, closed hours of the range. Click an entry, and it is explained below.',
          w: 24,
          h: 9,
          asks: [rows('ledger', 'entries', { where: ['site', 'node', 'tenant'], limit: 200 })],
          show: ['hour', 'entry', 'node', 'device', 'account', 'tenant', 'device_time', 'energy', 'carbon_location'],
          columns: columns.lines,
        }),
        table({
          title: 'How entry $entry came about',
          description:
            'Each figure of the entry with its source, the cuts it rests on, and the seal that holds it. The whole arithmetic, to the millijoule: wattledger ledger explain with the same id.',
          w: 24,
          h: 12,
          asks: [rows('ledger', 'explain', { where: ['entry'] })],
          links: [],
          columns: { figure: {}, value: {}, exact: {}, exact_unit: {}, source: { width: 600 } },
        }),
      ],
    },
  ],
});
