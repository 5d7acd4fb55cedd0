import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const modules = path.join(import.meta.dirname, '../node_modules');

/** Packages that ship as ES modules only: jest loads CommonJS, so they are compiled like our own. */
const esModules = readdirSync(modules)
  .filter((name) => !name.startsWith('.'))
  .flatMap((name) => (name.startsWith('@') ? readdirSync(path.join(modules, name)).map((inner) => `${name}/${inner}`) : [name]))
  .filter((name) => {
    try {
      return JSON.parse(readFileSync(path.join(modules, name, 'package.json'), 'utf8')).type === 'module';
    } catch {
      return false; // no package
    }
  });

export default {
  roots: ['<rootDir>/src'],
  testTimeout: 60_000, // much, for a machine that does other things too
  testEnvironment: 'jest-environment-jsdom',
  setupFiles: ['<rootDir>/jest-setup.mjs'],
  setupFilesAfterEnv: ['@testing-library/jest-dom'],
  moduleNameMapper: { '\\.(css|scss|svg)$': '<rootDir>/jest-empty.mjs', '^react-inlinesvg$': '<rootDir>/jest-empty.mjs' },
  transform: {
    '^.+\\.m?[tj]sx?$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript', tsx: true }, transform: { react: { runtime: 'automatic' } } } },
    ],
  },
  transformIgnorePatterns: [`node_modules/(?!(${['@grafana/schema', 'ol', ...esModules].join('|')})/)`],
};
