import { Query } from './query.gen';

/** A question that people ask, with its name. */
export interface Example {
  title: string;
  query: Query;
}

/** Examples of the help page, from the first look to the last cent. */
export const EXAMPLES: readonly Example[] = [
  { title: 'How much power does each site draw?', query: { kind: 'fleet', metric: 'power', form: 'series', by: ['site'] } },
  {
    title: 'Which ten nodes are throttled by heat most?',
    query: { kind: 'fleet', metric: 'throttled_thermal', form: 'table', by: ['node'], limit: 10 },
  },
  {
    title: 'What does every GPU of this node do now?',
    query: { kind: 'device', metric: 'now', form: 'table', filters: [{ dimension: 'node', values: ['$node'] }] },
  },
  {
    title: 'How many device-hours does each tenant hold, closed hours only?',
    query: { kind: 'usage', metric: 'device_time', form: 'table', by: ['tenant'], closedOnly: true },
  },
  {
    title: 'Where does the energy of a tenant go?',
    query: {
      kind: 'energy',
      metric: 'total',
      form: 'series',
      by: ['component'],
      filters: [{ dimension: 'tenant', values: ['$tenant'] }],
    },
  },
  {
    title: 'How many grams of CO2e does a site cause, hour by hour?',
    query: { kind: 'carbon', metric: 'location', form: 'series', by: ['site'] },
  },
  { title: 'Which hours are not closed yet?', query: { kind: 'ledger', metric: 'hours', form: 'table', by: ['site'] } },
  {
    title: 'How did this entry of the ledger come about?',
    query: { kind: 'ledger', metric: 'explain', form: 'table', filters: [{ dimension: 'entry', values: ['$entry'] }] },
  },
  { title: 'Do the samples arrive?', query: { kind: 'pipeline', metric: 'age', form: 'table', by: ['node'], limit: 20 } },
  { title: 'Did anything run where its tenant does not allow it?', query: { kind: 'sovereignty', metric: 'violations', form: 'table' } },
  { title: 'What happened?', query: { kind: 'events', metric: 'all', form: 'table' } },
];
