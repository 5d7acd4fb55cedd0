import { DataSourceJsonData } from '@grafana/data';

/** Whom the data source answers for. The backend enforces it; the browser only says what was chosen. */
export type Scope = 'operator' | 'tenant' | 'identity';

/** How the backend reaches ClickHouse. */
export type Protocol = 'http' | 'native';

/** Whose word is taken for who somebody is. */
export type IdentitySource = 'grafana' | 'oauth';

/** By what a person is recognised. */
export type MapBy = 'subject' | 'login' | 'email' | 'org';

/**
 * What the data source is configured with, as it lies in jsonData. The backend (pkg/settings) reads the same keys, says what each
 * means and checks them; a test of dashboards/datasource holds the two lists together.
 */
export interface Settings extends DataSourceJsonData {
  host?: string;
  port?: number;
  protocol?: Protocol;
  tls?: boolean;
  serverName?: string;
  tlsSkipVerify?: boolean;
  database?: string;
  username?: string;
  maxConnections?: number;
  maxParallel?: number;
  dialTimeoutSeconds?: number;
  queryTimeoutSeconds?: number;
  scope?: Scope;
  tenant?: string;
  identity?: Verification;
  allowSQL?: boolean;
  sql?: Limits;
  cacheOff?: boolean;
  cacheMiB?: number;
  maxStreams?: number;
}

/** Bounds of one statement of an operator's own. */
export interface Limits {
  timeoutSeconds?: number;
  maxRows?: number;
  memoryMiB?: number;
}

/** How persons are verified, and which tenant each belongs to. */
export interface Verification {
  source?: IdentitySource;
  grafanaURL?: string;
  issuer?: string;
  audience?: string;
  tenantClaim?: string;
  operatorClaim?: string;
  operatorValue?: string;
  map?: Line[];
}

/** Maps one kind of person to a tenant, or makes it an operator. */
export interface Line {
  by: MapBy;
  value: string;
  tenant?: string;
  operator?: boolean;
}

/** What is kept encrypted by Grafana and never comes back to the browser. */
export interface Secrets {
  password?: string;
  tlsCACert?: string;
  tlsClientCert?: string;
  tlsClientKey?: string;
}

/** What the backend takes where nothing is set, shown as placeholders. */
export const DEFAULTS = {
  host: '127.0.0.1',
  database: 'wattledger',
  username: 'default',
  maxConnections: 16,
  maxParallel: 6,
  dialTimeoutSeconds: 5,
  queryTimeoutSeconds: 30,
  sql: { timeoutSeconds: 10, maxRows: 10_000, memoryMiB: 1024 },
  cacheMiB: 256,
  maxStreams: 50,
} as const satisfies Settings;

/** The port that the backend takes where none is set. */
export function defaultPort(settings: Settings): number {
  const native = settings.protocol === 'native';
  return settings.tls ? (native ? 9440 : 8443) : native ? 9000 : 8123;
}

/** The settings with another scope: what belongs to the old one goes, or the backend would refuse the lot. */
export function withScope(settings: Settings, scope: Scope): Settings {
  return {
    ...settings,
    scope,
    tenant: scope === 'tenant' ? settings.tenant : undefined,
    identity: scope === 'identity' ? (settings.identity ?? { source: 'grafana', map: [] }) : undefined,
    allowSQL: scope === 'operator' ? settings.allowSQL : undefined,
  };
}

/** The same for whose word is taken: Grafana's token has no claims of ours, and a provider's names its audience. */
export function withSource(identity: Verification, source: IdentitySource): Verification {
  return source === 'grafana'
    ? { source, grafanaURL: identity.grafanaURL, map: identity.map }
    : { ...identity, source, grafanaURL: undefined };
}
