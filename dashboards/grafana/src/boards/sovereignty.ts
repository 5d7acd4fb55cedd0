import { happenings } from '../annotations';
import { rows, series, total } from '../ask';
import { board } from '../board';
import * as columns from '../columns';
import { headLink } from '../links';
import { verdict } from '../palette';
import { lines, stat, table } from '../panels';
import { rising } from '../thresholds';
import { many, source } from '../variables';

const where = ['site', 'tenant'] as const;

export const sovereignty = board({
  board: 'sovereignty',
  title: 'Sovereignty',
  description:
    'Where each GPU-hour ran, under whose control, and whether its tenant’s policy allows that. The verdicts are those of the audit report.',
  from: 'now-7d',
  refresh: '5m',
  variables: [source(), many('site'), many('tenant')],
  annotations: [happenings('violation', ['site'], true), happenings('closing', ['site'], false), happenings('adjustment', ['site'], false)],
  links: [headLink('Fleet', 'fleet', 'All sites'), headLink('Tenant', 'tenant', 'One tenant')],
  rows: [
    {
      title: 'Did something run where it must not?',
      panels: [
        stat({
          title: 'Device-hours against a policy',
          description: 'Device-hours of closed hours whose verdict is fail: the site’s country is not among those that the tenant allows.',
          w: 6,
          asks: [total('sovereignty', 'device_time', { where: [...where], only: { verdict: ['fail'] }, closedOnly: true })],
          limits: rising({ at: 0.0001, level: 'broken', why: 'any is a breach of the tenant’s policy, and stays in the ledger' }),
        }),
        stat({
          title: 'Device-hours nobody can judge',
          description: 'Device-hours whose verdict is unknown, as the site’s country or the tenant’s policy is not stated.',
          w: 6,
          asks: [total('sovereignty', 'device_time', { where: [...where], only: { verdict: ['unknown'] }, closedOnly: true })],
          limits: rising({ at: 0.0001, level: 'act', why: 'state country and policy in the inventory: an auditor reads unknown as fail' }),
        }),
        stat({
          title: 'Device-hours within policy',
          description: 'Device-hours of closed hours whose verdict is pass.',
          w: 6,
          asks: [total('sovereignty', 'device_time', { where: [...where], only: { verdict: ['pass'] }, closedOnly: true })],
        }),
        stat({
          title: 'How many violations began?',
          description: 'Allocations that began in the range where their tenant does not allow it.',
          w: 6,
          asks: [total('events', 'count', { where: ['site'], only: { event: ['violation'] } })],
          limits: rising({ at: 1, level: 'broken', why: 'each is listed below with its allocation' }),
        }),
      ],
    },
    {
      title: 'Where, and since when?',
      panels: [
        lines({
          title: 'Device-hours by verdict',
          description: 'From the ledger, by hour or day.',
          w: 12,
          asks: [series('sovereignty', 'device_time', { by: ['verdict'], where: [...where], closedOnly: true })],
          bars: true,
          stack: true,
          colours: verdict,
          min: 0,
        }),
        lines({
          title: 'Whose hours failed?',
          description: 'Device-hours with verdict fail, by tenant.',
          w: 12,
          asks: [
            series('sovereignty', 'device_time', { by: ['tenant'], where: [...where], only: { verdict: ['fail'] }, closedOnly: true }),
          ],
          bars: true,
          stack: true,
          // Whoever it is, it is red; the legend and the tooltip tell them apart.
          colours: { '.+': verdict.fail },
          min: 0,
        }),
      ],
    },
    {
      title: 'What is it about?',
      panels: [
        table({
          title: 'Which allocations are they?',
          description: 'Allocations that ran where their tenant does not allow it, with their device-hours and energy.',
          w: 24,
          asks: [rows('sovereignty', 'violations', { where: [...where], limit: 200 })],
          show: [
            'tenant',
            'entry',
            'site',
            'country',
            'allowed_countries',
            'allocation',
            'workload',
            'from',
            'to',
            'device_time',
            'energy',
          ],
          columns: columns.ids,
        }),
      ],
    },
    {
      title: 'Who runs where, under whose control?',
      panels: [
        table({
          title: 'Every tenant at every site',
          description:
            'Country and operator of the site, the countries that the tenant allows, the verdict, device-hours and energy, closed hours of the range.',
          w: 24,
          h: 10,
          asks: [rows('sovereignty', 'matrix', { where: [...where], limit: 500 })],
          show: [
            'tenant',
            'site',
            'country',
            'operator',
            'operator_country',
            'allowed_countries',
            'verdict',
            'entries',
            'device_time',
            'energy',
          ],
          columns: { verdict: { colours: verdict } },
        }),
        table({
          title: 'Who operates the sites?',
          description: 'From the inventory: country, grid zone, operator and the operator’s country, nodes and devices.',
          w: 12,
          asks: [rows('inventory', 'sites', { where: ['site'] })],
          show: ['site', 'country', 'zone', 'operator', 'operator_country', 'nodes', 'gpus'],
        }),
        table({
          title: 'What do the tenants allow?',
          description: 'From the inventory: sector, size class, and allowed countries; none stated allows any.',
          w: 12,
          asks: [rows('inventory', 'tenants', { where: ['tenant'], limit: 200 })],
          show: ['tenant', 'sector', 'size_class', 'country', 'allowed_countries'],
        }),
      ],
    },
  ],
});
