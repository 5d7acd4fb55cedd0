/**
 * From one level to the next: which dashboard shows more of a value, and the address that takes range and data source along.
 */
import type * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { DashboardLinkType } from '@grafana/grafana-foundation-sdk/dashboard';

/** Every dashboard by its short name. */
export const uid = {
  fleet: 'wattledger-fleet',
  site: 'wattledger-site',
  node: 'wattledger-node',
  gpu: 'wattledger-gpu',
  tenant: 'wattledger-tenant',
  energy: 'wattledger-energy',
  ledger: 'wattledger-ledger',
  pipeline: 'wattledger-pipeline',
  sovereignty: 'wattledger-sovereignty',
} as const;

export type Board = keyof typeof uid;

/** The tag that all of them have. */
export const tag = 'wattledger';

/** Grafana's word for the value of the cell or point that was clicked. */
export const clicked = '${__value.raw}';

/** The value of a series' label, which is named after its dimension. */
export const label = (name: string): string => `\${__field.labels.${name}}`;

/** The value of another column in the row that was clicked. */
export const column = (name: string): string => `\${__data.fields["${name}"]}`;

/**
 * The address of a dashboard with variables set, and the range and the data source of where one comes from.
 * https://grafana.com/docs/grafana/latest/panels-visualizations/configure-data-links/
 */
export function address(to: Board, variables: Record<string, string>): string {
  const set = Object.entries(variables).map(([name, value]) => `var-${name}=${value}`);
  return `/d/${uid[to]}?${['${datasource:queryparam}', ...set, '${__url_time_range}'].join('&')}`;
}

function link(title: string, url: string): dashboard.DashboardLink {
  return {
    title,
    type: DashboardLinkType.Link,
    icon: '',
    tooltip: '',
    tags: [],
    asDropdown: false,
    targetBlank: false,
    includeVars: false,
    keepTime: false,
    url,
  };
}

/** A link on a cell, a bar or a point. */
export interface DataLink {
  title: string;
  url: string;
}

export const dataLink = (title: string, to: Board, variables: Record<string, string>): DataLink => ({ title, url: address(to, variables) });

/** The same for where the SDK wants a whole link. */
export const asLink = (d: DataLink) => ({ build: (): dashboard.DashboardLink => link(d.title, d.url) });

/** Where a column of that name leads, in every table that has it. */
export const columnLinks: Record<string, DataLink> = {
  site: dataLink('Site ${__value.text}', 'site', { site: clicked }),
  rack: dataLink('Nodes of rack ${__value.text}', 'node', { rack: clicked }),
  node: dataLink('Node ${__value.text}', 'node', { node: clicked }),
  device: dataLink('GPU ${__value.text}', 'gpu', { device: clicked }),
  tenant: dataLink('Tenant ${__value.text}', 'tenant', { tenant: clicked }),
  entry: dataLink('How entry ${__value.text} came about', 'ledger', { entry: clicked }),
};

/** A link at the head of a dashboard, with its variables and its range. */
export function headLink(title: string, to: Board, tooltip: string) {
  const built: dashboard.DashboardLink = {
    ...link(title, `/d/${uid[to]}`),
    icon: 'external link',
    tooltip,
    includeVars: true,
    keepTime: true,
  };
  return { build: () => built };
}

/** The list of all dashboards at the head of each. */
export function allBoards() {
  const built: dashboard.DashboardLink = {
    ...link('Wattledger', ''),
    type: DashboardLinkType.Dashboards,
    icon: 'external link',
    tags: [tag],
    asDropdown: true,
    includeVars: true,
    keepTime: true,
  };
  return { build: () => built };
}
