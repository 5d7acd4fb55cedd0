import { activeFilters, dimensionName, formOf, hasProvisional, metricOf } from './catalogue';
import { Metric, Query } from './query.gen';

/** What is asked, in one sentence of plain English. */
export function describe(query: Query): string {
  if (query.kind === 'sql') {
    return query.sql?.trim() ? 'The answer to your own SQL, read only.' : 'Nothing yet: write a statement.';
  }
  const metric = metricOf(query);
  if (!metric) {
    return `Nothing: there is no ${query.metric || 'metric'} of ${query.kind}.`;
  }
  const parts = [what(query, metric)];
  const filters = activeFilters(query.filters).map((f) => `${dimensionName(f.dimension)} is ${or(f.values)}`);
  if (filters.length > 0) {
    parts.push(`where ${and(filters)}`);
  }
  if (query.limit) {
    parts.push(formOf(query, metric) === 'series' ? `the ${query.limit} largest lines` : `at most ${query.limit} rows`);
  }
  if (hasProvisional(query.kind)) {
    parts.push(query.closedOnly ? 'closed hours only' : 'hours not yet closed apart, as provisional');
  }
  return sentence(parts.join(', '));
}

function what(query: Query, metric: Metric): string {
  const { help } = metric;
  const by = (query.by ?? []).map(dimensionName);
  const each = by.length > 0 ? ` for each ${and(by)}` : '';
  switch (formOf(query, metric)) {
    case 'series':
      return `${help}: ${by.length > 0 ? `a line over time${each}` : 'one line over time for all'}`;
    case 'total':
      return `${help}: one number over the whole time range`;
    case 'table':
      return by.length > 0 ? `${help}: a row${each} over the whole time range` : `${help}, over the whole time range`;
  }
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function and(words: string[]): string {
  return join(words, 'and');
}

function or(words: string[]): string {
  return words.length > 4 ? `one of ${words.length} values` : join(words, 'or');
}

function join(words: string[], last: string): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} ${last} ${words[words.length - 1]}`;
}
