import { DataSourceJsonData } from '@grafana/data';

/** Who may see what. The backend enforces it; the browser only says what was chosen. */
export type ScopeMode = 'operator' | 'tenant' | 'identity';

/** How the backend reaches ClickHouse. */
export type Protocol = 'http' | 'https' | 'native';

/**
 * What the data source is configured with, as it lies in jsonData. dashboards/datasource/pkg reads the same keys; a test of the
 * package release holds the two lists together.
 */
export interface Settings extends DataSourceJsonData {
  /** host:port of the servers, tried in order. */
  addresses?: string[];
  protocol?: Protocol;
  database?: string;
  username?: string;
  /** TLS over native; https always has it. */
  tls?: boolean;
  tlsServerName?: string;
  tlsSkipVerify?: boolean;

  /** Absent: nobody has chosen, and the backend answers nothing. */
  scope?: ScopeMode;
  /** The tenant that all who may use the data source see, with scope tenant; with scope identity, who is shown without a user. */
  tenant?: string;
  /** What vouches for the user, with scope identity: Grafana's own signed token, or that of the OAuth provider. */
  identitySource?: 'grafana' | 'oauth';
  identityJwksUrl?: string;
  identityIssuer?: string;
  identityAudience?: string;
  /** The claim that names the tenant, and the value of it that stands for the operator. */
  identityTenantClaim?: string;
  identityOperatorValue?: string;

  /** Statements of the operator's own. Only with scope operator. */
  allowSql?: boolean;
  maxSeconds?: number;
  maxRows?: number;
  maxMemoryMib?: number;
  maxConnections?: number;
  cacheMib?: number;
}

/** What is kept encrypted by Grafana and never comes back to the browser. */
export interface Secrets {
  password?: string;
  tlsCACert?: string;
  tlsClientCert?: string;
  tlsClientKey?: string;
}
