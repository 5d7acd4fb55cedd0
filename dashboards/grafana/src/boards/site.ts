import { happenings } from '../annotations';
import { rows, series, total } from '../ask';
import { board } from '../board';
import * as columns from '../columns';
import * as limit from '../limits';
import { column, dataLink, headLink, label } from '../links';
import { account, component, limit as against } from '../palette';
import { bars, lines, stat, table } from '../panels';
import { many, one, source } from '../variables';

const where = ['site', 'rack', 'model'] as const;

export const site = board({
  board: 'site',
  title: 'Site',
  description: 'One data centre: its racks and nodes, its hours, its PUE, and who works there.',
  from: 'now-6h',
  refresh: '30s',
  variables: [source(), one('site'), many('rack', 'site'), many('model', 'site')],
  annotations: [
    happenings('xid', ['site'], true),
    happenings('incident', ['site'], false),
    happenings('violation', ['site'], true),
    happenings('closing', ['site'], false),
    happenings('adjustment', ['site'], false),
  ],
  links: [
    headLink('Fleet', 'fleet', 'All sites'),
    headLink('Node', 'node', 'One node of this site'),
    headLink('Ledger', 'ledger', 'Hours and quality of the data'),
  ],
  rows: [
    {
      title: 'Is something wrong here now?',
      panels: [
        stat({
          title: 'How many GPUs answer?',
          description: 'Devices of which a reading came, from the sums per node beside the rollups.',
          w: 4,
          asks: [series('fleet', 'devices', { where: [...where] })],
        }),
        stat({
          title: 'What does it draw?',
          description:
            'Power of its devices together, mean of each step. CPUs, fans, network and cooling come on top: the panel of components has them as energy.',
          w: 4,
          asks: [series('fleet', 'power', { where: [...where] })],
        }),
        stat({
          title: 'How fresh is it?',
          description: 'Now less the latest tick stored of this site.',
          w: 4,
          asks: [total('pipeline', 'age', { where: ['site'] })],
          limits: limit.age,
        }),
        stat({
          title: 'How hot is the hottest?',
          description: 'The highest temperature of any GPU of the site, by step.',
          w: 4,
          asks: [series('fleet', 'gpu_temp', { where: [...where] })],
          limits: limit.gpuTemp,
        }),
        stat({
          title: 'Hours not closed',
          description:
            'Hours that are over and have no seal. An hour closes when every node of the inventory, and the sources of allocations and readings, say that they are complete; wattledger status names who is waited for.',
          w: 4,
          asks: [total('ledger', 'open_hours', { where: ['site'] })],
          limits: limit.openHours,
        }),
        stat({
          title: 'What is the PUE?',
          description:
            'All energy of the closed hours over that of IT (ISO/IEC 30134-2), from the site’s meters, or modelled where there are none. Over less than a year it is an interim value.',
          w: 4,
          asks: [total('energy', 'pue', { where: ['site'], closedOnly: true })],
          limits: limit.pue,
          decimals: 3,
        }),
      ],
    },
    {
      title: 'Where?',
      panels: [
        table({
          title: 'Which node needs somebody?',
          description:
            'One row per node over the range: devices read, mean power, hottest GPU, share of time slowed by heat, ticks read over ticks expected. Click a node.',
          w: 14,
          h: 10,
          asks: [
            rows('fleet', 'devices', { by: ['node'], where: [...where], limit: 200 }),
            rows('fleet', 'power', { by: ['node'], where: [...where], limit: 200 }),
            rows('fleet', 'gpu_temp', { by: ['node'], where: [...where], limit: 200 }),
            rows('fleet', 'throttled_thermal', { by: ['node'], where: [...where], limit: 200 }),
            rows('fleet', 'coverage', { by: ['node'], where: [...where], limit: 200 }),
          ],
          merge: true,
          show: ['node', 'devices', 'power', 'gpu_temp', 'throttled_thermal', 'coverage'],
          columns: columns.sites,
        }),
        bars({
          title: 'Which rack draws most?',
          description: 'Mean power of the devices of each rack over the range. Click a bar for the nodes of the rack.',
          w: 10,
          h: 10,
          asks: [rows('fleet', 'power', { by: ['rack'], where: [...where], limit: 20 })],
          links: [dataLink('Nodes of the rack', 'node', { rack: column('rack') })],
        }),
      ],
    },
    {
      title: 'Since when?',
      panels: [
        lines({
          title: 'Power by rack, under the limits in force',
          description:
            'Stacked power of the devices of each rack; the dashed line is the sum of the power limits. A rack that steps down has lost work or a feed.',
          w: 12,
          asks: [series('fleet', 'power', { by: ['rack'], where: [...where] }), series('fleet', 'power_limit', { where: [...where] })],
          stack: true,
          against: { 1: against },
          min: 0,
        }),
        lines({
          title: 'Hottest GPU of each node',
          description:
            'Highest GPU temperature of each step, the ten hottest nodes. Neighbours that rise together share a cooling loop. Click a point for the node.',
          w: 12,
          asks: [series('fleet', 'gpu_temp', { by: ['node'], where: [...where], limit: 10 })],
          limits: limit.gpuTemp,
          links: [dataLink('Node ${__field.labels.node}', 'node', { node: label('node') })],
        }),
      ],
    },
    {
      title: 'What is it about?',
      panels: [
        lines({
          title: 'Heat, or the power cap?',
          description: 'Share of time below requested clocks, by cause, mean over the site’s devices.',
          w: 6,
          asks: [series('fleet', 'throttled_power', { where: [...where] }), series('fleet', 'throttled_thermal', { where: [...where] })],
          min: 0,
        }),
        lines({
          title: 'Did the load change?',
          description: 'Shares of time with work on an SM, on a tensor pipe and on device memory, mean over the site’s devices.',
          w: 6,
          asks: [
            series('fleet', 'sm_active', { where: [...where] }),
            series('fleet', 'tensor_active', { where: [...where] }),
            series('fleet', 'dram_active', { where: [...where] }),
          ],
          min: 0,
          max: 1,
        }),
        table({
          title: 'What happened last?',
          description: 'Newest first: XIDs, incidents, violations, closings and adjustments of the site.',
          w: 12,
          asks: [rows('events', 'all', { where: ['site'], limit: 50 })],
          show: ['time', 'event', 'node', 'text'],
          columns: columns.happened,
        }),
      ],
    },
    {
      title: 'Who is affected?',
      panels: [
        table({
          title: 'Who works here?',
          description: 'From the ledger, closed hours of the range: device-hours, energy and carbon of each tenant at this site.',
          w: 12,
          asks: [
            rows('usage', 'summary', { by: ['tenant'], where: ['site', 'model'], closedOnly: true, limit: 50 }),
            rows('usage', 'held_idle_share', { by: ['tenant'], where: ['site', 'model'], closedOnly: true, limit: 50 }),
          ],
          merge: true,
          show: ['tenant', 'device_time', 'held_idle_share', 'sm_active', 'energy', 'carbon_location'],
          columns: columns.summary,
        }),
        lines({
          title: 'Device-hours by account',
          description:
            'From the ledger, by hour: held and used, held and idle, held by nobody. Hours that are not closed yet are estimated, paler, and named provisional.',
          w: 6,
          asks: [series('usage', 'device_time', { by: ['account'], where: ['site', 'model'] })],
          bars: true,
          stack: true,
          colours: account,
          min: 0,
        }),
        lines({
          title: 'Where does its energy go?',
          description:
            'From the ledger, by hour: GPUs, CPUs, the rest of the nodes, shared network and storage, and cooling and losses of the facility.',
          w: 6,
          asks: [series('energy', 'total', { by: ['component'], where: ['site', 'model'] })],
          bars: true,
          stack: true,
          colours: component,
          min: 0,
        }),
      ],
    },
  ],
});
