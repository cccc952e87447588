#!/usr/bin/env node
/**
 * Builds the program: `dist/tq`, one executable that needs nothing else, and `dist/tq.mjs`, the same for Node. Started by any
 * Node, it goes on in the bun of the dev dependencies, whose bundler does the work.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

if (globalThis.Bun === undefined) {
  const bun = path.join(root, 'node_modules/.bin/bun');
  const { status, error } = spawnSync(bun, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  if (error !== undefined) console.error(`build: cannot start ${bun}: ${error.message}; run npm ci first`);
  process.exit(status ?? 1);
}

/** ink asks for the React developer tools when DEV=true is in the environment; they have no place in a program. */
const withoutDevtools = {
  name: 'without-devtools',
  setup(build) {
    build.onResolve({ filter: /^react-devtools-core$/ }, () => ({ path: 'react-devtools-core', namespace: 'stub' }));
    build.onLoad({ filter: /.*/, namespace: 'stub' }, () => ({
      contents: 'export default { initialize() {}, connectToDevTools() {} };',
      loader: 'js',
    }));
  },
};

/** What the two builds share. Splitting keeps what a command does not use out of its start. */
const common = {
  minify: { syntax: true, whitespace: true, identifiers: false },
  format: 'esm',
  plugins: [withoutDevtools],
  define: { 'process.env.NODE_ENV': '"production"' },
  throw: true,
};

/**
 * The flags that the benchmark's empty program is compiled with, too. A program that is started in any directory must not
 * read the .env, bunfig.toml, tsconfig.json or package.json that lie there.
 */
const executable = {
  bytecode: true,
  splitting: true,
  // Each piece costs a load of its own; small ones travel with another that is needed anyway.
  minChunkSize: 32_768,
  compile: {
    autoloadDotenv: false,
    autoloadBunfig: false,
    autoloadTsconfig: false,
    autoloadPackageJson: false,
    // The start does without the threads of the JIT compiler; expectWork() in src/system.ts sets the ordinary policy.
    jitPolicy: 100,
  },
};

/** Compiles `entry` (a path in the project) to one executable at `outfile`. */
export async function compile(entry, outfile) {
  // Built beside its place and renamed into it: a tq that runs at this moment goes on with the old one.
  const staging = `${outfile}.${process.pid}.new`;
  const staged = path.join(staging, path.basename(outfile));
  mkdirSync(staging, { recursive: true });
  try {
    await Bun.build({
      ...common,
      ...executable,
      entrypoints: [path.resolve(root, entry)],
      compile: { ...executable.compile, outfile: staged },
    });
    chmodSync(staged, 0o755);
    renameSync(staged, outfile);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

async function bundleForNode(entry, outfile) {
  const result = await Bun.build({ ...common, entrypoints: [path.resolve(root, entry)], target: 'node', splitting: false });
  const staged = `${outfile}.${process.pid}.new`;
  writeFileSync(staged, await result.outputs[0].text());
  renameSync(staged, outfile);
}

if (import.meta.main) {
  const [entry, outfile] = process.argv.slice(2);
  if (entry !== undefined && outfile !== undefined) {
    await compile(entry, path.resolve(outfile));
  } else {
    mkdirSync(path.join(root, 'dist'), { recursive: true });
    await bundleForNode('src/main.ts', path.join(root, 'dist/tq.mjs'));
    await compile('src/main.ts', path.join(root, 'dist/tq'));
    const size = (name) => `${(statSync(path.join(root, name)).size / 2 ** 20).toFixed(1)} MB`;
    console.log(`dist/tq ${size('dist/tq')}, dist/tq.mjs ${size('dist/tq.mjs')}`);
  }
}
