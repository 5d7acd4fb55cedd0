import { ScopedVars } from '@grafana/data';
import { TemplateSrv } from '@grafana/runtime';

import { Filter, Query } from './query.gen';

/** What is needed of Grafana's template service. */
export type Templates = Pick<TemplateSrv, 'replace' | 'getVariables'>;

/**
 * The ways to name a variable: $name, ${name}, ${name:format}, [[name]].
 * https://grafana.com/docs/grafana/latest/visualizations/dashboards/variables/variable-syntax/
 */
const REFERENCE = /\$(\w+)|\$\{(\w+)(?:\.[^:}]+)?(?::([^}]+))?\}|\[\[(\w+)(?::(\w+))?\]\]/;

const ALL = '$__all';
const ALL_TEXT = 'All';

/**
 * The filters with their variables replaced. A variable of several values becomes several values, and All keeps everything: the
 * filter goes away, so that what appears after the dashboard was loaded is there as well.
 */
export function interpolateFilters(filters: Filter[] | undefined, templates: Templates, scoped: ScopedVars): Filter[] | undefined {
  const kept: Filter[] = [];
  for (const filter of filters ?? []) {
    if (filter.values.some((value) => isAll(value, templates, scoped))) {
      continue;
    }
    const values = filter.values.flatMap((value) => expand(value, templates, scoped));
    if (values.length > 0) {
      kept.push({ ...filter, values: [...new Set(values)] });
    }
  }
  return kept.length > 0 ? kept : undefined;
}

/**
 * The question with its variables replaced: in the values of filters, and in SQL. In SQL a variable becomes a list of quoted
 * strings, so that no value can end its string and continue as SQL; a format that the author names (${name:raw}) is theirs.
 */
export function interpolate<Q extends Query>(query: Q, templates: Templates, scoped: ScopedVars): Q {
  const asked = { ...query };
  const filters = interpolateFilters(query.filters, templates, scoped);
  if (filters) {
    asked.filters = filters;
  } else {
    delete asked.filters;
  }
  if (query.kind === 'sql' && query.sql) {
    asked.sql = templates.replace(query.sql, scoped, sqlStrings);
  }
  return asked;
}

function sqlStrings(value: unknown): string {
  return list(value).map(sqlString).join(',');
}

/** A string of ClickHouse's SQL: backslash and quote are escaped. https://clickhouse.com/docs/sql-reference/syntax#string */
function sqlString(text: string): string {
  return `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`;
}

/** Every text that the value stands for, one for each value of the variables in it. */
function expand(value: string, templates: Templates, scoped: ScopedVars): string[] {
  const found = REFERENCE.exec(value);
  if (!found) {
    return [value];
  }
  const reference = found[0];
  const format = found[3] ?? found[5];
  const before = value.slice(0, found.index);
  // The rest is expanded by itself, so that a value that looks like a variable is left alone.
  const rest = expand(value.slice(found.index + reference.length), templates, scoped);
  const values = format ? [templates.replace(reference, scoped)] : valuesOf(reference, templates, scoped);
  return values.flatMap((v) => rest.map((r) => before + v + r));
}

function valuesOf(reference: string, templates: Templates, scoped: ScopedVars): string[] {
  let values: string[] | undefined;
  const replaced = templates.replace(reference, scoped, (value: unknown) => {
    values = list(value);
    return '';
  });
  // Where nobody knows the variable, the text stays as it was, and matches nothing: better than a filter that is not there.
  return values ?? [replaced];
}

/**
 * Whether the value is a variable that stands at All. A panel that is repeated over the variable sees one value of it, though the
 * variable stands at All: the text that Grafana shows for it tells the two apart.
 */
function isAll(value: string, templates: Templates, scoped: ScopedVars): boolean {
  const found = REFERENCE.exec(value);
  if (!found || found[0] !== value || found[3] || found[5]) {
    return false;
  }
  const name = found[1] ?? found[2] ?? found[4] ?? '';
  const here: unknown = scoped[name]?.value;
  if (here !== undefined) {
    return list(here).includes(ALL);
  }
  const variable = templates.getVariables().find((v) => v.name === name);
  if (!variable || !('current' in variable) || !list((variable.current as { value?: unknown } | undefined)?.value).includes(ALL)) {
    return false;
  }
  return templates.replace(`\${${name}:text}`, scoped) === ALL_TEXT;
}

function list(value: unknown): string[] {
  if (value === undefined || value === null) {
    return [];
  }
  return (Array.isArray(value) ? value : [value]).map(String);
}
