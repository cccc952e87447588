/** What tasks leave in their directories: pipes where a report was expected, directories that do not want to go. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { closeScratch, givePlaceBack, leftIn, readReport, takePlace } from '../../src/worker/scratch.ts';

const homes: string[] = [];
afterEach(() => {
  vi.restoreAllMocks();
  for (const home of homes.splice(0)) fs.rmSync(home, { recursive: true, force: true });
});

function scratch(): string {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-scratch-'));
  homes.push(home);
  return home;
}

it('B14: a pipe in the place of a report is read without waiting for a writer', () => {
  const place = takePlace(scratch(), 'a');
  execFileSync('mkfifo', [place.progress]);
  // In a process of its own: one that waits would wait for ever.
  const script = `import { readReport } from ${JSON.stringify(path.resolve(import.meta.dirname, '../../src/worker/scratch.ts'))}; console.log(JSON.stringify(readReport(process.argv[1]) ?? null))`;
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', script, place.progress], { timeout: 20_000, encoding: 'utf8' });
  expect(said.trim()).toBe('""');
  fs.writeFileSync(place.result, '1');
  expect(readReport(place.result)).toBe('1');
});

it('B15: a directory that its task made hard to remove goes all the same, and what stays is no trouble of the worker', () => {
  const home = scratch();
  const place = takePlace(home, 'a');
  fs.mkdirSync(`${place.tmp}/cache`);
  fs.writeFileSync(`${place.tmp}/cache/file`, '');
  fs.chmodSync(`${place.tmp}/cache`, 0o500);
  const denied = (): never => {
    throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
  };
  vi.spyOn(fs, 'rmSync').mockImplementationOnce(denied);
  givePlaceBack(home, place, leftIn(place).clean);
  expect(fs.readdirSync(home)).toEqual([]);
  const other = takePlace(home, 'b');
  vi.spyOn(fs, 'rmSync').mockImplementation(denied);
  givePlaceBack(home, other, false);
  closeScratch(home);
  vi.restoreAllMocks();
  expect(fs.readdirSync(home)).toEqual(['b']);
});
