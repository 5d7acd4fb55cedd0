import { QueryEditorHelpProps } from '@grafana/data';
import { Card, Stack, Text } from '@grafana/ui';

import { describe } from '../describe';
import { EXAMPLES } from '../examples';
import { WattledgerQuery } from '../types';

/** Examples to start from: a click takes one. */
export function QueryEditorHelp({ onClickExample }: QueryEditorHelpProps<WattledgerQuery>) {
  return (
    <Stack direction="column" gap={1}>
      <Text element="h2">Questions to start from</Text>
      {EXAMPLES.map(({ title, query }) => (
        <Card key={title} noMargin onClick={() => onClickExample({ refId: 'A', ...query })}>
          <Card.Heading>{title}</Card.Heading>
          <Card.Description>{describe(query)}</Card.Description>
        </Card>
      ))}
      <Text element="p" color="secondary">
        Figures of the ledger stand as they were booked. Hours that are not closed yet are estimated and come as lines of their own, named
        provisional. A gap in a line means that nothing was read; it is never a zero.
      </Text>
      <Text element="p" color="secondary">
        A filter takes variables: <code>$site</code> with several values means any of them, and All leaves the filter out.
      </Text>
    </Stack>
  );
}
