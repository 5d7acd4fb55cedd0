import { DataQueryRequest, dateTime, LoadingState } from '@grafana/data';
import { config, DataSourceWithBackend, LiveDataStreamOptions, setGrafanaLiveSrv } from '@grafana/runtime';
import { firstValueFrom, lastValueFrom, of, toArray } from 'rxjs';

import { channelsOf } from './live';
import { Query } from './query.gen';
import { FakeSource } from './testing/source';
import { WattledgerQuery, Whoami } from './types';

const device: WattledgerQuery = {
  refId: 'A',
  kind: 'device',
  metric: 'power',
  form: 'series',
  by: ['device'],
  filters: [{ dimension: 'device', values: ['GPU-1', 'GPU-2'] }],
};

describe('the channels of a question', () => {
  const f = (query: Partial<Query>, want: string[] | undefined) => expect(channelsOf({ ...device, ...query })).toEqual(want);

  it('are one for each device', () => f({}, ['device/GPU-1/power', 'device/GPU-2/power']));
  it('are one for a site', () =>
    f({ kind: 'fleet', by: undefined, filters: [{ dimension: 'site', values: ['fr-demo'] }] }, ['fleet/fr-demo/power']));
  it('are none of a table', () => f({ form: 'table' }, undefined));
  it('are none of the ledger', () => f({ kind: 'energy', metric: 'total' }, undefined));
  it('are none without a filter', () => f({ filters: undefined }, undefined));
  it('are none where another filter changes what is shown', () =>
    f({ filters: [...(device.filters ?? []), { dimension: 'model', values: ['x'] }] }, undefined));
  it('are none of a sum of several', () => f({ by: undefined }, undefined));
  it('are none of too many', () =>
    f({ filters: [{ dimension: 'device', values: Array.from({ length: 11 }, (_, i) => `g${i}`) }] }, undefined));
});

class LiveSource extends FakeSource {
  constructor(private readonly who: Whoami) {
    super();
  }
  override getResource<T>(path: string): Promise<T> {
    expect(path).toBe('scope');
    return Promise.resolve(this.who as T);
  }
}

const now = dateTime();
const request = (target: WattledgerQuery, more: Partial<DataQueryRequest<WattledgerQuery>> = {}) =>
  ({
    targets: [target],
    scopedVars: {},
    timezone: 'browser',
    maxDataPoints: 100,
    range: { from: dateTime(now).subtract(5, 'minutes'), to: now },
    ...more,
  }) as DataQueryRequest<WattledgerQuery>;

describe('a question', () => {
  const asked: Array<DataQueryRequest<WattledgerQuery>> = [];
  const heard: LiveDataStreamOptions[] = [];

  beforeEach(() => {
    asked.length = heard.length = 0;
    jest.spyOn(DataSourceWithBackend.prototype, 'query').mockImplementation((r) => {
      asked.push(r as DataQueryRequest<WattledgerQuery>);
      return of({ data: [] });
    });
    setGrafanaLiveSrv({
      getDataStream: (options: LiveDataStreamOptions) => {
        heard.push(options);
        return of({ data: [] });
      },
    } as never);
  });

  it('is asked with the zone whose midnight begins a day', async () => {
    await firstValueFrom(new FakeSource().query(request(device, { timezone: 'Europe/Paris' })));
    await firstValueFrom(new FakeSource().query(request(device, { timezone: 'utc' })));
    await firstValueFrom(new FakeSource().query(request(device)));
    expect(asked.map((r) => r.targets[0]?.timezone)).toEqual(['Europe/Paris', 'UTC', Intl.DateTimeFormat().resolvedOptions().timeZone]);
  });

  it('is never sent with what is the browser’s own', () => {
    expect(new FakeSource().applyTemplateVariables({ ...device, live: true }, {})).toEqual(device);
  });

  it('that is live is listened to, under the prefix of whoever asks', async () => {
    const source = new LiveSource({ channels: true, prefix: 'seal/' });
    const answers = await lastValueFrom(source.query(request({ ...device, live: true })).pipe(toArray()));
    expect(heard.map((h) => [h.addr.scope, h.addr.stream, h.addr.path])).toEqual([
      ['ds', 'wattledger', 'seal/device/GPU-1/power'],
      ['ds', 'wattledger', 'seal/device/GPU-2/power'],
    ]);
    expect(heard[0]?.buffer).toMatchObject({ maxLength: 100, maxDelta: 300_000 });
    expect(answers.map((a) => [a.key, a.state])).toEqual([
      ['A-device/GPU-1/power', LoadingState.Streaming],
      ['A-device/GPU-2/power', LoadingState.Streaming],
    ]);
    expect(asked).toEqual([]);
  });

  it('of a public dashboard is asked, as nobody is there to have channels', async () => {
    config.publicDashboardAccessToken = 'token';
    await firstValueFrom(new LiveSource({ channels: true, prefix: '' }).query(request({ ...device, live: true })));
    config.publicDashboardAccessToken = undefined;
    expect([asked.length, heard.length]).toEqual([1, 0]);
  });

  it('that cannot be live is asked', async () => {
    await firstValueFrom(new LiveSource({ channels: true, prefix: '' }).query(request({ ...device, form: 'table', live: true })));
    expect([asked.length, heard.length]).toEqual([1, 0]);
  });

  it('is an error where live channels are off, or where its name cannot be one', async () => {
    const off = new LiveSource({ channels: false, prefix: '' });
    await expect(firstValueFrom(off.query(request({ ...device, live: true })))).rejects.toThrow('Live channels are off');
    const on = new LiveSource({ channels: true, prefix: '' });
    const odd = { ...device, live: true, filters: [{ dimension: 'device' as const, values: ['a/b c'] }] };
    await expect(firstValueFrom(on.query(request(odd)))).rejects.toThrow('cannot be listened to');
  });
});
