import { DataQuery } from '@grafana/schema';

import { Dimension, Filter, Query } from './query.gen';

/** A panel's target: the question, beside what Grafana itself keeps with each target. */
export interface WattledgerQuery extends DataQuery, Query {
  /** Points as they are read, from a live channel, instead of an answer to each refresh. The backend is never asked with it. */
  live?: boolean;
  /** The IANA name of the dashboard's time zone, whose midnight begins a day: filled in as the question is sent, not saved. */
  timezone?: string;
}

/** What the backend answers to the resource "scope": what the person who asks may do. */
export interface Whoami {
  /** Whether there are live channels, and what stands before the path of each. */
  channels: boolean;
  prefix: string;
}

/** What a variable asks for: the values of a dimension, of those that pass the filters. */
export interface VariableQuery extends DataQuery {
  dimension: Dimension;
  filters?: Filter[];
}

/** What the backend is asked for by the resource "values". */
export interface ValuesRequest {
  dimension: Dimension;
  filters: Filter[];
  /** Keeps the values that contain it; empty keeps all. */
  match: string;
  limit: number;
}
