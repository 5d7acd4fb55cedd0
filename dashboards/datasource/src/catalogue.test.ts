import { dimensionLabel, metricOf, spell, unitName, withMetric } from './catalogue';
import { DIMENSIONS, FORMS, KINDS, METRICS, Query } from './query.gen';

describe('another metric', () => {
  const query: Query = {
    kind: 'energy',
    metric: 'total',
    form: 'series',
    by: ['site', 'component'],
    filters: [
      { dimension: 'site', values: ['fr-demo'] },
      { dimension: 'component', values: ['gpu'] },
    ],
    closedOnly: true,
  };

  it('keeps what it knows and drops what it does not', () => {
    expect(withMetric(query, 'energy', 'gpu')).toEqual({
      ...query,
      metric: 'gpu',
      by: ['site'],
      filters: [{ dimension: 'site', values: ['fr-demo'] }],
    });
  });
  it('of another kind is the first of it', () => {
    expect(withMetric(query, 'fleet')).toMatchObject({ kind: 'fleet', metric: 'power', form: 'series', closedOnly: undefined });
  });
  it('takes the form that it has', () => {
    expect(withMetric(query, 'ledger', 'hours').form).toBe('table');
  });
  it('has no empty lists', () => {
    expect(withMetric(query, 'inventory', 'tenants')).toMatchObject({ by: undefined, filters: undefined });
  });
  it('of SQL is none', () => {
    expect(withMetric(query, 'sql')).toMatchObject({ kind: 'sql', metric: '', by: undefined, filters: undefined });
  });
  it('always makes a question that the catalogue knows', () => {
    for (const from of METRICS) {
      for (const { value: kind } of KINDS.filter((k) => k.value !== 'sql')) {
        const before: Query = { kind: from.kind, metric: from.name, form: 'series', by: [...from.by] };
        const next = withMetric(before, kind);
        const metric = metricOf(next);
        expect(metric?.forms).toContain(next.form);
        expect(metric?.by).toEqual(expect.arrayContaining(next.by ?? []));
      }
    }
  });
});

it('writes names as people do', () => {
  expect(spell('sm_active')).toBe('SM active');
  expect(spell('throttled_power')).toBe('Throttled power');
  expect(spell('sql')).toBe('SQL');
  expect(dimensionLabel('model')).toBe('GPU model');
  expect(new Set(DIMENSIONS.map((d) => dimensionLabel(d.value))).size).toBe(DIMENSIONS.length);
});

it('has units that Grafana knows', () => {
  for (const { unit } of METRICS) {
    expect([unit, unitName(unit)]).not.toEqual([unit, unit || 'none']);
  }
  expect(unitName('watth')).toBe('Watt-hour (Wh)');
  expect(unitName('suffix:GPU-h')).toBe('GPU-h');
});

it('says what each kind and form is', () => {
  for (const { value, help } of [...KINDS, ...FORMS]) {
    expect([value, help]).toEqual([value, expect.stringMatching(/\w/)]);
  }
});
