/**
 * Writes every dashboard into the folder boards, keys sorted, so that a change of the generator shows as the change of the
 * dashboards that it is. The JSON is never edited by hand.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Model } from './board';
import { energy } from './boards/energy';
import { fleet } from './boards/fleet';
import { gpu } from './boards/gpu';
import { ledger } from './boards/ledger';
import { node } from './boards/node';
import { pipeline } from './boards/pipeline';
import { site } from './boards/site';
import { sovereignty } from './boards/sovereignty';
import { tenant } from './boards/tenant';

const boards: Model[] = [fleet, site, node, gpu, tenant, energy, ledger, pipeline, sovereignty];

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(sorted);
  }
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return Object.fromEntries(entries.map(([k, v]) => [k, sorted(v)]));
  }
  return value;
}

const folder = join(import.meta.dirname, '..', 'boards');
mkdirSync(folder, { recursive: true });
const written = new Set(boards.map((b) => `${b.uid}.json`));
for (const file of readdirSync(folder)) {
  if (file.endsWith('.json') && !written.has(file)) {
    rmSync(join(folder, file));
  }
}
for (const b of boards) {
  writeFileSync(join(folder, `${b.uid}.json`), `${JSON.stringify(sorted(b), null, 2)}\n`);
}
