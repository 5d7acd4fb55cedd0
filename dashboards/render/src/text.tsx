import { GrafanaTheme2, renderMarkdown } from '@grafana/data';

import { PanelModel } from './answers';

/** Words of the dashboard's own. */
export function Text({ panel, height, theme }: { panel: PanelModel; height: number; theme: GrafanaTheme2 }) {
  const content: string = panel.options?.content ?? '';
  return (
    <div
      data-drawn={content.length}
      style={{ maxHeight: height, fontSize: 13, lineHeight: 1.45, color: theme.colors.text.primary }}
      className="words"
      dangerouslySetInnerHTML={{ __html: panel.options?.mode === 'html' ? content : renderMarkdown(content) }}
    />
  );
}
