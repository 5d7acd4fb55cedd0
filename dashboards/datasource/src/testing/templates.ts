import { ScopedVars } from '@grafana/data';

import { Templates } from '../interpolate';

/** A variable of a dashboard. */
export interface Variable {
  /** What stands chosen, as Grafana keeps it. */
  value: string | string[];
  /** What All stands for. */
  options?: string[];
}

/** A template service as Grafana's is used here: a format function is handed the value, and All becomes all its options. */
export function fakeTemplates(variables: Readonly<Record<string, Variable>>): Templates {
  const replace = (target = '', scoped: ScopedVars = {}, format?: string | ((value: unknown) => string)) =>
    target.replace(/\$(\w+)|\$\{(\w+)(?::(\w+))?\}/g, (whole: string, plain?: string, braced?: string, named?: string) => {
      const name = plain ?? braced ?? '';
      const here = scoped[name]?.value as string | string[] | undefined;
      const variable = variables[name];
      if (here === undefined && !variable) {
        return whole;
      }
      const all = here === undefined && list(variable?.value).includes('$__all');
      const value = here ?? (all ? variable?.options : variable?.value) ?? [];
      if (named === 'text') {
        return all ? 'All' : list(value).join(' + ');
      }
      return typeof format === 'function' ? format(value) : list(value).join(',');
    });
  return {
    replace,
    getVariables: () => Object.entries(variables).map(([name, { value }]) => ({ name, type: 'query', current: { value } })) as never,
  };
}

function list(value: string | string[] | undefined): string[] {
  return value === undefined ? [] : [value].flat();
}
