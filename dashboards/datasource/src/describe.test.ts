import { describe as says } from './describe';
import { EXAMPLES } from './examples';
import { METRICS, Query } from './query.gen';

const f = (query: Query, want: string) => expect(says(query)).toBe(want);

it('says what is asked in a sentence', () => {
  f({ kind: 'fleet', metric: 'power', form: 'series' }, 'Power drawn by the devices, mean of each bucket: one line over time for all.');
  f(
    { kind: 'fleet', metric: 'power', form: 'series', by: ['site', 'model'], limit: 5 },
    'Power drawn by the devices, mean of each bucket: a line over time for each site and GPU model, the 5 largest lines.'
  );
  f(
    { kind: 'usage', metric: 'device_time', form: 'table', by: ['tenant'], closedOnly: true },
    'Device-hours: time × part of the device: a row for each tenant over the whole time range, closed hours only.'
  );
  f(
    { kind: 'energy', metric: 'total', form: 'total', filters: [{ dimension: 'site', values: ['fr-demo', 'se-demo'] }] },
    'Energy of all components: one number over the whole time range, where site is fr-demo or se-demo, hours not yet closed apart, as provisional.'
  );
});

it('leaves out a filter that keeps everything, and counts long ones', () => {
  f(
    { kind: 'fleet', metric: 'gpu_temp', form: 'series', filters: [{ dimension: 'site', values: [] }] },
    'Hottest GPU: one line over time for all.'
  );
  f(
    { kind: 'fleet', metric: 'gpu_temp', form: 'series', filters: [{ dimension: 'node', values: ['a', 'b', 'c', 'd', 'e'] }] },
    'Hottest GPU: one line over time for all, where node is one of 5 values.'
  );
});

it('takes the metric’s first form where a dashboard names none', () => {
  f({ kind: 'ledger', metric: 'hours' } as Query, says({ kind: 'ledger', metric: 'hours', form: 'table' }));
});

it('says what is missing', () => {
  f({ kind: 'fleet', metric: 'no_such', form: 'series' }, 'Nothing: there is no no_such of fleet.');
  f({ kind: 'sql', metric: '', form: 'table' }, 'Nothing yet: write a statement.');
  f({ kind: 'sql', metric: '', form: 'table', sql: 'SELECT 1' }, 'The answer to your own SQL, read only.');
});

it('has one sentence for everything that can be asked', () => {
  for (const { kind, name, forms } of METRICS) {
    for (const form of forms) {
      expect(says({ kind, metric: name, form })).toMatch(/^[A-Z].*\.$/);
    }
  }
});

it('has examples that can be asked', () => {
  for (const { title, query } of EXAMPLES) {
    const metric = METRICS.find((m) => m.kind === query.kind && m.name === query.metric);
    expect([title, metric?.forms]).toEqual([title, expect.arrayContaining([query.form])]);
    expect([title, metric?.by]).toEqual([
      title,
      expect.arrayContaining([...(query.by ?? []), ...(query.filters ?? []).map((x) => x.dimension)]),
    ]);
  }
});
