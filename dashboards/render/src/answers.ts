import { DataFrameJSON, FieldConfigSource } from '@grafana/data';

/** What the page needs of a panel, as a dashboard's JSON has it. */
export interface PanelModel {
  id: number;
  type: string;
  title?: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  fieldConfig?: FieldConfigSource;
  // Each type of panel has options of its own, which it reads with its own defaults.
  options?: Record<string, any>; // eslint-disable-line @typescript-eslint/no-explicit-any
  transformations?: Array<{ id: string; options: Record<string, unknown>; disabled?: boolean }>;
  panels?: PanelModel[];
  datasource?: { type?: string };
  targets?: Array<{ expr?: string }>;
  transparent?: boolean;
}

export interface DashboardModel {
  title: string;
  uid: string;
  description?: string;
  panels: PanelModel[];
}

/** What the plugin said to one panel: its frames in the format of /api/ds/query, and what it refused. */
export interface Answer {
  frames: DataFrameJSON[];
  errors: string[];
}

export interface Annotation {
  name: string;
  color: string;
  frames: DataFrameJSON[];
}

/** All that the page draws. */
export interface Answers {
  from: number;
  to: number;
  /** How each variable was set, to be read above the panels. */
  variables: Array<{ name: string; text: string }>;
  panels: Record<string, Answer>;
  annotations: Annotation[];
}
