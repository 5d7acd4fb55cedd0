import { DataSourceSettings } from '@grafana/data';
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState } from 'react';

import { Secrets, Settings, withScope, withSource } from '../settings';
import { ConfigEditor } from './ConfigEditor';

type Options = DataSourceSettings<Settings, Secrets>;

// Nobody waits between two keys.
const user = userEvent.setup({ delay: null });

/** The editor in a page that keeps what it says, as Grafana does. */
function show(jsonData: Settings, more: Partial<Options> = {}) {
  const said = { options: { jsonData, secureJsonFields: {}, readOnly: false, ...more } as Options };
  function Page() {
    const [options, setOptions] = useState(said.options);
    return (
      <ConfigEditor
        options={options}
        onOptionsChange={(next) => {
          said.options = next;
          setOptions(next);
        }}
      />
    );
  }
  render(<Page />);
  return said;
}

it('says that nothing is answered before a scope is chosen', async () => {
  const said = show({});
  expect(screen.getByRole('alert')).toHaveTextContent('nothing is answered');
  await user.click(screen.getByLabelText(/^One tenant/));
  expect(said.options.jsonData.scope).toBe('tenant');
  expect(screen.getByText(/sees this one tenant/)).toBeVisible();
});

it('takes a tenant', async () => {
  const said = show({ scope: 'tenant' });
  await user.type(screen.getByLabelText(/^Tenant/), 'fictional-bank');
  expect(said.options.jsonData.tenant).toBe('fictional-bank');
});

it('takes whole numbers, and nothing for the default', async () => {
  const said = show({ scope: 'operator' });
  const port = screen.getByLabelText('Port');
  expect(port).toHaveAttribute('placeholder', '8123');
  await user.type(port, '9000');
  expect(said.options.jsonData.port).toBe(9000);
  await user.clear(port);
  expect(said.options.jsonData.port).toBeUndefined();
});

it('shows the port that stands behind protocol and TLS', async () => {
  const said = show({ scope: 'operator', protocol: 'native' });
  await user.click(screen.getByLabelText(/^TLS/));
  expect(said.options.jsonData.tls).toBe(true);
  expect(screen.getByLabelText('Port')).toHaveAttribute('placeholder', '9440');
});

it('sends secrets apart, and never shows one that is kept', async () => {
  const said = show({ scope: 'operator' }, { secureJsonFields: { password: true } });
  expect(screen.getByLabelText('Password')).toBeDisabled();
  await user.click(screen.getByRole('button', { name: /reset/i }));
  await user.type(screen.getByLabelText('Password'), 'secret');
  expect(said.options.secureJsonData).toEqual({ password: 'secret' });
  expect(JSON.stringify(said.options.jsonData)).not.toContain('secret');
});

it('offers SQL to operators only, with its limits', async () => {
  const said = show({ scope: 'operator' });
  expect(screen.queryByLabelText('Rows of an answer')).not.toBeInTheDocument();
  await user.click(screen.getByLabelText(/^Allow SQL/));
  await user.type(screen.getByLabelText('Rows of an answer'), '500');
  expect(said.options.jsonData).toMatchObject({ allowSQL: true, sql: { maxRows: 500 } });
  await user.click(screen.getByLabelText(/^By identity/));
  expect(screen.queryByLabelText(/^Allow SQL/)).not.toBeInTheDocument();
  expect(said.options.jsonData.allowSQL).toBeUndefined();
});

it('maps persons to tenants', async () => {
  const said = show({ scope: 'identity', identity: { source: 'grafana' } });
  await user.type(screen.getByLabelText(/^Grafana’s address/), 'http://localhost:3000/');
  await user.click(screen.getByRole('button', { name: 'Add line' }));
  await user.type(screen.getByLabelText('Line 1: value'), 'ada');
  await user.type(screen.getByLabelText('Line 1: tenant'), 'fictional-bank');
  expect(said.options.jsonData.identity).toEqual({
    source: 'grafana',
    grafanaURL: 'http://localhost:3000/',
    map: [{ by: 'subject', value: 'ada', tenant: 'fictional-bank' }],
  });
});

it('can be read and not changed where it is provisioned', () => {
  show({ scope: 'operator', tls: true }, { readOnly: true });
  for (const field of screen.getAllByRole('textbox')) {
    expect(field).toBeDisabled();
  }
  for (const field of screen.getAllByRole('spinbutton')) {
    expect(field).toBeDisabled();
  }
});

it('drops what belongs to another scope, which the backend would refuse', () => {
  const all: Settings = { scope: 'tenant', tenant: 'a', allowSQL: true, identity: { source: 'oauth' }, host: 'h' };
  expect(withScope(all, 'operator')).toEqual({ scope: 'operator', host: 'h', allowSQL: true });
  expect(withScope(all, 'tenant')).toEqual({ scope: 'tenant', host: 'h', tenant: 'a' });
  expect(withScope(all, 'identity')).toEqual({ scope: 'identity', host: 'h', identity: { source: 'oauth' } });
  expect(withSource({ source: 'oauth', issuer: 'i', audience: 'a', tenantClaim: 't' }, 'grafana')).toEqual({ source: 'grafana' });
});
