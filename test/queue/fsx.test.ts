/** The door to the file system says with which file it had trouble. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { makeFsx } from '../../src/queue/fsx.ts';

describe('fsx', () => {
  for (const network of [false, true]) {
    const where = network ? 'over a network' : 'on a local disk';

    it.skipIf(process.platform !== 'linux')(`M1 I15: a full disk is told with the file that was being written, ${where}`, async () => {
      await expect(makeFsx({ network }).append('/dev/full', 'x')).rejects.toMatchObject({ code: 'ENOSPC', path: '/dev/full' });
    });

    it(`a named pipe in the place of a file is read as empty, not waited for, ${where}`, async () => {
      const dir = mkdtempSync(path.join(os.tmpdir(), 'tq-test-'));
      onTestFinished(() => rmSync(dir, { recursive: true }));
      const pipe = path.join(dir, 'pipe');
      execFileSync('mkfifo', [pipe]);
      const fsx = makeFsx({ network });
      expect(await fsx.read(pipe)).toBe('');
      expect((await fsx.readBytes(pipe)).length).toBe(0);
      expect((await fsx.readBytes(import.meta.filename)).equals(readFileSync(import.meta.filename))).toBe(true);
    });
  }
});
