import { Button, Combobox, ComboboxOption, IconButton, InlineField, InlineFieldRow, InlineLabel, MultiCombobox } from '@grafana/ui';
import { useId } from 'react';

import { activeFilters, dimensionLabel, dimensionName } from '../catalogue';
import type { WattledgerDataSource } from '../datasource';
import { Dimension, Filter } from '../query.gen';

/** What the editor needs of the data source. */
export type Choices = Pick<WattledgerDataSource, 'values' | 'variableNames'>;

interface Props {
  source: Choices;
  dimensions: readonly Dimension[];
  filters: Filter[];
  labelWidth: number;
  onChange: (filters: Filter[]) => void;
}

/** A row for each filter: a dimension, and the values that it may have. The choices come from the backend, narrowed by the other rows. */
export function FilterEditor({ source, dimensions, filters, labelWidth, onChange }: Props) {
  const id = useId();
  const unused = dimensions.filter((d) => !filters.some((f) => f.dimension === d));
  const replace = (at: number, filter: Filter) => onChange(filters.map((f, i) => (i === at ? filter : f)));

  return (
    <>
      {filters.map((filter, at) => (
        <InlineFieldRow key={filter.dimension}>
          <InlineField label={at === 0 ? 'Where' : 'and'} labelWidth={labelWidth}>
            <Combobox
              aria-label={`Dimension of filter ${at + 1}`}
              width={20}
              value={filter.dimension}
              options={[filter.dimension, ...unused].map((value) => ({ value, label: dimensionLabel(value) }))}
              onChange={({ value }) => replace(at, { dimension: value, values: [] })}
            />
          </InlineField>
          <InlineLabel width="auto">is</InlineLabel>
          <span id={`${id}-${filter.dimension}`} hidden>
            Values of {dimensionName(filter.dimension)}
          </span>
          <MultiCombobox
            // A new list for a new dimension or other rows: the choices of the old one would be wrong.
            key={JSON.stringify([filter.dimension, activeFilters(filters.filter((f) => f !== filter))])}
            // The component takes no aria-label.
            aria-labelledby={`${id}-${filter.dimension}`}
            width={60}
            placeholder="Any"
            createCustomValue
            value={filter.values.map((value) => ({ value, label: value }))}
            options={(input) => choices(source, filter, filters, input)}
            onChange={(chosen) => replace(at, { ...filter, values: chosen.map(({ value }) => value) })}
          />
          <IconButton
            name="times"
            tooltip={`Remove the filter by ${dimensionName(filter.dimension)}`}
            onClick={() => onChange(filters.filter((_, i) => i !== at))}
          />
        </InlineFieldRow>
      ))}
      {unused[0] && (
        <InlineFieldRow>
          {filters.length === 0 && <InlineLabel width={labelWidth}>Where</InlineLabel>}
          <Button
            variant="secondary"
            fill="text"
            icon="plus"
            onClick={() => unused[0] && onChange([...filters, { dimension: unused[0], values: [] }])}
          >
            Add filter
          </Button>
        </InlineFieldRow>
      )}
    </>
  );
}

async function choices(source: Choices, filter: Filter, filters: Filter[], input: string): Promise<ComboboxOption[]> {
  const others = activeFilters(filters.filter((f) => f !== filter));
  const variables = source
    .variableNames()
    .filter((name) => name.toLowerCase().includes(input.toLowerCase()))
    .map((value) => ({ value, label: value, description: 'Variable of the dashboard' }));
  const values = await source.values(filter.dimension, others, input);
  return [
    ...variables,
    ...values.map(({ text, value }) => (text === value ? { value, label: value } : { value, label: text, description: value })),
  ];
}
