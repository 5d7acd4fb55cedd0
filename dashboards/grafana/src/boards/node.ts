import { happenings } from '../annotations';
import { rows, series, total } from '../ask';
import { board } from '../board';
import * as columns from '../columns';
import * as limit from '../limits';
import { dataLink, headLink, label } from '../links';
import { component, limit as against } from '../palette';
import { lines, stat, table } from '../panels';
import { many, one, source } from '../variables';

const toGpu = [dataLink('GPU ${__field.labels.device}', 'gpu', { device: label('device') })];

export const node = board({
  board: 'node',
  title: 'Rack and node',
  description: 'One node of a rack, GPU by GPU: what each draws, how hot it is, what slows it, and who holds it.',
  from: 'now-3h',
  refresh: '10s',
  variables: [source(), many('site'), many('rack', 'site'), one('node', 'site', 'rack')],
  annotations: [
    happenings('xid', ['node'], true),
    happenings('incident', ['node'], true),
    happenings('violation', ['node'], false),
    happenings('closing', ['site'], false),
    happenings('adjustment', ['node'], false),
  ],
  links: [headLink('Site', 'site', 'The whole site'), headLink('GPU', 'gpu', 'One GPU of this node')],
  rows: [
    {
      title: 'Is something wrong with it?',
      panels: [
        stat({
          title: 'How many GPUs answer?',
          description:
            'Devices of the node of which a reading came, from its sums beside the rollups. The inventory says how many there should be.',
          w: 4,
          asks: [series('fleet', 'devices', { where: ['node'] })],
        }),
        stat({
          title: 'What does it draw?',
          description: 'Power of the node’s devices together, mean of each step.',
          w: 4,
          asks: [series('fleet', 'power', { where: ['node'] })],
        }),
        stat({
          title: 'How hot is the hottest?',
          description: 'The highest GPU temperature of each step.',
          w: 4,
          asks: [series('fleet', 'gpu_temp', { where: ['node'] })],
          limits: limit.gpuTemp,
        }),
        stat({
          title: 'Is it slowed by heat?',
          description: 'Share of time below requested clocks because of temperature, mean over the node’s devices.',
          w: 4,
          asks: [series('fleet', 'throttled_thermal', { where: ['node'] })],
          limits: limit.thermal,
          decimals: 2,
        }),
        stat({
          title: 'Is every tick read?',
          description: 'Ticks read over ticks expected in the range, as the node’s collector counts them.',
          w: 4,
          asks: [total('fleet', 'coverage', { where: ['node'] })],
          limits: limit.coverage,
          decimals: 2,
        }),
        stat({
          title: 'Did memory lose data?',
          description: 'Uncorrected (double-bit) memory errors that came in the range.',
          w: 4,
          asks: [total('fleet', 'ecc_dbe', { where: ['node'] })],
          limits: limit.none,
        }),
      ],
    },
    {
      title: 'Which GPU?',
      panels: [
        table({
          title: 'How is each GPU now?',
          description:
            'The last reading of each device: place, who holds it, power, temperatures, activity, memory, and when it was. MIG instances have rows of their own; power and temperature on them are the whole GPU’s. Click a GPU or a tenant.',
          w: 24,
          h: 9,
          asks: [rows('device', 'now', { where: ['node'] })],
          show: [
            'index',
            'device',
            'model',
            'tenant',
            'power',
            'power_limit',
            'gpu_temp',
            'memory_temp',
            'sm_active',
            'tensor_active',
            'memory_used',
            'last_tick',
          ],
          columns: {
            gpu_temp: { limits: limit.gpuTemp, unit: 'celsius' },
            memory_temp: { limits: limit.memoryTemp, unit: 'celsius' },
            sm_active: { gauge: 1, unit: 'percentunit' },
          },
        }),
      ],
    },
    {
      title: 'Since when?',
      panels: [
        lines({
          title: 'Power of each GPU, under the limits in force',
          description:
            'Stacked mean power of the node’s GPUs, and of its CPUs where their power is read; the dashed line is the sum of the limits of the GPUs.',
          w: 12,
          asks: [series('device', 'power', { by: ['device'], where: ['node'] }), series('fleet', 'power_limit', { where: ['node'] })],
          stack: true,
          against: { 1: against },
          links: toGpu,
          min: 0,
        }),
        lines({
          title: 'Temperature of each GPU',
          description:
            'Highest GPU temperature of each step. One that stands out alone is dust or a loose cold plate; all together are the rack’s cooling.',
          w: 12,
          asks: [series('device', 'gpu_temp', { by: ['device'], where: ['node'] })],
          limits: limit.gpuTemp,
          links: toGpu,
        }),
      ],
    },
    {
      title: 'What is it about?',
      panels: [
        lines({
          title: 'Which GPUs work?',
          description: 'Share of time with work on an SM, by device. A GPU of a job that falls behind the others is the straggler.',
          w: 8,
          asks: [series('device', 'sm_active', { by: ['device'], where: ['node'] })],
          links: toGpu,
          min: 0,
          max: 1,
        }),
        lines({
          title: 'Heat, or the power cap?',
          description: 'Share of time below requested clocks, by cause, mean over the node’s devices.',
          w: 8,
          asks: [series('fleet', 'throttled_power', { where: ['node'] }), series('fleet', 'throttled_thermal', { where: ['node'] })],
          min: 0,
        }),
        lines({
          title: 'What goes over its links?',
          description: 'Bytes per second over NVLink and over PCIe, both ways, all devices together, from counters integrated on the node.',
          w: 8,
          asks: [series('fleet', 'nvlink', { where: ['node'] }), series('fleet', 'pcie', { where: ['node'] })],
          min: 0,
        }),
        table({
          title: 'What happened last?',
          description: 'Newest first: XIDs, incidents and what the ledger booked about this node.',
          w: 12,
          asks: [rows('events', 'all', { where: ['node'], limit: 50 })],
          show: ['time', 'event', 'device', 'text'],
          columns: columns.happened,
        }),
        lines({
          title: 'Where does its energy go?',
          description:
            'From the ledger, by hour: GPUs, CPUs, the rest of the node by its meter or as declared, and its part of what the site shares.',
          w: 12,
          asks: [series('energy', 'total', { by: ['component'], where: ['node'] })],
          bars: true,
          stack: true,
          colours: component,
          min: 0,
        }),
      ],
    },
    {
      title: 'Who is affected?',
      panels: [
        table({
          title: 'Who holds or held its GPUs?',
          description: 'Allocations that overlap the range, as the scheduler stated them.',
          w: 24,
          asks: [rows('inventory', 'allocations', { where: ['node'], limit: 200 })],
          show: ['device', 'share', 'tenant', 'project', 'workload', 'model_id', 'purpose', 'from', 'to'],
          columns: columns.ids,
        }),
      ],
    },
  ],
});
