import { DataQueryRequest, DataQueryResponse, LiveChannelScope, LoadingState, StreamingFrameAction } from '@grafana/data';
import { getGrafanaLiveSrv } from '@grafana/runtime';
import { map, merge, Observable, throwError } from 'rxjs';

import { Dimension, Kind, Query } from './query.gen';
import { WattledgerQuery, Whoami } from './types';

/** How many channels one question may listen to. */
export const MOST_CHANNELS = 10;

/** What a channel of a kind is about; undefined where the kind has none. pkg/channel has the same list. */
export function liveDimension(kind: Kind): Dimension | undefined {
  return kind === 'device' ? 'device' : kind === 'fleet' ? 'site' : undefined;
}

/** Whether the kind and form have live channels at all. */
export function canBeLive(query: Query): boolean {
  return query.form === 'series' && liveDimension(query.kind) !== undefined;
}

/** What a channel may be called: the rest cannot be listened to. */
const SEGMENT = /^[A-Za-z0-9_.-]{1,80}$/;

/**
 * The channels that show a question, without the prefix of whoever asks; undefined where it cannot be live. A channel is one device's
 * or one site's: other filters and groups would change what is shown.
 */
export function channelsOf(query: Query): string[] | undefined {
  const of = liveDimension(query.kind);
  const filters = (query.filters ?? []).filter((f) => f.values.length > 0);
  const values = filters[0]?.values ?? [];
  if (!canBeLive(query) || filters.length !== 1 || filters[0]?.dimension !== of || (query.by ?? []).some((d) => d !== of)) {
    return undefined;
  }
  if (values.length > MOST_CHANNELS || (values.length > 1 && query.by?.[0] !== of)) {
    return undefined;
  }
  return values.map((value) => `${query.kind}/${value}/${query.metric}`);
}

/** What the channels say, until nobody listens any more; as many points are kept as the panel's range holds. */
export function listen(
  uid: string,
  refId: string,
  channels: string[],
  who: Whoami,
  request: DataQueryRequest<WattledgerQuery>
): Observable<DataQueryResponse> {
  if (!who.channels) {
    return throwError(() => new Error('Live channels are off: the data source’s setting “Live channels” is 0.'));
  }
  const odd = channels.find((path) => !path.split('/').every((segment) => SEGMENT.test(segment)));
  if (odd) {
    return throwError(() => new Error(`${odd} cannot be listened to: a channel is named with letters, digits, and _ . - alone.`));
  }
  const { from, to } = request.range;
  return merge(
    ...channels.map((path) =>
      getGrafanaLiveSrv()
        .getDataStream({
          addr: { scope: LiveChannelScope.DataSource, stream: uid, path: who.prefix + path },
          key: `${refId}-${path}`,
          buffer: {
            maxLength: request.maxDataPoints ?? 1000,
            maxDelta: to.valueOf() - from.valueOf(),
            action: StreamingFrameAction.Append,
          },
        })
        .pipe(
          map((answer) => ({
            ...answer,
            key: `${refId}-${path}`,
            state: answer.state ?? LoadingState.Streaming,
          }))
        )
    )
  );
}
