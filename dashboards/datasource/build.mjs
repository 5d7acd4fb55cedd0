// Builds dist/ as Grafana loads it. The layout and the list of what Grafana itself brings follow @grafana/create-plugin 7
// (https://grafana.com/developers/plugin-tools), with webpack called as a library: one program less to install.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

import CopyWebpackPlugin from 'copy-webpack-plugin';
import webpack from 'webpack';

/** What module.js may weigh. A build that fails is how one learns that something large came along. */
const BUDGET = 64 * 1024;

const here = import.meta.dirname;
const dist = path.join(here, 'dist');
const { id } = JSON.parse(readFileSync(path.join(here, 'src/plugin.json'), 'utf8'));

const stats = await new Promise((resolve, reject) => {
  webpack(
    {
      mode: 'production',
      context: path.join(here, 'src'),
      entry: { module: './module.ts' },
      devtool: 'source-map',
      // What Grafana shares with its plugins: bundled, each would be a second copy that does not know the first.
      externals: ['lodash', 'moment', 'react', 'react/jsx-runtime', 'react-dom', 'rxjs', /^@grafana\/(ui|runtime|data)$/],
      module: {
        rules: [
          {
            test: /\.tsx?$/,
            exclude: /node_modules/,
            loader: 'swc-loader',
            options: {
              swcrc: false,
              jsc: {
                target: 'es2022',
                parser: { syntax: 'typescript', tsx: true },
                transform: { react: { runtime: 'automatic' } },
              },
            },
          },
        ],
      },
      resolve: { extensions: ['.ts', '.tsx', '.js'] },
      output: {
        path: dist,
        clean: { keep: /^gpx_wattledger_/ },
        filename: '[name].js',
        library: { type: 'amd' },
        publicPath: `public/plugins/${id}/`,
        uniqueName: id,
      },
      performance: { hints: false },
      plugins: [
        new CopyWebpackPlugin({
          patterns: [
            'plugin.json',
            'img/*.{svg,png}',
            { from: '../README.md', to: '[name][ext]' },
            { from: '../CHANGELOG.md', to: '[name][ext]' },
            { from: '../../../LICENSE', to: '[name]', toType: 'template' },
          ],
        }),
      ],
    },
    (error, result) => (error ? reject(error) : resolve(result))
  );
});

if (stats.hasErrors()) {
  console.error(stats.toString({ all: false, errors: true, colors: false }));
  process.exit(1);
}
const module = readFileSync(path.join(dist, 'module.js'));
console.log(`dist/module.js: ${module.length} bytes, ${gzipSync(module).length} gzipped; at most ${BUDGET}`);
if (module.length > BUDGET) {
  console.error('build: module.js is over its budget: see what was bundled that Grafana brings, or raise BUDGET in build.mjs and say why');
  process.exit(1);
}
