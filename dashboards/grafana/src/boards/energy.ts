import { happenings } from '../annotations';
import { rows, series, total } from '../ask';
import { board } from '../board';
import * as limit from '../limits';
import { column, dataLink, headLink } from '../links';
import { account, carbon, component, provenance } from '../palette';
import { bars, lines, stat, table } from '../panels';
import { many, source } from '../variables';

const where = ['site', 'tenant', 'model'] as const;

export const energy = board({
  board: 'energy',
  title: 'Energy and carbon',
  description:
    'What the fleet took, how much of that is measured, what it caused, and on which factors that rests. All figures are the ledger’s.',
  from: 'now-24h',
  refresh: '1m',
  variables: [source(), many('site'), many('tenant', 'site'), many('model', 'site')],
  annotations: [happenings('closing', ['site'], false), happenings('adjustment', ['site'], true), happenings('violation', ['site'], false)],
  links: [headLink('Ledger', 'ledger', 'How the figures came about'), headLink('Tenant', 'tenant', 'One tenant')],
  rows: [
    {
      title: 'How much is it, and is it measured?',
      panels: [
        stat({
          title: 'How much energy?',
          description:
            'All components of all entries, closed hours of the range: GPUs, CPUs, the rest of the nodes, shared IT and facility.',
          w: 4,
          asks: [total('energy', 'total', { where: [...where], closedOnly: true })],
        }),
        stat({
          title: 'How much is unmeasured?',
          description: 'Share of energy that is estimated (no counter saw it) or modelled (no meter is there).',
          w: 4,
          asks: [total('energy', 'unmeasured_share', { where: [...where], closedOnly: true })],
          limits: limit.unmeasured,
        }),
        stat({
          title: 'CO₂e by the grid',
          description:
            'Location-based (GHG Protocol, Scope 2): energy of each hour × intensity of the grid in that hour. Never added to market-based.',
          w: 4,
          asks: [total('carbon', 'location', { where: [...where], closedOnly: true })],
        }),
        stat({
          title: 'CO₂e by contracts',
          description:
            'Market-based (GHG Protocol, Scope 2): instruments matched by hour or year, the rest at the residual mix. Never added to location-based.',
          w: 4,
          asks: [total('carbon', 'market', { where: [...where], closedOnly: true })],
        }),
        stat({
          title: 'PUE by site',
          description: 'All energy of the closed hours over that of IT (ISO/IEC 30134-2). Over less than a year it is an interim value.',
          w: 4,
          asks: [rows('energy', 'pue', { by: ['site'], where: ['site'], closedOnly: true })],
          limits: limit.pue,
          decimals: 3,
        }),
        stat({
          title: 'How much water?',
          description: 'From the site’s meter, or IT energy × the site’s declared WUE.',
          w: 4,
          asks: [total('carbon', 'water', { where: [...where], closedOnly: true })],
        }),
      ],
    },
    {
      title: 'Where does the energy go?',
      panels: [
        lines({
          title: 'Energy by component',
          description: 'By hour, from the chip outwards. Hours that are not closed yet are estimated, paler, and named provisional.',
          w: 12,
          asks: [series('energy', 'total', { by: ['component'], where: [...where] })],
          bars: true,
          stack: true,
          colours: component,
          min: 0,
        }),
        lines({
          title: 'Energy by whose it is',
          description:
            'By hour and account: used by tenants, held and idle, held by nobody, and what no device carries. The last two are the operator’s own.',
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
      title: 'How sure is it?',
      panels: [
        lines({
          title: 'Measured, estimated, modelled',
          description:
            'The same energy by method: counters and meters; the integral of power where no counter saw it; declared watts and PUE where there is no meter.',
          w: 12,
          asks: [series('energy', 'total', { by: ['provenance'], where: [...where] })],
          bars: true,
          stack: true,
          colours: provenance,
          min: 0,
        }),
        lines({
          title: 'By how much can sensors and models be off?',
          description:
            'Each component times the error of its sensor’s class, added up and not squared away, as sensors err in one direction.',
          w: 12,
          asks: [series('energy', 'uncertainty', { by: ['site'], where: [...where] })],
          bars: true,
          stack: true,
          min: 0,
        }),
      ],
    },
    {
      title: 'What did it cause?',
      panels: [
        lines({
          title: 'The grid moves: intensity by site',
          description: 'Grams of CO₂e per kWh, location-based, of each hour. Work that can wait belongs into the valleys.',
          w: 8,
          asks: [series('carbon', 'intensity_location', { by: ['site'], where: ['site'] })],
          axis: 'location-based',
          min: 0,
        }),
        lines({
          title: 'What the contracts leave: intensity by site',
          description: 'Grams of CO₂e per kWh, market-based. A site with a power purchase agreement lies below its residual mix.',
          w: 8,
          asks: [series('carbon', 'intensity_market', { by: ['site'], where: ['site'] })],
          axis: 'market-based',
          min: 0,
        }),
        lines({
          title: 'CO₂e, counted in both ways',
          description:
            'Location-based and market-based count the same electricity and are never added. Embodied is the hardware’s, spread over its life by device time.',
          w: 8,
          asks: [
            series('carbon', 'location', { where: [...where] }),
            series('carbon', 'market', { where: [...where] }),
            series('carbon', 'embodied', { where: [...where] }),
          ],
          colours: carbon,
          min: 0,
        }),
        table({
          title: 'On which factors does it rest?',
          description:
            'Source, edition and boundary of each factor, and the energy under it. “fallback” says that a finer value was missing for some hours.',
          w: 24,
          asks: [rows('carbon', 'factors', { where: ['site'] })],
          show: ['site', 'figure', 'factor', 'from', 'to', 'energy'],
          columns: { factor: { width: 620 } },
        }),
      ],
    },
    {
      title: 'Who caused it?',
      panels: [
        bars({
          title: 'CO₂e by tenant',
          description: 'Location-based, of what tenants held, closed hours of the range, the largest fifteen. Click a bar for the tenant.',
          w: 12,
          asks: [
            rows('carbon', 'location', {
              by: ['tenant'],
              where: [...where],
              only: { account: ['tenant', 'held_idle'] },
              limit: 15,
              closedOnly: true,
            }),
          ],
          links: [dataLink('Tenant', 'tenant', { tenant: column('tenant') })],
        }),
        bars({
          title: 'Energy by GPU model',
          description: 'All components, closed hours of the range.',
          w: 12,
          asks: [rows('energy', 'total', { by: ['model'], where: [...where], limit: 15, closedOnly: true })],
        }),
      ],
    },
  ],
});
