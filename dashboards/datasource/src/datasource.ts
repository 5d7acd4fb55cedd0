import {
  AdHocVariableFilter,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceInstanceSettings,
  MetricFindValue,
  ScopedVars,
} from '@grafana/data';
import { config, DataSourceWithBackend, getTemplateSrv } from '@grafana/runtime';
import { from, merge, Observable, switchMap } from 'rxjs';

import { DEFAULT_ANNOTATION, DEFAULT_QUERY, dimensionLabel } from './catalogue';
import { interpolate, interpolateFilters, Templates } from './interpolate';
import { channelsOf, listen } from './live';
import { Dimension, DIMENSIONS, Filter, Value } from './query.gen';
import { Settings } from './settings';
import { ValuesRequest, WattledgerQuery, Whoami } from './types';
import { WattledgerVariables } from './variables';

/** How many choices a list in an editor shows at once; typing narrows them. */
export const CHOICES = 200;

/**
 * The data source in the browser. It replaces variables and passes the question on; who may see what is decided by the backend
 * alone, and no amount is computed here.
 */
export class WattledgerDataSource extends DataSourceWithBackend<WattledgerQuery, Settings> {
  /** Whether the editor offers SQL. The backend refuses it by itself where it is not allowed. */
  readonly sqlAllowed: boolean;

  constructor(
    settings: DataSourceInstanceSettings<Settings>,
    private readonly templates: Templates = getTemplateSrv()
  ) {
    super(settings);
    this.sqlAllowed = settings.jsonData.scope === 'operator' && settings.jsonData.allowSQL === true;
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- Grafana's own type names only one kind of support
    this.variables = new WattledgerVariables(this);
    this.annotations = { getDefaultQuery: () => DEFAULT_ANNOTATION };
  }

  override getDefaultQuery(): Partial<WattledgerQuery> {
    return DEFAULT_QUERY;
  }

  /** What is not written to its end yet is not asked. */
  override filterQuery(query: Partial<WattledgerQuery>): boolean {
    return query.kind === 'sql' ? Boolean(query.sql?.trim()) : Boolean(query.kind && query.metric);
  }

  /** Live questions are listened to, all others asked, with the time zone that the dashboard shows. */
  override query(request: DataQueryRequest<WattledgerQuery>): Observable<DataQueryResponse> {
    const timezone = zoneName(request.timezone);
    // Who looks at a public dashboard is nobody, and has no channels.
    const nobody = Boolean(config.publicDashboardAccessToken);
    const live = request.targets.flatMap((query) => {
      const channels =
        !nobody && (query.live || request.liveStreaming)
          ? channelsOf(this.applyTemplateVariables(query, request.scopedVars, request.filters))
          : undefined;
      return channels ? [{ query, channels }] : [];
    });
    const asked = request.targets.filter((query) => !live.some((l) => l.query === query)).map((query) => ({ ...query, timezone }));
    const answers = live.map(({ query, channels }) =>
      from(this.getResource<Whoami>('scope')).pipe(switchMap((who) => listen(this.uid, query.refId, channels, who, request)))
    );
    if (asked.length > 0 || live.length === 0) {
      answers.push(super.query({ ...request, targets: asked }));
    }
    return merge(...answers);
  }

  override applyTemplateVariables(query: WattledgerQuery, scoped: ScopedVars, adHoc?: AdHocVariableFilter[]): WattledgerQuery {
    const { live, ...question } = query; // the browser's own
    const asked = interpolate(question, this.templates, scoped);
    if (!adHoc?.length || asked.kind === 'sql') {
      return asked;
    }
    return { ...asked, filters: [...(asked.filters ?? []), ...adHoc.map(toFilter)] };
  }

  /** The values of a dimension, for lists in editors and for variables. */
  values(dimension: Dimension, filters: Filter[] = [], match = '', limit = CHOICES, scoped: ScopedVars = {}): Promise<Value[]> {
    const request: ValuesRequest = {
      dimension,
      filters: interpolateFilters(filters, this.templates, scoped) ?? [],
      match,
      limit,
    };
    return this.postResource<Value[]>('values', request);
  }

  /** The names of the dashboard's variables, to be chosen as values of a filter. */
  variableNames(): string[] {
    return this.templates.getVariables().map((v) => `$${v.name}`);
  }

  override getTagKeys(): Promise<MetricFindValue[]> {
    return Promise.resolve(DIMENSIONS.map(({ value }) => ({ text: dimensionLabel(value), value })));
  }

  override async getTagValues(options: { key: string; filters?: AdHocVariableFilter[] }): Promise<MetricFindValue[]> {
    const others = (options.filters ?? []).filter((f) => f.key !== options.key);
    return this.values(asDimension(options.key), others.map(toFilter));
  }
}

/** The name of a dashboard's time zone, as the backend knows it. */
function zoneName(timezone: string | undefined): string {
  return !timezone || timezone === 'browser' ? Intl.DateTimeFormat().resolvedOptions().timeZone : timezone === 'utc' ? 'UTC' : timezone;
}

/** An ad hoc filter of the dashboard. What cannot be asked is an error on the panel: left out, it would show too much. */
function toFilter({ key, operator, value, values }: AdHocVariableFilter): Filter {
  if (operator !== '=' && operator !== '=|') {
    throw new Error(`The filter "${key} ${operator} ${value}" cannot be asked: choose = or "one of".`);
  }
  return { dimension: asDimension(key), values: operator === '=|' ? (values ?? [value]) : [value] };
}

function asDimension(key: string): Dimension {
  const found = DIMENSIONS.find(({ value }) => value === key);
  if (!found) {
    throw new Error(`The filter "${key}" is not a dimension of Wattledger: choose one of ${DIMENSIONS.map((d) => d.value).join(', ')}.`);
  }
  return found.value;
}
