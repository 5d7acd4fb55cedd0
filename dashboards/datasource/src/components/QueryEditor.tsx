import { CoreApp, QueryEditorProps } from '@grafana/data';
import {
  Alert,
  Combobox,
  InlineField,
  InlineFieldRow,
  InlineSwitch,
  Input,
  MultiCombobox,
  RadioButtonGroup,
  Stack,
  Text,
  TextArea,
} from '@grafana/ui';
import { useId } from 'react';

import {
  dimensionLabel,
  FORM_LABELS,
  formOf,
  hasProvisional,
  metricOf,
  metricsOf,
  orAbsent,
  spell,
  unitName,
  withMetric,
} from '../catalogue';
import type { WattledgerDataSource } from '../datasource';
import { describe } from '../describe';
import { canBeLive, channelsOf, liveDimension, MOST_CHANNELS } from '../live';
import { Kind, KINDS } from '../query.gen';
import { Settings } from '../settings';
import { WattledgerQuery } from '../types';
import { FilterEditor } from './FilterEditor';

type Props = QueryEditorProps<WattledgerDataSource, WattledgerQuery, Settings>;

const LABEL_WIDTH = 14;

/** Builds a question from the catalogue: what is about, the metric, its shape, and whom it is narrowed to. */
export function QueryEditor({ datasource, query, onChange, onRunQuery, app }: Props) {
  const id = useId();
  const metric = metricOf(query);

  const change = (next: Partial<WattledgerQuery>) => {
    onChange({ ...query, ...next });
    onRunQuery();
  };
  const choose = (kind: Kind, name?: string) => {
    onChange(withMetric(query, kind, name));
    onRunQuery();
  };

  const kinds = KINDS.filter(({ value }) => value !== 'sql' || datasource.sqlAllowed || query.kind === 'sql');

  return (
    <Stack direction="column" gap={0.5}>
      <InlineFieldRow>
        <InlineField label="About" labelWidth={LABEL_WIDTH} htmlFor={`${id}-kind`}>
          <Combobox
            id={`${id}-kind`}
            aria-label="What the question is about"
            width={24}
            value={query.kind}
            options={kinds.map(({ value, help }) => ({ value, label: spell(value), description: help }))}
            onChange={({ value }) => choose(value)}
          />
        </InlineField>
        {query.kind !== 'sql' && (
          <>
            <InlineField label="Metric" htmlFor={`${id}-metric`}>
              <Combobox
                id={`${id}-metric`}
                aria-label="Metric"
                width={32}
                value={query.metric || null}
                invalid={!metric}
                placeholder="Choose a metric"
                options={metricsOf(query.kind).map(({ name, help }) => ({ value: name, label: spell(name), description: help }))}
                onChange={({ value }) => choose(query.kind, value)}
              />
            </InlineField>
            {metric && (
              <InlineField label="As">
                <RadioButtonGroup
                  aria-label="Shape of the answer"
                  value={formOf(query, metric)}
                  options={metric.forms.map((value) => ({ value, label: FORM_LABELS[value] }))}
                  onChange={(form) => change({ form })}
                />
              </InlineField>
            )}
          </>
        )}
      </InlineFieldRow>

      {query.kind === 'sql' ? (
        <SqlEditor {...{ datasource, query, change, app }} />
      ) : (
        metric && (
          <>
            <InlineFieldRow>
              <InlineField
                label="Group by"
                labelWidth={LABEL_WIDTH}
                htmlFor={`${id}-by`}
                disabled={metric.by.length === 0}
                tooltip="One line or row for each. Nothing: all together."
              >
                <MultiCombobox
                  id={`${id}-by`}
                  width={44}
                  placeholder="All together"
                  value={query.by ?? []}
                  options={metric.by.map((value) => ({ value, label: dimensionLabel(value) }))}
                  onChange={(chosen) => change({ by: orAbsent(chosen.map(({ value }) => value)) })}
                />
              </InlineField>
              <InlineField
                label="Limit"
                htmlFor={`${id}-limit`}
                tooltip="Keeps the largest so many. What is left out is said beside the figures; of lines that add up it is summed as “other”."
              >
                <Input
                  // A new field for a new number from elsewhere; while somebody types it is theirs.
                  key={query.limit}
                  id={`${id}-limit`}
                  aria-label="Limit"
                  type="number"
                  min={0}
                  width={14}
                  placeholder="metric’s own"
                  defaultValue={query.limit}
                  onBlur={(event) => {
                    const limit = Math.max(0, Math.trunc(Number(event.currentTarget.value))) || undefined;
                    if (limit !== query.limit) {
                      change({ limit });
                    }
                  }}
                />
              </InlineField>
              {canBeLive(query) && (
                <InlineField
                  label="Live"
                  htmlFor={`${id}-live`}
                  tooltip={`Points as they are read, each second: for one ${liveDimension(query.kind)} or up to ${MOST_CHANNELS}, chosen by a filter alone.`}
                >
                  <InlineSwitch
                    id={`${id}-live`}
                    aria-label="Live"
                    value={query.live ?? false}
                    onChange={(event) => change({ live: event.currentTarget.checked || undefined })}
                  />
                </InlineField>
              )}
              {hasProvisional(query.kind) && (
                <InlineField
                  label="Closed hours only"
                  htmlFor={`${id}-closed`}
                  tooltip="Hours that the ledger has not closed yet are estimated, and drawn apart as provisional. On: they are left out."
                >
                  <InlineSwitch
                    id={`${id}-closed`}
                    aria-label="Closed hours only"
                    value={query.closedOnly ?? false}
                    onChange={(event) => change({ closedOnly: event.currentTarget.checked || undefined })}
                  />
                </InlineField>
              )}
            </InlineFieldRow>
            <FilterEditor
              source={datasource}
              dimensions={metric.by}
              filters={query.filters ?? []}
              labelWidth={LABEL_WIDTH}
              onChange={(filters) => change({ filters: orAbsent(filters) })}
            />
          </>
        )
      )}

      <Text variant="bodySmall" color="secondary" aria-label="What is asked">
        {describe(query)}
        {query.live && !channelsOf(query) && ` Not live: choose by a filter on ${liveDimension(query.kind)} alone.`}
        {metric && unitName(metric.unit) && ` Unit: ${unitName(metric.unit)}.`}
      </Text>
    </Stack>
  );
}

interface SqlProps extends Pick<Props, 'datasource' | 'query' | 'app'> {
  change: (next: Partial<WattledgerQuery>) => void;
}

/** The statement is run when the field is left, or by Ctrl+Enter: not at each key, as it may read much. */
function SqlEditor({ datasource, query, change, app }: SqlProps) {
  if (!datasource.sqlAllowed) {
    return (
      <Alert severity="warning" title="SQL is off">
        This data source does not allow statements of your own: it needs the operator’s scope and the switch “Allow SQL” in its settings.
      </Alert>
    );
  }
  return (
    <>
      <TextArea
        key={query.refId}
        aria-label="SQL statement"
        rows={6}
        spellCheck={false}
        style={{ fontFamily: 'monospace' }}
        placeholder="SELECT site, count() AS hours FROM seal GROUP BY site"
        defaultValue={query.sql ?? ''}
        onBlur={(event) => event.currentTarget.value !== (query.sql ?? '') && change({ sql: event.currentTarget.value })}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
            change({ sql: event.currentTarget.value });
          }
        }}
      />
      <Text variant="bodySmall" color="secondary">
        Read only, with the limits of the data source. A variable becomes a list of quoted strings: <code>WHERE site IN ($site)</code>.
        {app === CoreApp.UnifiedAlerting && ' An alert needs one column of numbers.'}
      </Text>
    </>
  );
}
