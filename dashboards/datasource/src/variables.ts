import { CustomVariableSupport, DataQueryRequest, DataQueryResponse } from '@grafana/data';
import { from, map, Observable } from 'rxjs';

import { VariableQueryEditor } from './components/VariableQueryEditor';
import type { WattledgerDataSource } from './datasource';
import { Settings } from './settings';
import { VariableQuery, WattledgerQuery } from './types';

/** How many values a variable may have. */
const VARIABLE_VALUES = 20_000;

/** Variables whose values are those of a dimension; filters may name other variables, so that a node list follows the site. */
export class WattledgerVariables extends CustomVariableSupport<WattledgerDataSource, VariableQuery, WattledgerQuery, Settings> {
  editor = VariableQueryEditor;

  constructor(private readonly source: WattledgerDataSource) {
    super();
  }

  override query(request: DataQueryRequest<VariableQuery>): Observable<DataQueryResponse> {
    const query = request.targets[0];
    if (!query?.dimension) {
      return from([{ data: [] }]);
    }
    const search: unknown = request.scopedVars['__searchFilter']?.value;
    const match = typeof search === 'string' ? search : '';
    return from(this.source.values(query.dimension, query.filters, match, VARIABLE_VALUES, request.scopedVars)).pipe(
      map((data) => ({ data }))
    );
  }

  override getDefaultQuery(): Partial<VariableQuery> {
    return { dimension: 'site' };
  }
}
