// Bundles the page that shows the editors: node harness/build.mjs FOLDER. The code editor that @grafana/ui brings is left out: no editor of ours has one.
import path from 'node:path';

import { build } from 'esbuild';

const noCodeEditor = {
  name: 'no-code-editor',
  setup(b) {
    b.onResolve({ filter: /^(monaco-editor|@monaco-editor\/|react-monaco)/ }, () => ({ path: 'editor', namespace: 'none' }));
    b.onLoad({ filter: /.*/, namespace: 'none' }, () => ({
      contents: 'export default {}; export const Editor = null, loader = null;',
      loader: 'js',
    }));
  },
};

const here = import.meta.dirname;
const folder = process.argv[2] ?? path.join(here, '../dist-harness');
await build({
  absWorkingDir: here,
  entryPoints: ['main.tsx'],
  bundle: true,
  outdir: folder,
  format: 'iife',
  minify: true,
  legalComments: 'none',
  logLevel: 'warning',
  jsx: 'automatic',
  define: { 'process.env.NODE_ENV': '"production"' },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.ttf': 'empty', '.woff2': 'dataurl' },
  plugins: [noCodeEditor],
});
