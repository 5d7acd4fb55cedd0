// Builds dist/ as Grafana loads it. The layout and the list of what Grafana itself brings follow @grafana/create-plugin 7
// (https://grafana.com/developers/plugin-tools), with webpack called as a library: one program less to install. node build.mjs [FOLDER]
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

import CopyWebpackPlugin from 'copy-webpack-plugin';
import webpack from 'webpack';

/** What module.js may weigh. A build that fails is how one learns that something large came along. */
const BUDGET = 64 * 1024;

const here = import.meta.dirname;
const dist = path.resolve(process.argv[2] ?? path.join(here, 'dist'));
const { id } = JSON.parse(readFileSync(path.join(here, 'src/plugin.json'), 'utf8'));

// The dashboards come along: whoever adds the data source in Grafana finds them under its tab Dashboards.
const boards = path.join(here, '../grafana/boards');
const includes = readdirSync(boards)
  .filter((name) => name.endsWith('.json'))
  .sort()
  .map((name) => ({
    type: 'dashboard',
    name: JSON.parse(readFileSync(path.join(boards, name), 'utf8')).title,
    path: `dashboards/${name}`,
  }));
const withIncludes = (plugin) => JSON.stringify({ ...JSON.parse(plugin.toString()), includes }, null, 2) + '\n';

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
            { from: 'plugin.json', transform: withIncludes },
            { from: '../../grafana/boards/*.json', to: 'dashboards/[name][ext]' },
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
console.log(`module.js: ${module.length} bytes, ${gzipSync(module).length} gzipped; at most ${BUDGET}`);
if (module.length > BUDGET) {
  console.error('build: module.js is over its budget: see what was bundled that Grafana brings, or raise BUDGET in build.mjs and say why');
  process.exit(1);
}
