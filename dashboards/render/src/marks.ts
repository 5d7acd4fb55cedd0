import { FieldType, GrafanaTheme2, dataFrameFromJSON } from '@grafana/data';

import { Annotation } from './answers';

/** An annotation, drawn as a line across each chart. */
export interface Mark {
  time: number;
  color: string;
  text: string;
}

export function marksOf(annotations: Annotation[], theme: GrafanaTheme2): Mark[] {
  return annotations.flatMap((annotation) =>
    annotation.frames.flatMap((json) => {
      const frame = dataFrameFromJSON(json);
      const time = frame.fields.find((field) => field.type === FieldType.time);
      const text = frame.fields.find((field) => field.name === 'text') ?? frame.fields.find((field) => field.type === FieldType.string);
      const color = theme.visualization.getColorByName(annotation.color);
      return (time?.values ?? []).map((t: number, i: number) => ({ time: t, color, text: String(text?.values[i] ?? '') }));
    })
  );
}
