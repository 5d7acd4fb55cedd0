import { happenings } from '../annotations';
import { rows, series } from '../ask';
import { board } from '../board';
import * as limit from '../limits';
import { dataLink, headLink, label } from '../links';
import { lines, stat, table, type Prom } from '../panels';
import { rising } from '../thresholds';
import { many, prometheusSource, source } from '../variables';

const zero = (expr: string) => `${expr} or vector(0)`;
const one = (expr: string, legend: string, unit: string): Prom[] => [{ expr, legend, unit }];

export const pipeline = board({
  board: 'pipeline',
  title: 'Pipeline health',
  description:
    'From tick to ledger: do data arrive, who is behind, and what is refused, retried or waiting. Half of it is what is stored, half what our processes say of themselves to Prometheus.',
  from: 'now-3h',
  refresh: '30s',
  variables: [source(), prometheusSource(), many('site'), many('node', 'site')],
  annotations: [
    happenings('incident', ['site'], true),
    happenings('closing', ['site'], true),
    happenings('adjustment', ['site'], false),
    happenings('xid', ['site'], false),
  ],
  links: [headLink('Ledger', 'ledger', 'Hours and quality of the data'), headLink('Fleet', 'fleet', 'All sites')],
  rows: [
    {
      title: 'Do data arrive?',
      panels: [
        stat({
          title: 'How fresh is it?',
          description:
            'Now less the latest tick stored, of the site that is furthest behind, by its freshest node. The table below says which nodes are behind.',
          w: 4,
          asks: [rows('pipeline', 'age', { by: ['site'], where: ['site', 'node'] })],
          highest: true,
          limits: limit.age,
        }),
        stat({
          title: 'What waits in Kafka?',
          description: 'wattledger_ingest_lag_messages, all topics and partitions.',
          w: 4,
          prom: one(zero('sum(wattledger_ingest_lag_messages)'), 'lag', 'none'),
          limits: rising(
            { at: 1000, level: 'look', why: 'a thousand messages are about a second of 1,000 nodes: it should go down by itself' },
            {
              at: 60_000,
              level: 'broken',
              why: 'about a minute of 1,000 nodes: ingest is slower than the fleet, or the database does not answer',
            }
          ),
        }),
        stat({
          title: 'Refused in the hour',
          description:
            'wattledger_ingest_refused_total: messages put aside in wl.refused.v1 with reason and origin. wattledger quarantine lists them.',
          w: 4,
          prom: one(zero('sum(increase(wattledger_ingest_refused_total[1h]))'), 'refused', 'none'),
          limits: rising({
            at: 1,
            level: 'act',
            why: 'nothing behind them waits, but what they say is missing until they are mended and replayed',
          }),
        }),
        stat({
          title: 'Is a partition blocked?',
          description:
            'wattledger_ingest_blocked_partitions: partitions that wait for something that is tried again, and are not read meanwhile.',
          w: 4,
          prom: one(zero('sum(wattledger_ingest_blocked_partitions)'), 'blocked', 'none'),
          limits: rising({ at: 1, level: 'broken', why: 'the label reason, and /readyz of ingest, say what is waited for' }),
        }),
        stat({
          title: 'What waits on nodes?',
          description: 'wattledger_collector_spool_oldest_seconds: age of the oldest message on any node’s disk that Kafka has not taken.',
          w: 4,
          prom: one(zero('max(wattledger_collector_spool_oldest_seconds)'), 'oldest', 's'),
          limits: rising(
            { at: 60, level: 'look', why: 'Kafka does not take what a node has' },
            { at: 3600, level: 'broken', why: 'find out how long the spool lasts before it has to drop' }
          ),
        }),
        stat({
          title: 'Rollups behind by',
          description:
            'Now less the time of receipt of the latest message that the level of 10 s holds (wattledger_ingest_rollup_received_timestamp_seconds). What is newer, panels take out of single readings.',
          w: 4,
          prom: one('time() - max(wattledger_ingest_rollup_received_timestamp_seconds{level="10s"})', '10s', 's'),
          limits: rising(
            { at: 120, level: 'look', why: 'rollups run every few seconds; panels over long ranges get slower' },
            { at: 900, level: 'broken', why: 'passes fail: ingest’s log says why, and nothing is lost' }
          ),
        }),
      ],
    },
    {
      title: 'Where are they held up?',
      panels: [
        table({
          title: 'Which node is behind?',
          description: 'One row per node: last tick, its age, up to when it has declared itself complete, the collector’s run, devices.',
          w: 16,
          h: 9,
          asks: [rows('pipeline', 'nodes', { where: ['site', 'node'], limit: 500 })],
          show: ['site', 'rack', 'node', 'run', 'gpus', 'last_tick', 'age', 'complete_up_to'],
          columns: { age: { limits: limit.age, unit: 's' }, run: { width: 110 } },
        }),
        table({
          title: 'How far is each level of rollups?',
          description: 'Up to when each level is complete, and when the last message that it holds was received.',
          w: 8,
          h: 9,
          asks: [rows('pipeline', 'rollups')],
          show: ['level', 'complete_up_to', 'received'],
        }),
      ],
    },
    {
      title: 'Since when?',
      panels: [
        lines({
          title: 'From tick to row, by site',
          description:
            'Time from the last tick of a message to its rows, mean of each step. It holds the collector’s batch (a second), Kafka, and ingest’s batch.',
          w: 12,
          asks: [series('pipeline', 'delay', { by: ['site'], where: ['site', 'node'] })],
          links: [dataLink('Site ${__field.labels.site}', 'site', { site: label('site') })],
          min: 0,
        }),
        lines({
          title: 'Rows of samples stored per second',
          description: 'By site: devices ÷ period when all is well. A dip that is made up for later was a spool; one that is not is a gap.',
          w: 12,
          asks: [series('pipeline', 'rows', { by: ['site'], where: ['site', 'node'] })],
          stack: true,
          min: 0,
        }),
      ],
    },
    {
      title: 'What is it about?',
      panels: [
        lines({
          title: 'Messages waiting, by topic',
          description: 'wattledger_ingest_lag_messages. One partition that grows alone is blocked; all that grow are too little ingest.',
          w: 8,
          prom: one('sum by (topic) (wattledger_ingest_lag_messages)', '{{topic}}', 'none'),
          stack: true,
          min: 0,
        }),
        lines({
          title: 'What is tried again, refused, dropped?',
          description: 'Per second: retries of ingest and of collectors, messages refused, messages that a spool gave up.',
          w: 8,
          prom: [
            { expr: zero('sum(rate(wattledger_ingest_retries_total[$__rate_interval]))'), legend: 'ingest retries', unit: 'cps' },
            {
              expr: zero('sum(rate(wattledger_collector_forward_retries_total[$__rate_interval]))'),
              legend: 'collector retries',
              unit: 'cps',
            },
            { expr: zero('sum(rate(wattledger_ingest_refused_total[$__rate_interval]))'), legend: 'refused', unit: 'cps' },
            {
              expr: zero('sum(rate(wattledger_collector_spool_dropped_messages_total[$__rate_interval]))'),
              legend: 'dropped by spools',
              unit: 'cps',
            },
          ],
          min: 0,
        }),
        lines({
          title: 'How long does an insert take?',
          description: 'wattledger_ingest_insert_seconds: the time under which 95 of 100 inserts stayed, by table, failed ones included.',
          w: 8,
          prom: one(
            'histogram_quantile(0.95, sum by (le, table) (rate(wattledger_ingest_insert_seconds_bucket[$__rate_interval])))',
            '{{table}}',
            's'
          ),
          min: 0,
        }),
      ],
    },
    {
      title: 'Who is affected?',
      panels: [
        lines({
          title: 'Which site waits for hours, and for how many?',
          description:
            'wattledger_aggregator_hours_open: hours of each site that are over, by its furthest node, and not closed. wattledger_aggregator_hour_waits_for: nodes and sources without which the next one does not close; wattledger status names them.',
          w: 12,
          prom: [
            { expr: 'max by (site) (wattledger_aggregator_hours_open)', legend: '{{site}}: hours open', unit: 'none' },
            { expr: 'max by (site) (wattledger_aggregator_hour_waits_for)', legend: '{{site}}: waited for', unit: 'none' },
            { expr: zero('sum(increase(wattledger_aggregator_closing_errors_total[1h]))'), legend: 'errors within the hour', unit: 'none' },
          ],
          min: 0,
        }),
        lines({
          title: 'What waits to be booked?',
          description:
            'Closed hours that something reached since, and that the next batches evaluate anew; and those that wait for wattledger ledger adjust.',
          w: 12,
          prom: [
            { expr: zero('sum(wattledger_aggregator_adjustments_pending_hours)'), legend: 'next batches', unit: 'none' },
            { expr: zero('sum(wattledger_aggregator_adjustments_old_hours)'), legend: 'wait for somebody', unit: 'none' },
          ],
          min: 0,
        }),
      ],
    },
  ],
});
