// A page that shows one of the editors as Grafana does, without a Grafana: ?show=query&theme=dark. It proves that they mount, answer
// and can be read; the frame around them is ours.
import { createTheme, GrafanaTheme2 } from '@grafana/data';
import { GlobalStyles, PortalContainer, ThemeContext } from '@grafana/ui';
import { ReactNode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { ConfigEditor } from '../src/components/ConfigEditor';
import { QueryEditor } from '../src/components/QueryEditor';
import { QueryEditorHelp } from '../src/components/QueryEditorHelp';
import { VariableQueryEditor } from '../src/components/VariableQueryEditor';
import { Settings } from '../src/settings';
import { FakeSource } from '../src/testing/source';
import { VariableQuery, WattledgerQuery } from '../src/types';

declare global {
  interface Window {
    /** What the editor has said last, for the test. */
    said: unknown;
  }
}

function Queries({ first, source = new FakeSource() }: { first: WattledgerQuery; source?: FakeSource }) {
  const [query, setQuery] = useState(first);
  useEffect(() => void (window.said = query), [query]);
  return <QueryEditor datasource={source} query={query} onChange={setQuery} onRunQuery={() => undefined} />;
}

function Variables() {
  const [query, setQuery] = useState<VariableQuery>({
    refId: 'values',
    dimension: 'node',
    filters: [{ dimension: 'site', values: ['$site'] }],
  });
  useEffect(() => void (window.said = query), [query]);
  return <VariableQueryEditor datasource={new FakeSource()} query={query} onChange={setQuery} onRunQuery={() => undefined} />;
}

function Config({ jsonData, kept = {} }: { jsonData: Settings; kept?: Record<string, boolean> }) {
  const [options, setOptions] = useState({ jsonData, secureJsonFields: kept, readOnly: false });
  useEffect(() => void (window.said = options), [options]);
  return <ConfigEditor options={options as never} onOptionsChange={setOptions} />;
}

const operator = new FakeSource({ scope: 'operator', allowSQL: true });

const SHOWN: Readonly<Record<string, ReactNode>> = {
  query: (
    <Queries
      first={{
        refId: 'A',
        kind: 'energy',
        metric: 'total',
        form: 'series',
        by: ['component'],
        limit: 10,
        filters: [
          { dimension: 'site', values: ['$site'] },
          { dimension: 'tenant', values: ['fictional-bank', 'fictional-railway'] },
        ],
      }}
    />
  ),
  'query-new': <Queries first={{ refId: 'A', kind: 'fleet', metric: 'power', form: 'series' }} />,
  'query-sql': (
    <Queries
      source={operator}
      first={{ refId: 'A', kind: 'sql', metric: '', form: 'table', sql: 'SELECT site, count() AS hours\nFROM seal\nGROUP BY site' }}
    />
  ),
  'query-sql-off': <Queries first={{ refId: 'A', kind: 'sql', metric: '', form: 'table', sql: 'SELECT 1' }} />,
  help: <QueryEditorHelp datasource={new FakeSource()} query={{ refId: 'A' } as never} onClickExample={(query) => (window.said = query)} />,
  variable: <Variables />,
  'config-new': <Config jsonData={{}} />,
  'config-operator': (
    <Config jsonData={{ host: 'clickhouse.example.org', tls: true, scope: 'operator', allowSQL: true }} kept={{ password: true }} />
  ),
  'config-tenant': <Config jsonData={{ scope: 'tenant', tenant: 'fictional-bank' }} />,
  'config-identity': (
    <Config
      jsonData={{
        scope: 'identity',
        identity: {
          source: 'grafana',
          grafanaURL: 'http://localhost:3000/',
          map: [
            { by: 'org', value: '2', tenant: 'fictional-bank' },
            { by: 'login', value: 'ada', operator: true },
          ],
        },
      }}
      kept={{ password: true }}
    />
  ),
};

function Page({ theme, children }: { theme: GrafanaTheme2; children: ReactNode }) {
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <main
        style={{
          boxSizing: 'border-box',
          padding: theme.spacing(2),
          background: theme.colors.background.primary,
          color: theme.colors.text.primary,
          fontFamily: theme.typography.fontFamily,
          fontSize: theme.typography.fontSize,
        }}
      >
        {children}
      </main>
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

const asked = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: asked.get('theme') === 'light' ? 'light' : 'dark' } });
document.body.style.margin = '0';
document.body.style.background = theme.colors.background.primary;
document.documentElement.style.colorScheme = theme.isDark ? 'dark' : 'light';

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(<Page theme={theme}>{SHOWN[asked.get('show') ?? ''] ?? 'There is no such editor.'}</Page>);
}
