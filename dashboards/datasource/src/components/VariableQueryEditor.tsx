import { QueryEditorProps } from '@grafana/data';
import { Combobox, InlineField, InlineFieldRow, Stack, Text } from '@grafana/ui';
import { useId } from 'react';

import { dimensionLabel, dimensionName, orAbsent } from '../catalogue';
import type { WattledgerDataSource } from '../datasource';
import { Dimension, DIMENSIONS, Filter } from '../query.gen';
import { Settings } from '../settings';
import { VariableQuery, WattledgerQuery } from '../types';
import { FilterEditor } from './FilterEditor';

type Props = QueryEditorProps<WattledgerDataSource, WattledgerQuery, Settings, VariableQuery>;

const LABEL_WIDTH = 14;

/** What can narrow the values of another dimension: places and holders. */
const NARROWING: readonly Dimension[] = ['site', 'rack', 'node', 'model', 'tenant', 'project', 'workload', 'model_id', 'purpose'];

/** A variable's values: those of a dimension, narrowed by others, which may be variables themselves. */
export function VariableQueryEditor({ datasource, query, onChange }: Props) {
  const id = useId();
  // A new variable has no question yet.
  const dimension = (query as Partial<VariableQuery>).dimension ?? 'site';
  const change = (next: { dimension?: Dimension; filters?: Filter[] }) =>
    onChange({ ...query, dimension, ...next, refId: query.refId || 'values' });

  return (
    <Stack direction="column" gap={0.5}>
      <InlineFieldRow>
        <InlineField label="Values of" labelWidth={LABEL_WIDTH} htmlFor={`${id}-dimension`}>
          <Combobox
            id={`${id}-dimension`}
            aria-label="Dimension"
            width={24}
            value={dimension}
            options={DIMENSIONS.filter(({ value }) => value !== 'entry').map(({ value, help }) => ({
              value,
              label: dimensionLabel(value),
              description: help || undefined,
            }))}
            onChange={({ value }) =>
              change({ dimension: value, filters: orAbsent((query.filters ?? []).filter((f) => f.dimension !== value)) })
            }
          />
        </InlineField>
      </InlineFieldRow>
      <FilterEditor
        source={datasource}
        dimensions={NARROWING.filter((d) => d !== dimension)}
        filters={query.filters ?? []}
        labelWidth={LABEL_WIDTH}
        onChange={(filters) => change({ filters: orAbsent(filters) })}
      />
      <Text variant="bodySmall" color="secondary">
        Every {dimensionName(dimension)} that the data source may see
        {query.filters?.length ? ', narrowed by the filters' : ''}. Where the variable stands at All, panels leave its filter out.
      </Text>
    </Stack>
  );
}
