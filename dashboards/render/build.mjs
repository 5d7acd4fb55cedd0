// Bundles the page: node build.mjs FOLDER. The code editor that @grafana/ui brings is left out: no panel has one.
import { build } from 'esbuild';

const noEditor = {
  name: 'no-editor',
  setup(b) {
    b.onResolve({ filter: /^(monaco-editor|@monaco-editor\/|react-monaco)/ }, () => ({ path: 'editor', namespace: 'none' }));
    b.onLoad({ filter: /.*/, namespace: 'none' }, () => ({
      contents: 'export default {}; export const Editor = null, loader = null;',
      loader: 'js',
    }));
  },
};

const [, , folder = 'dist'] = process.argv;
await build({
  entryPoints: ['src/main.tsx'],
  bundle: true,
  outdir: folder,
  format: 'iife',
  minify: true,
  legalComments: 'none',
  logLevel: 'warning',
  jsx: 'automatic',
  define: { 'process.env.NODE_ENV': '"production"' },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.ttf': 'empty', '.woff2': 'dataurl' },
  plugins: [noEditor],
});
