/**
 * Writes the dashboards as TypeScript literals into dist/conform.ts, for tsc to hold against Grafana's own types (npm run typecheck).
 * A literal is held more strictly than a JSON that is imported: a key that Grafana does not know is an error.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const boards = readdirSync(join(root, 'boards')).filter((name) => name.endsWith('.json'));
const text = boards.map((name) => {
  const variable = name.replace(/\.json$/, '').replace(/-/g, '_');
  return `export const ${variable}: Board = ${readFileSync(join(root, 'boards', name), 'utf8').trimEnd()};\n`;
});
mkdirSync(join(root, 'dist'), { recursive: true });
writeFileSync(join(root, 'dist', 'conform.ts'), `import type { Board } from '../src/schema';\n\n${text.join('\n')}`);
