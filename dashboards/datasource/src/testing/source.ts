import { DataSourceInstanceSettings } from '@grafana/data';

import { WattledgerDataSource } from '../datasource';
import { Dimension, Value } from '../query.gen';
import { Settings } from '../settings';
import { ValuesRequest } from '../types';
import { fakeTemplates, Variable } from './templates';

const CHOICES: Readonly<Partial<Record<Dimension, string[]>>> = {
  site: ['fr-demo', 'se-demo'],
  node: ['fr-b200-01', 'fr-b200-02', 'fr-b200-03', 'se-b200-01', 'se-b200-02'],
  rack: ['fr-r1', 'fr-r2', 'se-r1'],
  model: ['NVIDIA B200'],
  tenant: ['fictional-bank', 'fictional-railway', 'fictional-startup'],
};

/** The data source with a backend that is not there: it answers with the values above, and keeps what it was asked. */
export class FakeSource extends WattledgerDataSource {
  readonly asked: ValuesRequest[] = [];

  constructor(jsonData: Settings = { scope: 'operator' }, variables: Readonly<Record<string, Variable>> = { site: { value: 'fr-demo' } }) {
    const settings = { id: 1, uid: 'wattledger', type: 'wattledger-wattledger-datasource', name: 'Wattledger', jsonData };
    super(settings as DataSourceInstanceSettings<Settings>, fakeTemplates(variables));
  }

  override postResource<T>(path: string, data?: unknown): Promise<T> {
    if (path !== 'values') {
      return Promise.reject(new Error(`no resource ${path}`));
    }
    const request = data as ValuesRequest;
    this.asked.push(request);
    const found: Value[] = (CHOICES[request.dimension] ?? []).filter((v) => v.includes(request.match)).map((v) => ({ text: v, value: v }));
    return Promise.resolve(found as T);
  }
}
