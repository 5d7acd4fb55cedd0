import { happenings } from '../annotations';
import { rows, series, total } from '../ask';
import { board } from '../board';
import * as columns from '../columns';
import * as limit from '../limits';
import { headLink } from '../links';
import { account, carbon, verdict } from '../palette';
import { bars, lines, stat, table } from '../panels';
import { many, one, source } from '../variables';

const where = ['tenant', 'site', 'project', 'model_id'] as const;

export const tenant = board({
  board: 'tenant',
  title: 'Tenant',
  description: 'What one tenant held, used and caused. A tenant whose data source has its scope sees this with nobody else’s figures.',
  from: 'now-24h',
  refresh: '1m',
  variables: [source(), one('tenant'), many('site', 'tenant'), many('project', 'tenant'), many('model_id', 'tenant', 'project')],
  annotations: [happenings('violation', ['site'], true), happenings('closing', ['site'], false), happenings('adjustment', ['site'], true)],
  links: [
    headLink('Energy and carbon', 'energy', 'The same tenant’s energy in detail'),
    headLink('Sovereignty', 'sovereignty', 'Where its work may run'),
  ],
  rows: [
    {
      title: 'Does it get what it holds?',
      panels: [
        stat({
          title: 'How much did it hold?',
          description: 'Device-hours of the closed hours in the range: time × part of the device. A GPU held whole for an hour is one.',
          w: 4,
          asks: [total('usage', 'device_time', { where: [...where], closedOnly: true })],
        }),
        stat({
          title: 'How much did nothing?',
          description: 'Share of held time in which SMs were active for less than the idle limit (1 % unless configured otherwise).',
          w: 4,
          asks: [total('usage', 'held_idle_share', { where: [...where], closedOnly: true })],
          limits: limit.heldIdle,
        }),
        stat({
          title: 'How busy were its GPUs?',
          description: 'Share of held time with work on an SM, from activity integrated on the node.',
          w: 4,
          asks: [total('usage', 'sm_active', { where: [...where], closedOnly: true })],
        }),
        stat({
          title: 'How much energy?',
          description: 'Energy of all components on its entries, closed hours of the range: what it held, whether used or idle.',
          w: 4,
          asks: [total('energy', 'total', { where: [...where], closedOnly: true })],
        }),
        stat({
          title: 'CO₂e by the grid',
          description: 'Location-based (GHG Protocol, Scope 2), closed hours of the range, without the hardware’s own.',
          w: 4,
          asks: [total('carbon', 'location', { where: [...where], closedOnly: true })],
        }),
        stat({
          title: 'How much is unmeasured?',
          description: 'Share of its energy that is estimated or modelled instead of metered; the rest is measured.',
          w: 4,
          asks: [total('energy', 'unmeasured_share', { where: [...where], closedOnly: true })],
          limits: limit.unmeasured,
        }),
      ],
    },
    {
      title: 'Where, and what for?',
      panels: [
        lines({
          title: 'Device-hours by GPU model',
          description: 'From the ledger, by hour. Hours that are not closed yet are estimated, paler, and named provisional.',
          w: 12,
          asks: [series('usage', 'device_time', { by: ['model'], where: [...where] })],
          bars: true,
          stack: true,
          min: 0,
        }),
        bars({
          title: 'Which AI models took the energy?',
          description: 'Energy of all components by the model id that the scheduler stated, closed hours of the range, the ten largest.',
          w: 12,
          asks: [rows('energy', 'total', { by: ['model_id'], where: [...where], limit: 10, closedOnly: true })],
        }),
      ],
    },
    {
      title: 'Since when?',
      panels: [
        lines({
          title: 'Is what it holds in use?',
          description: 'Share of held time with work on an SM, and share of held time under the idle limit, by hour.',
          w: 12,
          asks: [series('usage', 'sm_active', { where: [...where] }), series('usage', 'held_idle_share', { where: [...where] })],
          min: 0,
          max: 1,
        }),
        lines({
          title: 'Energy: used, and held idle',
          description:
            'From the ledger, by hour and account. What is held idle is billed like the rest unless the contract says otherwise.',
          w: 12,
          asks: [series('energy', 'total', { by: ['account'], where: [...where] })],
          bars: true,
          stack: true,
          colours: account,
          min: 0,
        }),
      ],
    },
    {
      title: 'What is it about?',
      panels: [
        table({
          title: 'Which projects are they?',
          description: 'One row per project, closed hours of the range: device-hours, held idle, energy, carbon, activity.',
          w: 12,
          asks: [
            rows('usage', 'summary', { by: ['project'], where: [...where], closedOnly: true, limit: 100 }),
            rows('usage', 'held_idle_share', { by: ['project'], where: [...where], closedOnly: true, limit: 100 }),
          ],
          merge: true,
          show: ['project', 'device_time', 'held_idle_share', 'sm_active', 'energy', 'carbon_location'],
          columns: columns.summary,
        }),
        lines({
          title: 'CO₂e, counted in both ways',
          description:
            'Location-based by the grid of the hour, market-based by the contracts of the site: two ways to count the same electricity, never added. Embodied is the hardware’s part.',
          w: 12,
          asks: [
            series('carbon', 'location', { where: [...where] }),
            series('carbon', 'market', { where: [...where] }),
            series('carbon', 'embodied', { where: [...where] }),
          ],
          colours: carbon,
          min: 0,
        }),
        table({
          title: 'What does it hold, or held?',
          description: 'Its allocations that overlap the range, as the scheduler stated them. Click a node or a GPU.',
          w: 12,
          asks: [rows('inventory', 'allocations', { where: ['tenant', 'site', 'project', 'model_id'], limit: 200 })],
          show: ['site', 'node', 'device', 'share', 'from', 'to'],
          columns: columns.ids,
        }),
        table({
          title: 'Did it run where it may?',
          description: 'Where its device-hours ran, under whose control, and whether its policy allows it.',
          w: 12,
          asks: [rows('sovereignty', 'matrix', { where: ['tenant', 'site'] })],
          show: ['site', 'country', 'operator', 'allowed_countries', 'verdict', 'device_time'],
          columns: { verdict: { colours: verdict } },
        }),
      ],
    },
    {
      title: 'How did a figure come about?',
      panels: [
        table({
          title: 'Which entries are behind it?',
          description:
            'The lines of the ledger with their ids, closed hours of the range. Click an entry for how it came about, to the millijoule.',
          w: 24,
          asks: [rows('ledger', 'entries', { where: [...where], limit: 200 })],
          show: ['hour', 'entry', 'site', 'node', 'device', 'account', 'project', 'model_id', 'device_time', 'energy', 'carbon_location'],
          columns: columns.lines,
        }),
      ],
    },
  ],
});
