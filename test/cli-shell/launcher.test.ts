import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** Makes this Node say that it is an old one. */
const OLD = ['--import', `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.11.0'}})`];

let root = '';

beforeAll(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-launcher-'));
  for (const dir of ['bin', 'dist', 'src']) fs.mkdirSync(path.join(root, dir));
  fs.copyFileSync(path.join(import.meta.dirname, '../../bin/tq.js'), path.join(root, 'bin/tq.js'));
  fs.writeFileSync(path.join(root, 'package.json'), '{"type":"module"}');
});

afterAll(() => fs.rmSync(root, { recursive: true }));

/** Puts exactly these files in place. */
function install(files: Record<string, string>): void {
  for (const name of ['dist/tq.mjs', 'dist/tq', 'src/main.ts']) {
    fs.rmSync(path.join(root, name), { force: true });
    if (files[name] !== undefined) fs.writeFileSync(path.join(root, name), files[name], { mode: 0o755 });
  }
}

function launch(node: string[], argv: string[]): { status: number | null; signal: string | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [...node, path.join(root, 'bin/tq.js'), ...argv], { encoding: 'utf8' });
}

async function lineOf(child: ChildProcess): Promise<string> {
  const [data] = (await once(child.stdout!, 'data')) as [Buffer];
  return data.toString().trim();
}

describe('the launcher of the npm package', () => {
  const bundle = `console.log('bundle', ...process.argv.slice(2)); process.exitCode = 7;`;
  const source = `const word: string = 'source'; console.log(word);`;

  it('M11: runs the bundle in its own process, with the words and the exit code', () => {
    install({ 'dist/tq.mjs': bundle, 'dist/tq': '#!/bin/sh\necho program\n', 'src/main.ts': source });
    expect(launch([], ['ls', 'a b'])).toMatchObject({ status: 7, stdout: 'bundle ls a b\n' });
  });

  it('runs the source where nothing was built', () => {
    install({ 'src/main.ts': source });
    expect(launch([], [])).toMatchObject({ status: 0, stdout: 'source\n' });
  });

  it('M11: hands over to the compiled program when Node is too old', () => {
    install({ 'dist/tq.mjs': bundle, 'dist/tq': '#!/bin/sh\necho program "$@"\nexit 9\n' });
    expect(launch(OLD, ['ls', 'a b'])).toMatchObject({ status: 9, stdout: 'program ls a b\n' });
  });

  it('ends by the signal that ended the program', () => {
    install({ 'dist/tq': '#!/bin/sh\nkill -TERM $$\n' });
    expect(launch(OLD, [])).toMatchObject({ status: null, signal: 'SIGTERM' });
  });

  it('passes a TERM on, and lets the program choose its end', async () => {
    install({ 'dist/tq': `#!/bin/sh\ntrap 'echo told; exit 3' TERM\necho ready\nwhile :; do sleep 0.05; done\n` });
    const child = spawn(process.execPath, [...OLD, path.join(root, 'bin/tq.js')], { stdio: ['ignore', 'pipe', 'inherit'] });
    expect(await lineOf(child)).toBe('ready');
    const said = lineOf(child);
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    expect(await said).toBe('told');
    const [code] = (await closed) as [number];
    expect(code).toBe(3);
  });

  it('M11: says which Node it needs when there is no compiled program', () => {
    install({ 'dist/tq.mjs': bundle });
    const { status, stdout, stderr } = launch(OLD, ['ls']);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toContain('Node 22.22 or newer is needed, this is 20.11.0');
  });
});
