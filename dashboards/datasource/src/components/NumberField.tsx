import { Field, Input } from '@grafana/ui';
import { useId } from 'react';

interface Props {
  label: string;
  /** What stands behind the number. */
  unit?: string;
  value: number | undefined;
  /** What the backend takes where nothing is set. */
  placeholder: number;
  disabled?: boolean;
  onChange: (value: number | undefined) => void;
}

/** A whole number; an empty field is the default. */
export function NumberField({ label, unit, value, placeholder, disabled, onChange }: Props) {
  const id = useId();
  return (
    <Field label={label} noMargin htmlFor={id} disabled={disabled}>
      <Input
        id={id}
        type="number"
        min={0}
        width={20}
        suffix={unit}
        value={value ?? ''}
        placeholder={String(placeholder)}
        onChange={(event) => {
          const typed = event.currentTarget.value;
          onChange(typed === '' ? undefined : Math.trunc(Number(typed)));
        }}
      />
    </Field>
  );
}
