import { happenings, kinds } from '../annotations';
import { rows, series, total } from '../ask';
import { board } from '../board';
import * as columns from '../columns';
import * as limit from '../limits';
import { column, dataLink, headLink, label } from '../links';
import { account, eventKind, limit as against } from '../palette';
import { bars, lines, stat, table } from '../panels';
import { many, source } from '../variables';

const where = ['site', 'model'] as const;

const noteworthy = [...kinds.xid, ...kinds.incident, ...kinds.violation, ...kinds.adjustment];

export const fleet = board({
  board: 'fleet',
  title: 'Fleet',
  description: 'All sites at a glance: is something wrong, where, since when, what is it about, and who is affected.',
  from: 'now-6h',
  refresh: '30s',
  variables: [source(), many('site'), many('model', 'site')],
  annotations: [
    happenings('xid', ['site'], true),
    happenings('incident', ['site'], false),
    happenings('violation', ['site'], true),
    happenings('closing', ['site'], false),
    happenings('adjustment', ['site'], false),
  ],
  links: [
    headLink('Energy and carbon', 'energy', 'What the fleet took, and what it caused'),
    headLink('Pipeline', 'pipeline', 'Whether data arrive'),
  ],
  rows: [
    {
      title: 'Is something wrong now?',
      panels: [
        stat({
          title: 'How many GPUs answer?',
          description:
            'Devices of which a reading came, from the sums per node beside the rollups. A step down is a node or a GPU that fell silent: the table of sites says where.',
          w: 4,
          asks: [series('fleet', 'devices', { where: [...where] })],
        }),
        stat({
          title: 'What does it draw?',
          description: 'Power of all devices together, mean of each step, from the sums per node beside the rollups.',
          w: 4,
          asks: [series('fleet', 'power', { where: [...where] })],
        }),
        stat({
          title: 'How fresh is it?',
          description:
            'Now less the latest tick stored, of the site that is furthest behind. The pipeline dashboard says which node it is. A site that was closed down stays here until you choose the others.',
          w: 4,
          asks: [rows('pipeline', 'age', { by: ['site'], where: ['site'] })],
          highest: true,
          limits: limit.age,
        }),
        stat({
          title: 'Is every tick read?',
          description: 'Ticks read over ticks expected in the range, over all devices, as the collectors count them.',
          w: 4,
          asks: [total('fleet', 'coverage', { where: [...where] })],
          limits: limit.coverage,
          decimals: 2,
        }),
        stat({
          title: 'Are GPUs slowed by heat?',
          description:
            'Share of time below requested clocks because of temperature, mean over all devices, from the driver’s counters of nanoseconds.',
          w: 4,
          asks: [series('fleet', 'throttled_thermal', { where: [...where] })],
          limits: limit.thermal,
          decimals: 2,
        }),
        stat({
          title: 'Did memory lose data?',
          description: 'Uncorrected (double-bit) memory errors that came in the range. Each ends the work that it hits.',
          w: 4,
          asks: [total('fleet', 'ecc_dbe', { where: [...where] })],
          limits: limit.none,
        }),
      ],
    },
    {
      title: 'Where?',
      panels: [
        table({
          title: 'Which site needs somebody?',
          description:
            'One row per site over the range: devices read, mean power, hottest GPU, share of time slowed by heat, ticks read over ticks expected. Click a site for its racks and nodes.',
          w: 12,
          asks: [
            rows('fleet', 'devices', { by: ['site'], where: [...where] }),
            rows('fleet', 'power', { by: ['site'], where: [...where] }),
            rows('fleet', 'gpu_temp', { by: ['site'], where: [...where] }),
            rows('fleet', 'throttled_thermal', { by: ['site'], where: [...where] }),
            rows('fleet', 'coverage', { by: ['site'], where: [...where] }),
          ],
          merge: true,
          show: ['site', 'devices', 'power', 'gpu_temp', 'throttled_thermal', 'coverage'],
          columns: columns.sites,
        }),
        bars({
          title: 'Which nodes run hottest?',
          description: 'Highest GPU temperature in the range, the ten hottest nodes. Click a bar for the node.',
          w: 12,
          asks: [rows('fleet', 'gpu_temp', { by: ['node'], where: [...where], limit: 10 })],
          limits: limit.gpuTemp,
          links: [dataLink('Node', 'node', { node: column('node') })],
        }),
      ],
    },
    {
      title: 'Since when?',
      panels: [
        lines({
          title: 'Power by site, under the limits in force',
          description:
            'Stacked power of the devices of each site; the dashed line is the sum of their power limits. What lies between is head-room that can be capped or sold. Click a point for the site.',
          w: 12,
          asks: [series('fleet', 'power', { by: ['site'], where: [...where] }), series('fleet', 'power_limit', { where: [...where] })],
          stack: true,
          against: { 1: against },
          links: [dataLink('Site ${__field.labels.site}', 'site', { site: label('site') })],
          min: 0,
        }),
        lines({
          title: 'Did the load change?',
          description:
            'Shares of time with work on an SM, on a tensor pipe and on device memory, mean over all devices, integrated on the node so that a lost sample loses nothing.',
          w: 12,
          asks: [
            series('fleet', 'sm_active', { where: [...where] }),
            series('fleet', 'tensor_active', { where: [...where] }),
            series('fleet', 'dram_active', { where: [...where] }),
          ],
          min: 0,
          max: 1,
        }),
      ],
    },
    {
      title: 'What is it about?',
      panels: [
        lines({
          title: 'Heat, or the power cap?',
          description: 'Share of time below requested clocks, by cause. The cap is a choice of the operator; heat is a fault of cooling.',
          w: 6,
          asks: [series('fleet', 'throttled_power', { where: [...where] }), series('fleet', 'throttled_thermal', { where: [...where] })],
          min: 0,
        }),
        lines({
          title: 'How often does something happen?',
          description:
            'XIDs, incidents that nodes state, violations and adjustments, counted by kind. Closings are left out, as they come every hour.',
          w: 6,
          asks: [series('events', 'count', { by: ['event'], where: ['site'], only: { event: noteworthy } })],
          bars: true,
          stack: true,
          colours: eventKind,
          min: 0,
        }),
        table({
          title: 'What happened last?',
          description:
            'Newest first: XIDs, incidents and violations. An incident is what a node says of itself; its kinds are explained in docs/sre.md.',
          w: 12,
          asks: [rows('events', 'all', { where: ['site'], only: { event: noteworthy }, limit: 50 })],
          show: ['time', 'event', 'site', 'node', 'text'],
          columns: columns.happened,
        }),
      ],
    },
    {
      title: 'Who is affected?',
      panels: [
        table({
          title: 'What does each tenant hold and use?',
          description:
            'From the ledger, closed hours of the range: device-hours, energy and carbon of each tenant, and how much of what it held did nothing. Click a tenant.',
          w: 16,
          asks: [
            rows('usage', 'summary', { by: ['tenant'], where: [...where], closedOnly: true, limit: 50 }),
            rows('usage', 'held_idle_share', { by: ['tenant'], where: [...where], closedOnly: true, limit: 50 }),
          ],
          merge: true,
          show: ['tenant', 'device_time', 'held_idle_share', 'sm_active', 'energy', 'carbon_location', 'carbon_market', 'unmeasured'],
          columns: columns.summary,
        }),
        lines({
          title: 'Device-hours by account',
          description:
            'From the ledger, by hour: held and used, held and idle, held by nobody, and what no device carries. Hours that are not closed yet are estimated, paler, and named provisional.',
          w: 8,
          asks: [series('usage', 'device_time', { by: ['account'], where: [...where] })],
          bars: true,
          stack: true,
          colours: account,
          min: 0,
          links: [dataLink('Energy of these hours', 'energy', {})],
        }),
      ],
    },
  ],
});
