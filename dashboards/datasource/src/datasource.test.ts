import { AdHocVariableFilter } from '@grafana/data';
import { firstValueFrom } from 'rxjs';

import { WattledgerQuery } from './types';
import { FakeSource } from './testing/source';
import { WattledgerVariables } from './variables';

const power: WattledgerQuery = { refId: 'A', kind: 'fleet', metric: 'power', form: 'series' };

it('asks only what is written to its end', () => {
  const source = new FakeSource();
  expect(source.filterQuery(power)).toBe(true);
  expect(source.filterQuery({ ...power, metric: '' })).toBe(false);
  expect(source.filterQuery({ refId: 'A' })).toBe(false);
  expect(source.filterQuery({ ...power, kind: 'sql', sql: ' ' })).toBe(false);
  expect(source.filterQuery({ ...power, kind: 'sql', sql: 'SELECT 1' })).toBe(true);
});

it('starts with a question that can be asked', () => {
  const source = new FakeSource();
  expect(source.filterQuery(source.getDefaultQuery())).toBe(true);
  expect(source.annotations?.getDefaultQuery?.()).toMatchObject({ kind: 'events', metric: 'all' });
});

it('offers SQL to operators only, and where it is allowed', () => {
  expect(new FakeSource({ scope: 'operator', allowSQL: true }).sqlAllowed).toBe(true);
  expect(new FakeSource({ scope: 'operator' }).sqlAllowed).toBe(false);
  expect(new FakeSource({ scope: 'tenant', tenant: 'a', allowSQL: true }).sqlAllowed).toBe(false);
  expect(new FakeSource({ allowSQL: true }).sqlAllowed).toBe(false);
});

describe('ad hoc filters', () => {
  const f = (adHoc: AdHocVariableFilter[]) => new FakeSource().applyTemplateVariables(power, {}, adHoc).filters;

  it('become filters', () => expect(f([{ key: 'site', operator: '=', value: 'x' }])).toEqual([{ dimension: 'site', values: ['x'] }]));
  it('may have several values', () =>
    expect(f([{ key: 'site', operator: '=|', value: 'x', values: ['x', 'y'] }])).toEqual([{ dimension: 'site', values: ['x', 'y'] }]));
  it('that cannot be asked are an error, not left out', () => {
    expect(() => f([{ key: 'site', operator: '!=', value: 'x' }])).toThrow('cannot be asked');
    expect(() => f([{ key: 'colour', operator: '=', value: 'x' }])).toThrow('not a dimension');
  });
  it('offer the dimensions and their values', async () => {
    const source = new FakeSource();
    expect((await source.getTagKeys()).map((k) => k.value)).toContain('tenant');
    expect(await source.getTagValues({ key: 'node', filters: [{ key: 'site', operator: '=', value: 'fr-demo' }] })).toHaveLength(5);
    expect(source.asked[0]).toMatchObject({ dimension: 'node', filters: [{ dimension: 'site', values: ['fr-demo'] }] });
  });
});

describe('variables', () => {
  it('are the values of a dimension, narrowed by other variables', async () => {
    const source = new FakeSource();
    const request = {
      targets: [{ refId: 'v', dimension: 'node', filters: [{ dimension: 'site', values: ['$site'] }] }],
      scopedVars: { __searchFilter: { text: '', value: '-01' } },
    };
    const answer = await firstValueFrom(new WattledgerVariables(source).query(request as never));
    expect(answer.data).toEqual([
      { text: 'fr-b200-01', value: 'fr-b200-01' },
      { text: 'se-b200-01', value: 'se-b200-01' },
    ]);
    expect(source.asked).toEqual([
      { dimension: 'node', filters: [{ dimension: 'site', values: ['fr-demo'] }], match: '-01', limit: 20_000 },
    ]);
  });
  it('ask nothing before a dimension is chosen', async () => {
    const source = new FakeSource();
    const answer = await firstValueFrom(new WattledgerVariables(source).query({ targets: [{ refId: 'v' }], scopedVars: {} } as never));
    expect([answer.data, source.asked]).toEqual([[], []]);
  });
});
