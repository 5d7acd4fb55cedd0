/** What a test asks of a page that is drawn. */
export interface Measured {
  height: number;
  panels: Array<{
    id: number;
    type: string;
    title: string;
    /** How many points, rows or figures it shows; 0 is an empty panel. */
    drawn: number;
    error: string;
    notices: string;
  }>;
  /** What a reader could not read: panels over one another, words cut off or outside their panel. */
  faults: string[];
}

export function measured(): Measured {
  const panels = [...document.querySelectorAll<HTMLElement>('[data-panel]')];
  return {
    height: Math.ceil(document.documentElement.scrollHeight),
    panels: panels.map((panel) => ({
      id: Number(panel.dataset['panel']),
      type: panel.dataset['type'] ?? '',
      title: titleOf(panel),
      drawn: [...panel.querySelectorAll<HTMLElement>('[data-drawn]')].reduce((n, e) => n + Number(e.dataset['drawn']), 0),
      error: panel.querySelector('[data-error]')?.textContent ?? '',
      notices: panel.querySelector<HTMLElement>('[data-notices]')?.dataset['notices'] ?? '',
    })),
    faults: [...overlaps(panels), ...panels.flatMap(unreadable)],
  };
}

const titleOf = (panel: HTMLElement) => panel.querySelector('[data-title]')?.textContent ?? `panel ${panel.dataset['panel']}`;

function overlaps(panels: HTMLElement[]): string[] {
  const faults: string[] = [];
  panels.forEach((a, i) => {
    const x = a.getBoundingClientRect();
    if (x.right > innerWidth + 1) {
      faults.push(`${titleOf(a)} reaches beyond the page`);
    }
    for (const b of panels.slice(i + 1)) {
      const y = b.getBoundingClientRect();
      if (x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 1 && y.top < x.bottom - 1) {
        faults.push(`${titleOf(a)} and ${titleOf(b)} overlap`);
      }
    }
  });
  return faults;
}

/** Words outside their panel, or cut off in it. What scrolls in Grafana may go on below; a title may not be cut. */
function unreadable(panel: HTMLElement): string[] {
  const faults: string[] = [];
  const outer = panel.getBoundingClientRect();
  const title = panel.querySelector<HTMLElement>('[data-title]');
  if (title && title.scrollWidth > title.clientWidth + 1) {
    faults.push(`${titleOf(panel)}: the title is cut off`);
  }
  const walker = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.textContent?.trim() ?? '';
    const scrolls = node.parentElement?.closest<HTMLElement>('[data-scroll]');
    // A table that is wider than its panel is scrolled sideways, which its last columns show.
    if (text === '' || scrolls?.dataset['scroll'] === 'x') {
      continue;
    }
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    const wide = box.right > outer.right + 1 || box.left < outer.left - 1;
    const tall = !scrolls && (box.bottom > outer.bottom + 1 || box.top < outer.top - 1);
    if (box.width > 0 && (wide || tall)) {
      faults.push(`${titleOf(panel)}: "${text.slice(0, 60)}" lies outside its panel`);
    }
  }
  for (const head of panel.querySelectorAll<HTMLElement>('th')) {
    if (head.scrollWidth > head.clientWidth + 1) {
      faults.push(`${titleOf(panel)}: the column ${head.textContent} is cut off`);
    }
  }
  return faults;
}
