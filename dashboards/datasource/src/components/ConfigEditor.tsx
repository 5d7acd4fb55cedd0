import { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { Alert, Combobox, Divider, Field, Input, RadioButtonGroup, SecretInput, SecretTextArea, Stack, Switch, Text } from '@grafana/ui';
import { ChangeEvent, PropsWithChildren, useId } from 'react';

import { DEFAULTS, defaultPort, Limits, Protocol, Scope, Secrets, Settings, withScope } from '../settings';
import { IdentityEditor } from './IdentityEditor';
import { NumberField } from './NumberField';

type Props = DataSourcePluginOptionsEditorProps<Settings, Secrets>;

const WIDTH = 50;

const SCOPES: Array<{ value: Scope; label: string; description: string }> = [
  { value: 'operator', label: 'Operator', description: 'Every tenant' },
  { value: 'tenant', label: 'One tenant', description: 'Whoever asks' },
  { value: 'identity', label: 'By identity', description: 'Each person their own' },
];

const PRIVACY: Readonly<Record<Scope, string>> = {
  operator:
    'Whoever may query this data source sees every tenant: their names, what they hold and what they use. Give it to the operator’s team alone, by the data source’s permissions.',
  tenant:
    'Whoever may query this data source, persons, alert rules and public dashboards alike, sees this one tenant: its ledger, and what devices read while it held the whole of them. Never another tenant, a device it shares, or a sum of the fleet.',
  identity:
    'Each person sees the tenant that their verified identity belongs to, and operators see all. Where no person asks, as with alert rules and public dashboards, nothing is answered: use a source of one tenant there.',
};

/** Where ClickHouse is, who is answered, and how much one question may take. The backend checks all of it when the source is saved. */
export function ConfigEditor({ options, onOptionsChange }: Props) {
  const id = useId();
  const { jsonData, secureJsonFields, secureJsonData, readOnly } = options;

  const set = (next: Settings) => onOptionsChange({ ...options, jsonData: next });
  const change = (next: Partial<Settings>) => set({ ...jsonData, ...next });
  const secret = (name: keyof Secrets) => ({
    id: `${id}-${name}`,
    isConfigured: Boolean(secureJsonFields[name]),
    value: secureJsonData?.[name] ?? '',
    disabled: readOnly,
    onReset: () =>
      onOptionsChange({
        ...options,
        secureJsonFields: { ...secureJsonFields, [name]: false },
        secureJsonData: { ...secureJsonData, [name]: '' },
      }),
    onChange: (event: ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) =>
      onOptionsChange({ ...options, secureJsonData: { ...secureJsonData, [name]: event.currentTarget.value } }),
  });
  const text = (name: 'host' | 'serverName' | 'database' | 'username' | 'tenant', placeholder: string) => ({
    id: `${id}-${name}`,
    value: jsonData[name] ?? '',
    placeholder,
    width: WIDTH,
    onChange: (event: ChangeEvent<HTMLInputElement>) => change({ [name]: event.currentTarget.value || undefined }),
  });
  const limit = (name: keyof Limits) => ({
    value: jsonData.sql?.[name],
    placeholder: DEFAULTS.sql[name],
    onChange: (value?: number) => change({ sql: { ...jsonData.sql, [name]: value } }),
    disabled: readOnly,
  });
  const count = (name: 'maxConnections' | 'maxParallel' | 'queryTimeoutSeconds' | 'dialTimeoutSeconds' | 'cacheMiB' | 'maxStreams') => ({
    value: jsonData[name],
    placeholder: DEFAULTS[name],
    onChange: (value?: number) => change({ [name]: value }),
    disabled: readOnly,
  });
  const flag = (name: 'tls' | 'tlsSkipVerify' | 'allowSQL' | 'cacheOff', more?: Partial<Settings>) => ({
    id: `${id}-${name}`,
    value: jsonData[name] ?? false,
    onChange: (event: ChangeEvent<HTMLInputElement>) => change({ [name]: event.currentTarget.checked || undefined, ...more }),
  });

  return (
    <Stack direction="column" gap={0}>
      <Section
        title="ClickHouse"
        text="Where Wattledger’s tables are. Use a login that may only read: Wattledger brings the SQL that makes one."
      >
        <Field label="Host" noMargin htmlFor={`${id}-host`} disabled={readOnly}>
          <Input {...text('host', DEFAULTS.host)} />
        </Field>
        <Field label="Protocol" noMargin disabled={readOnly} htmlFor={`${id}-protocol`}>
          <Combobox<Protocol>
            id={`${id}-protocol`}
            width={WIDTH}
            disabled={readOnly}
            value={jsonData.protocol ?? 'http'}
            options={[
              { value: 'http', label: 'HTTP', description: 'Passes proxies and balancers; what is tested most' },
              { value: 'native', label: 'Native', description: 'ClickHouse’s own protocol over TCP' },
            ]}
            onChange={({ value }) => change({ protocol: value })}
          />
        </Field>
        <NumberField
          label="Port"
          value={jsonData.port}
          placeholder={defaultPort(jsonData)}
          disabled={readOnly}
          onChange={(port) => change({ port })}
        />
        <Field label="Database" noMargin htmlFor={`${id}-database`} disabled={readOnly}>
          <Input {...text('database', DEFAULTS.database)} />
        </Field>
        <Field label="User name" noMargin htmlFor={`${id}-username`} disabled={readOnly}>
          <Input {...text('username', DEFAULTS.username)} />
        </Field>
        <Field label="Password" noMargin htmlFor={`${id}-password`}>
          <SecretInput {...secret('password')} width={WIDTH} placeholder="Password of the user" />
        </Field>
      </Section>

      <Section title="Encryption">
        <Field label="TLS" noMargin htmlFor={`${id}-tls`} description="Encrypts the way to ClickHouse." disabled={readOnly}>
          <Switch {...flag('tls', jsonData.tls ? { serverName: undefined, tlsSkipVerify: undefined } : {})} />
        </Field>
        {jsonData.tls && (
          <>
            <Field
              label="Authority’s certificate"
              noMargin
              htmlFor={`${id}-tlsCACert`}
              description="In PEM, where the server’s certificate is not signed by an authority that the system trusts."
            >
              <SecretTextArea {...secret('tlsCACert')} cols={WIDTH} rows={4} placeholder="-----BEGIN CERTIFICATE-----" />
            </Field>
            <Field label="Client certificate" noMargin htmlFor={`${id}-tlsClientCert`} description="In PEM, where the server asks for one.">
              <SecretTextArea {...secret('tlsClientCert')} cols={WIDTH} rows={4} placeholder="-----BEGIN CERTIFICATE-----" />
            </Field>
            <Field label="Client key" noMargin htmlFor={`${id}-tlsClientKey`}>
              <SecretTextArea {...secret('tlsClientKey')} cols={WIDTH} rows={4} placeholder="-----BEGIN PRIVATE KEY-----" />
            </Field>
            <Field
              label="Server name"
              noMargin
              htmlFor={`${id}-serverName`}
              description="The name in the certificate, where it differs from the host."
              disabled={readOnly}
            >
              <Input {...text('serverName', 'the host')} />
            </Field>
            <Field
              label="Trust any server"
              noMargin
              htmlFor={`${id}-tlsSkipVerify`}
              description="For a test bench only: whoever sits between reads and changes everything."
              disabled={readOnly}
            >
              <Switch {...flag('tlsSkipVerify')} />
            </Field>
          </>
        )}
      </Section>

      <Section
        title="Who sees what"
        text="The backend decides it for every question, from this choice alone: nothing in a dashboard can widen it."
      >
        <Field label="Scope" noMargin>
          <RadioButtonGroup
            aria-label="Scope"
            disabled={readOnly}
            value={jsonData.scope}
            options={SCOPES}
            onChange={(scope) => set(withScope(jsonData, scope))}
          />
        </Field>
        {jsonData.scope ? (
          <Alert severity={jsonData.scope === 'operator' ? 'warning' : 'info'} title={PRIVACY[jsonData.scope]} />
        ) : (
          <Alert severity="error" title="Choose a scope: until then nothing is answered." />
        )}
        {jsonData.scope === 'tenant' && (
          <Field label="Tenant" noMargin required htmlFor={`${id}-tenant`} description="Its id, as in the inventory." disabled={readOnly}>
            <Input {...text('tenant', 'fictional-bank')} />
          </Field>
        )}
        {jsonData.scope === 'identity' && (
          <IdentityEditor identity={jsonData.identity ?? {}} disabled={readOnly} onChange={(identity) => change({ identity })} />
        )}
        {jsonData.scope === 'operator' && (
          <>
            <Field
              label="Allow SQL"
              noMargin
              htmlFor={`${id}-allowSQL`}
              description="Statements of your own in panels and in Explore: read only, bounded by the limits below."
              disabled={readOnly}
            >
              <Switch {...flag('allowSQL')} />
            </Field>
            {jsonData.allowSQL && (
              <Stack direction="row" gap={2} wrap="wrap">
                <NumberField label="Time of a statement" unit="s" {...limit('timeoutSeconds')} />
                <NumberField label="Rows of an answer" {...limit('maxRows')} />
                <NumberField label="Memory of a statement" unit="MiB" {...limit('memoryMiB')} />
              </Stack>
            )}
          </>
        )}
      </Section>

      <Section last title="Limits and cache" text="What one data source may take of the server, and keep of its answers.">
        <Stack direction="row" gap={2} wrap="wrap">
          <NumberField label="Time of a question" unit="s" {...count('queryTimeoutSeconds')} />
          <NumberField label="Time to connect" unit="s" {...count('dialTimeoutSeconds')} />
          <NumberField label="Connections" {...count('maxConnections')} />
          <NumberField label="Questions at once per request" {...count('maxParallel')} />
          <NumberField label="Live channels" {...count('maxStreams')} />
        </Stack>
        <Field
          label="No cache"
          noMargin
          htmlFor={`${id}-cacheOff`}
          description="Answers are kept while they hold, and figures are as of the last whole seconds, or minute for long ranges. On: everything is asked anew each time."
          disabled={readOnly}
        >
          <Switch {...flag('cacheOff')} />
        </Field>
        {!jsonData.cacheOff && <NumberField label="Memory of the cache" unit="MiB" {...count('cacheMiB')} />}
      </Section>
    </Stack>
  );
}

function Section({ title, text, last, children }: PropsWithChildren<{ title: string; text?: string; last?: boolean }>) {
  return (
    <section aria-label={title}>
      <Stack direction="column" gap={2}>
        <div>
          <Text element="h3">{title}</Text>
          {text && (
            <Text element="p" color="secondary">
              {text}
            </Text>
          )}
        </div>
        {children}
      </Stack>
      {!last && <Divider spacing={3} />}
    </section>
  );
}
