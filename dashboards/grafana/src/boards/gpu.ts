import { happenings } from '../annotations';
import { rows, series, total } from '../ask';
import { board } from '../board';
import * as columns from '../columns';
import * as limit from '../limits';
import { headLink } from '../links';
import { limit as against } from '../palette';
import { lines, stat, table } from '../panels';
import { many, one, source } from '../variables';

const where = ['device'] as const;

export const gpu = board({
  board: 'gpu',
  title: 'GPU',
  description: 'One GPU, or one MIG instance of one: power, heat, clocks, activity, links, errors, and whose account its hours are on.',
  from: 'now-1h',
  refresh: '10s',
  variables: [source(), many('site'), many('node', 'site'), one('device', 'site', 'node')],
  annotations: [
    happenings('xid', ['device'], true),
    happenings('incident', ['device'], true),
    happenings('violation', ['device'], false),
    happenings('closing', ['site'], false),
    happenings('adjustment', ['device'], false),
  ],
  links: [headLink('Node', 'node', 'The node that it is in'), headLink('Ledger', 'ledger', 'How its figures came about')],
  rows: [
    {
      title: 'Is something wrong with it?',
      panels: [
        stat({
          title: 'What does it draw?',
          description: 'Mean power of each step, from its energy counter.',
          w: 4,
          asks: [series('device', 'power', { where: [...where] })],
        }),
        stat({
          title: 'How hot is it?',
          description: 'GPU temperature, highest of each step.',
          w: 4,
          asks: [series('device', 'gpu_temp', { where: [...where] })],
          limits: limit.gpuTemp,
        }),
        stat({
          title: 'Is it slowed by heat?',
          description: 'Share of time below requested clocks because of temperature, from the driver’s counters of nanoseconds.',
          w: 4,
          asks: [series('device', 'throttled_thermal', { where: [...where] })],
          limits: limit.thermal,
          decimals: 2,
        }),
        stat({
          title: 'Is every tick read?',
          description: 'Ticks read over ticks expected in the range.',
          w: 4,
          asks: [total('device', 'coverage', { where: [...where] })],
          limits: limit.coverage,
          decimals: 2,
        }),
        stat({
          title: 'Did memory lose data?',
          description: 'Uncorrected (double-bit) memory errors that came in the range.',
          w: 4,
          asks: [total('device', 'ecc_dbe', { where: [...where] })],
          limits: limit.none,
        }),
        stat({
          title: 'Counter against power',
          description: 'The energy counter against the integral of power, difference over the counter, from the closed hours of the range.',
          w: 4,
          asks: [total('coverage', 'second_opinion', { where: [...where], closedOnly: true })],
          limits: limit.secondOpinion,
          decimals: 2,
        }),
      ],
    },
    {
      title: 'Since when?',
      panels: [
        lines({
          title: 'Power: mean, peak, and the limit in force',
          description: 'Mean and highest power of each step; the dashed line is the limit. A mean at the limit is a GPU that is capped.',
          w: 12,
          asks: [
            series('device', 'power', { where: [...where] }),
            series('device', 'power_max', { where: [...where] }),
            series('device', 'power_limit', { where: [...where] }),
          ],
          against: { 2: against },
          min: 0,
        }),
        lines({
          title: 'Heat of chip and memory',
          description: 'Highest temperature of GPU and HBM of each step. The lines of warning are the GPU’s.',
          w: 12,
          asks: [series('device', 'gpu_temp', { where: [...where] }), series('device', 'memory_temp', { where: [...where] })],
          limits: limit.gpuTemp,
        }),
      ],
    },
    {
      title: 'What is it about?',
      panels: [
        lines({
          title: 'What does it work on?',
          description:
            'Shares of time: an SM had work, a tensor pipe was active, memory moved, the engine was busy; and resident warps over the most there can be. Busy engine with idle SMs is waiting; busy SMs with idle tensor pipes is not what the GPU was bought for.',
          w: 12,
          asks: [
            series('device', 'sm_active', { where: [...where] }),
            series('device', 'sm_occupancy', { where: [...where] }),
            series('device', 'tensor_active', { where: [...where] }),
            series('device', 'dram_active', { where: [...where] }),
            series('device', 'gr_engine_active', { where: [...where] }),
          ],
          min: 0,
          max: 1,
        }),
        lines({
          title: 'Is it held back?',
          description: 'Share of time below requested clocks, because of the power cap and because of temperature.',
          w: 6,
          asks: [series('device', 'throttled_power', { where: [...where] }), series('device', 'throttled_thermal', { where: [...where] })],
          min: 0,
        }),
        lines({
          title: 'How fast does it run?',
          description: 'Lowest SM and memory clock of each step, so that a short slowdown is seen on a long range as well.',
          w: 6,
          asks: [series('device', 'sm_clock', { where: [...where] }), series('device', 'memory_clock', { where: [...where] })],
          min: 0,
        }),
        lines({
          title: 'How full is its memory?',
          description: 'Device memory in use, highest of each step.',
          w: 6,
          asks: [series('device', 'memory_used', { where: [...where] })],
          min: 0,
        }),
        lines({
          title: 'What goes over its links?',
          description: 'Bytes per second sent and received over NVLink and PCIe.',
          w: 6,
          asks: [
            series('device', 'nvlink_tx', { where: [...where] }),
            series('device', 'nvlink_rx', { where: [...where] }),
            series('device', 'pcie_tx', { where: [...where] }),
            series('device', 'pcie_rx', { where: [...where] }),
          ],
          min: 0,
        }),
        lines({
          title: 'Which XID did it report?',
          description:
            'The last XID of each step; 0 is none. XIDs are NVIDIA’s numbers of errors: those that need somebody have an alert and a runbook.',
          w: 6,
          asks: [series('device', 'xid', { where: [...where] })],
          dots: true,
          min: 0,
        }),
        lines({
          title: 'Which errors does it count?',
          description: 'Corrected and uncorrected memory errors and PCIe replays that came in each step.',
          w: 6,
          asks: [
            series('device', 'ecc_sbe', { where: [...where] }),
            series('device', 'ecc_dbe', { where: [...where] }),
            series('device', 'pcie_replays', { where: [...where] }),
          ],
          bars: true,
          min: 0,
        }),
      ],
    },
    {
      title: 'Who is affected?',
      panels: [
        table({
          title: 'What stands in the ledger about it?',
          description:
            'The entries of its closed hours: who held it, energy by component, carbon. Click an entry for how it came about, to the millijoule.',
          w: 24,
          asks: [rows('ledger', 'entries', { where: [...where], limit: 100 })],
          show: [
            'hour',
            'entry',
            'account',
            'tenant',
            'workload',
            'device_time',
            'energy',
            'gpu',
            'carbon_location',
            'carbon_market',
            'flags',
          ],
          columns: columns.lines,
        }),
      ],
    },
  ],
});
