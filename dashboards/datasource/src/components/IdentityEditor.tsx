import { Button, Combobox, Field, IconButton, Input, Label, RadioButtonGroup, Stack } from '@grafana/ui';
import { useId } from 'react';

import { IdentitySource, Line, MapBy, Verification, withSource } from '../settings';

interface Props {
  identity: Verification;
  disabled: boolean;
  onChange: (identity: Verification) => void;
}

const WIDTH = 50;

const SOURCES: Array<{ value: IdentitySource; label: string }> = [
  { value: 'grafana', label: 'Grafana’s signed header' },
  { value: 'oauth', label: 'OAuth login' },
];

const WAYS: Array<{ value: MapBy; label: string; description: string }> = [
  { value: 'subject', label: 'Subject', description: 'user:<uid> in Grafana, “sub” at a provider: never changes' },
  { value: 'org', label: 'Organisation', description: 'Grafana’s number of it' },
  { value: 'email', label: 'E-mail', description: 'The whole address; counts only where it is verified' },
  { value: 'login', label: 'Login', description: 'The name; counts only where its owner cannot change it' },
];

type Name = 'grafanaURL' | 'issuer' | 'audience' | 'tenantClaim' | 'operatorClaim' | 'operatorValue';

/** How persons are verified, and which tenant each belongs to. */
export function IdentityEditor({ identity, disabled, onChange }: Props) {
  const id = useId();
  const oauth = identity.source === 'oauth';
  const lines = identity.map ?? [];
  const field = (name: Name, label: string, description: string, placeholder: string) => (
    <Field label={label} noMargin description={description} htmlFor={`${id}-${name}`} disabled={disabled}>
      <Input
        id={`${id}-${name}`}
        width={WIDTH}
        placeholder={placeholder}
        value={identity[name] ?? ''}
        onChange={(event) => onChange({ ...identity, [name]: event.currentTarget.value || undefined })}
      />
    </Field>
  );
  const replace = (at: number, line: Line) => onChange({ ...identity, map: lines.map((l, i) => (i === at ? line : l)) });

  return (
    <>
      <Field label="Verified by" noMargin>
        <RadioButtonGroup
          aria-label="Verified by"
          disabled={disabled}
          value={identity.source}
          options={SOURCES}
          onChange={(source) => onChange(withSource(identity, source))}
        />
      </Field>
      {identity.source === 'grafana' && (
        <>
          {field(
            'grafanaURL',
            'Grafana’s address',
            'Where the backend fetches the keys that the header is signed with.',
            'http://localhost:3000/'
          )}
          {field(
            'issuer',
            'Issuer',
            'Grafana’s root_url, where it differs from what Grafana tells the plugin.',
            'https://grafana.example.org/'
          )}
        </>
      )}
      {oauth && (
        <>
          {field('issuer', 'Issuer', 'The provider, as its tokens name it; its keys are found from there.', 'https://login.example.org/')}
          {field('audience', 'Audience', 'Grafana’s client id at the provider: a token for another program is refused.', 'grafana')}
          {field('tenantClaim', 'Claim of the tenant', 'Its value is the tenant’s id.', 'tenant')}
          {field('operatorClaim', 'Claim of operators', 'With the value below, the person sees every tenant.', 'groups')}
          {field('operatorValue', 'Value of operators', '', 'wattledger-operators')}
        </>
      )}
      {identity.source && (
        <div role="group" aria-label="Persons and tenants">
          <Stack direction="column" gap={1}>
            <Label description="The first line that fits decides. Who fits none sees nothing.">Persons and tenants</Label>
            {lines.map((line, at) => (
              <Stack key={at} direction="row" gap={1} alignItems="center">
                <Combobox
                  aria-label={`Line ${at + 1}: recognised by`}
                  width={20}
                  disabled={disabled}
                  value={line.by}
                  options={WAYS}
                  onChange={({ value }) => replace(at, { ...line, by: value })}
                />
                <Input
                  aria-label={`Line ${at + 1}: value`}
                  width={30}
                  disabled={disabled}
                  value={line.value}
                  placeholder={line.by === 'org' ? '2' : line.by === 'subject' ? 'user:…' : 'who'}
                  onChange={(event) => replace(at, { ...line, value: event.currentTarget.value })}
                />
                <Combobox
                  aria-label={`Line ${at + 1}: sees`}
                  width={16}
                  disabled={disabled}
                  value={line.operator ? 'operator' : 'tenant'}
                  options={[
                    { value: 'tenant', label: 'is tenant' },
                    ...(line.by === 'org' ? [] : [{ value: 'operator', label: 'sees all' }]),
                  ]}
                  onChange={({ value }) =>
                    replace(
                      at,
                      value === 'operator'
                        ? { by: line.by, value: line.value, operator: true }
                        : { by: line.by, value: line.value, tenant: '' }
                    )
                  }
                />
                {!line.operator && (
                  <Input
                    aria-label={`Line ${at + 1}: tenant`}
                    width={24}
                    disabled={disabled}
                    value={line.tenant ?? ''}
                    placeholder="the tenant’s id"
                    onChange={(event) => replace(at, { ...line, tenant: event.currentTarget.value })}
                  />
                )}
                <IconButton
                  name="times"
                  tooltip={`Remove line ${at + 1}`}
                  disabled={disabled}
                  onClick={() => onChange({ ...identity, map: lines.filter((_, i) => i !== at) })}
                />
              </Stack>
            ))}
            <div>
              <Button
                variant="secondary"
                icon="plus"
                disabled={disabled}
                onClick={() => onChange({ ...identity, map: [...lines, { by: 'subject', value: '', tenant: '' }] })}
              >
                Add line
              </Button>
            </div>
          </Stack>
        </div>
      )}
    </>
  );
}
