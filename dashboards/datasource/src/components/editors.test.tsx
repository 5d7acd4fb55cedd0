import { render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState } from 'react';

import { EXAMPLES } from '../examples';
import { FakeSource } from '../testing/source';
import { VariableQuery, WattledgerQuery } from '../types';
import { QueryEditor } from './QueryEditor';
import { QueryEditorHelp } from './QueryEditorHelp';
import { VariableQueryEditor } from './VariableQueryEditor';

const power: WattledgerQuery = { refId: 'A', kind: 'fleet', metric: 'power', form: 'series' };

// Nobody waits between two keys.
const user = userEvent.setup({ delay: null });

/** The editor in a page that keeps what it says, as Grafana does. */
function show(first: WattledgerQuery, source = new FakeSource()) {
  const said = { query: first, runs: 0, source };
  function Page() {
    const [query, setQuery] = useState(first);
    return (
      <QueryEditor
        datasource={source}
        query={query}
        onChange={(next) => {
          said.query = next;
          setQuery(next);
        }}
        onRunQuery={() => said.runs++}
      />
    );
  }
  render(<Page />);
  return said;
}

async function choose(label: string, option: string) {
  await user.click(screen.getByLabelText(label));
  await user.click(await screen.findByRole('option', { name: new RegExp(`^${option}`) }));
}

describe('the query editor', () => {
  it('says what is asked, with its unit', () => {
    show(power);
    expect(screen.getByLabelText('What is asked')).toHaveTextContent('one line over time for all. Unit: Watt (W).');
  });

  it('changes kind and metric, and runs', async () => {
    const said = show({ ...power, by: ['rack'] });
    await choose('What the question is about', 'Energy');
    expect(said.query).toMatchObject({ kind: 'energy', metric: 'total', form: 'series', by: undefined });
    await choose('Metric', 'PUE');
    expect(said.query).toMatchObject({ kind: 'energy', metric: 'pue' });
    expect(said.runs).toBe(2);
  });

  it('changes the form', async () => {
    const said = show(power);
    await user.click(screen.getByLabelText('Table'));
    expect(said.query.form).toBe('table');
  });

  it('groups, bounds and filters, with values from the backend', async () => {
    const said = show(power);
    await choose('Group by', 'Site');
    expect(said.query.by).toEqual(['site']);

    await user.type(screen.getByLabelText('Limit'), '7');
    await user.tab();
    expect(said.query.limit).toBe(7);

    await user.click(screen.getByRole('button', { name: 'Add filter' }));
    expect(said.query.filters).toEqual([{ dimension: 'site', values: [] }]);
    await choose('Dimension of filter 1', 'Node');
    await choose('Values of node', 'fr-b200-02');
    expect(said.query.filters).toEqual([{ dimension: 'node', values: ['fr-b200-02'] }]);
    expect(said.source.asked[0]).toMatchObject({ dimension: 'node', filters: [] });

    await user.click(screen.getByRole('button', { name: 'Remove the filter by node' }));
    expect(said.query.filters).toBeUndefined();
  });

  it('offers the dashboard’s variables as values', async () => {
    const said = show({ ...power, filters: [{ dimension: 'site', values: [] }] });
    await choose('Values of site', '\\$site');
    expect(said.query.filters).toEqual([{ dimension: 'site', values: ['$site'] }]);
  });

  it('leaves provisional hours out where there are some', async () => {
    const said = show({ ...power, kind: 'energy', metric: 'total' });
    await user.click(screen.getByLabelText('Closed hours only'));
    expect(said.query.closedOnly).toBe(true);
  });

  it('has no switch for closed hours where nothing is closed', () => {
    show(power);
    expect(screen.queryByLabelText('Closed hours only')).not.toBeInTheDocument();
  });

  it('shows an old question that nobody knows', () => {
    show({ ...power, metric: 'gone' });
    expect(screen.getByLabelText('What is asked')).toHaveTextContent('there is no gone of fleet');
  });
});

describe('SQL', () => {
  const sql: WattledgerQuery = { refId: 'A', kind: 'sql', metric: '', form: 'table', sql: 'SELECT 1' };

  it('is not offered where it is not allowed', async () => {
    show(power);
    await user.click(screen.getByLabelText('What the question is about'));
    expect(await screen.findByRole('option', { name: /^Fleet/ })).toBeVisible();
    expect(screen.queryByRole('option', { name: /^SQL/ })).not.toBeInTheDocument();
  });

  it('says that it is off in a dashboard that has some', () => {
    show(sql);
    expect(screen.getByRole('alert')).toHaveTextContent('SQL is off');
    expect(screen.queryByLabelText('SQL statement')).not.toBeInTheDocument();
  });

  it('is run when the field is left, not at each key', async () => {
    const said = show(sql, new FakeSource({ scope: 'operator', allowSQL: true }));
    await user.type(screen.getByLabelText('SQL statement'), ' + 1');
    expect(said.runs).toBe(0);
    await user.tab();
    expect([said.query.sql, said.runs]).toEqual(['SELECT 1 + 1', 1]);
  });

  it('is run by Ctrl+Enter', async () => {
    const said = show(sql, new FakeSource({ scope: 'operator', allowSQL: true }));
    await user.type(screen.getByLabelText('SQL statement'), '1{Control>}{Enter}{/Control}');
    expect([said.query.sql, said.runs]).toEqual(['SELECT 11', 1]);
  });
});

describe('the variable editor', () => {
  it('chooses a dimension and narrows it', async () => {
    let said: VariableQuery = { refId: '' } as VariableQuery;
    function Page() {
      const [query, setQuery] = useState(said);
      return (
        <VariableQueryEditor
          datasource={new FakeSource()}
          query={query}
          onChange={(next) => {
            said = next;
            setQuery(next);
          }}
          onRunQuery={() => undefined}
        />
      );
    }
    render(<Page />);
    expect(screen.getByText(/^Every site that the data source may see/)).toBeVisible();
    await choose('Dimension', 'Node');
    expect(said).toMatchObject({ dimension: 'node', refId: 'values' });
    await user.click(screen.getByRole('button', { name: 'Add filter' }));
    await choose('Values of site', 'se-demo');
    expect(said.filters).toEqual([{ dimension: 'site', values: ['se-demo'] }]);
  });
});

describe('the help', () => {
  it('hands over the example that is clicked', async () => {
    const taken: unknown[] = [];
    render(<QueryEditorHelp datasource={new FakeSource() as never} query={power} onClickExample={(query) => taken.push(query)} />);
    const first = EXAMPLES[0];
    await user.click(screen.getByText(first?.title ?? ''));
    await waitFor(() => expect(taken).toEqual([{ refId: 'A', ...first?.query }]));
    expect(within(document.body).getAllByRole('button')).toHaveLength(EXAMPLES.length);
  });
});
