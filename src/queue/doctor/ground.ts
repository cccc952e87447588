/**
 * The ground that a queue stands on: its file system (does it do what every step relies on?), who may read and write, and how the file
 * server's clock and this machine's compare.
 */
import { errnoOf } from '../../errors.ts';
import { formatDuration } from '../../task/duration.ts';
import { isGone, mkdirp, type FileInfo } from '../fsx.ts';
import { TOP_DIRS } from '../layout.ts';
import { stagingPath } from '../steps.ts';
import { removeTree } from '../control.ts';
import { fine, found, nothingSince, type Examination } from './finding.ts';
import { judgeMount, mountOf, syncedBy } from './mount.ts';

export async function examineGround(x: Examination): Promise<void> {
  fine(x, 'config', `format ${x.q.config.format}, ${x.q.config.shared ? 'shared' : 'private'}, lease ${formatDuration(x.q.leaseMs)}`);
  await examineMount(x);
  await examineModes(x);
  if (await examineOperations(x)) await examineClock(x);
}

async function examineMount(x: Examination): Promise<void> {
  const path = x.machine.realPath(x.q.dir);
  const before = x.findings.length;
  const mount = mountOf(path, x.machine.mounts());
  for (const finding of mount === undefined ? [] : judgeMount(mount)) await found(x, finding);
  const program = syncedBy(path, (file) => x.machine.exists(file));
  if (program !== undefined) {
    await found(x, {
      level: 'warning',
      code: 'synced',
      message: `in a folder that ${program} copies: it brings back what was renamed, and makes second copies`,
      file: path,
      fix: 'move the queue out of it',
    });
  }
  const where = mount === undefined ? '' : `: ${mount.type} at ${mount.point}`;
  if (nothingSince(x, before)) fine(x, 'file-system', `${x.q.network ? 'network' : 'local'} file system${where}`);
}

/** Set-group-id, so that what one user makes belongs to the group, and all rights of the group. */
export const SHARED_BITS = 0o2070;

async function examineModes(x: Examination): Promise<void> {
  const { q } = x;
  const before = x.findings.length;
  const root = await q.fsx.stat(q.dir);
  const me = process.geteuid?.() ?? root.uid;
  if (!q.config.shared && (root.mode & 0o077) !== 0) {
    const message = `a private queue that others may look into: mode ${octal(root.mode)}, not 700`;
    await found(x, { level: 'warning', code: 'mode', message, file: q.dir, fix: `chmod 700 ${q.dir}` }, async () =>
      x.machine.chmod(q.dir, 0o700),
    );
  }
  for (const name of ['', ...TOP_DIRS]) {
    const dir = name === '' ? q.dir : `${q.dir}/${name}`;
    const s = await statOf(x, dir);
    if (s === undefined) {
      await found(
        x,
        { level: 'warning', code: 'missing-directory', message: `${name}/ is missing`, file: dir, fix: 'made again' },
        async () => {
          await mkdirp(q.fsx, dir);
          if (q.config.shared) x.machine.chmod(dir, 0o2775);
        },
      );
      continue;
    }
    if (q.config.shared) await examineShared(x, dir, s.mode);
    else if (s.uid !== me && me !== 0) {
      await found(x, {
        level: 'warning',
        code: 'owner',
        message: `${name === '' ? 'the queue' : `${name}/`} belongs to another user (id ${s.uid})`,
        file: dir,
      });
    }
  }
  if (nothingSince(x, before)) fine(x, 'modes', q.config.shared ? 'open to its group' : 'open to its owner alone');
}

async function statOf({ q }: Examination, path: string): Promise<FileInfo | undefined> {
  try {
    return await q.fsx.stat(path);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** One directory of a shared queue. */
export async function examineShared(x: Examination, dir: string, mode: number): Promise<void> {
  if ((mode & SHARED_BITS) === SHARED_BITS) return;
  const message = `others of the group cannot work here: mode ${octal(mode)}, not 2775`;
  await found(x, { level: 'error', code: 'mode', message, file: dir, fix: `chmod g+rwxs ${dir}` }, async () =>
    x.machine.chmod(dir, (mode & 0o7777) | SHARED_BITS),
  );
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8);
}

/** Does every operation that the steps rely on, between `tmp/` and each of the places. False: this user cannot write here. */
async function examineOperations(x: Examination): Promise<boolean> {
  const { q } = x;
  const scratch = stagingPath(q, '.doctor');
  try {
    await q.fsx.mkdir(scratch);
  } catch (error) {
    const code = errnoOf(error);
    const level = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EIO' ? 'error' : 'warning';
    await found(x, {
      level,
      code: 'not-writable',
      message: `cannot be written by this user: ${code ?? String(error)}`,
      file: q.lay.tmp,
      fix: 'what needs writing was not examined',
    });
    return false;
  }
  try {
    const failed = await tryOperations(x, scratch);
    for (const message of failed)
      await found(x, { level: 'error', code: 'operation', message, file: q.dir, fix: 'this file system cannot hold a queue' });
    if (failed.length === 0) fine(x, 'operations', 'rename, exclusive create and link do what tq relies on, in every place');
  } finally {
    await removeTree(q, scratch);
  }
  return true;
}

/** What did not go as it must; empty when all did. */
async function tryOperations(x: Examination, scratch: string): Promise<string[]> {
  const { q } = x;
  const { fsx } = q;
  const failed: string[] = [];
  const must = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      failed.push(`${what} fails: ${errnoOf(error) ?? String(error)}`);
    }
  };
  const mustFail = async (what: string, codes: readonly string[], work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      const code = errnoOf(error) ?? String(error);
      if (!codes.includes(code)) failed.push(`${what} fails with ${code}, not with ${codes[0]}`);
      return;
    }
    failed.push(`${what} succeeds`);
  };
  const [a, b, c] = [`${scratch}/a`, `${scratch}/b`, `${scratch}/c`];
  await must('creating a file', () => fsx.create(a, 'a', { fsync: true }));
  await mustFail('creating a file that exists', ['EEXIST'], () => fsx.create(a, 'b'));
  await must('a hard link', () => fsx.link(a, b));
  await mustFail('linking onto a file that exists', ['EEXIST'], () => fsx.link(a, b));
  await must('a rename', () => fsx.rename(b, c));
  await mustFail('renaming a file that is gone', ['ENOENT', 'ESTALE'], () => fsx.rename(b, `${scratch}/d`));
  await must('a directory', () => fsx.mkdir(`${scratch}/full`));
  await must('a file in it', () => fsx.create(`${scratch}/full/x`, ''));
  await must('another directory', () => fsx.mkdir(`${scratch}/empty`));
  await mustFail('removing a directory that is not empty', ['ENOTEMPTY', 'EEXIST'], () => fsx.rmdir(`${scratch}/full`));
  await mustFail('renaming a directory onto one that is not empty', ['ENOTEMPTY', 'EEXIST'], () =>
    fsx.rename(`${scratch}/empty`, `${scratch}/full`),
  );
  for (const place of TOP_DIRS) {
    if ((await statOf(x, `${q.dir}/${place}`)) === undefined) continue; // reported already
    // The name is one that no listing shows.
    const there = `${q.dir}/${place}/.p.${scratch.slice(scratch.lastIndexOf('/') + 1)}`;
    await must(`a rename from tmp/ to ${place}/`, async () => {
      await fsx.rename(c, there);
      await fsx.rename(there, c);
    });
  }
  return failed;
}

/** A difference that people notice, ms. */
const CLOCK_MS = 2000;

async function examineClock(x: Examination): Promise<void> {
  const { q } = x;
  const path = stagingPath(q, '.clock');
  const began = Date.now();
  const server = await q.fsx.createTimed(path, '');
  const ended = Date.now();
  await q.fsx.unlink(path);
  const behind = Math.round(server - (began + ended) / 2);
  if (Math.abs(behind) < CLOCK_MS)
    return fine(x, 'clock', `this machine and the file server agree within ${formatDuration(Math.abs(behind))}`);
  const message = `the file server's clock is ${formatDuration(Math.abs(behind))} ${behind > 0 ? 'ahead of' : 'behind'} this machine's; tq goes by the file server's`;
  await found(x, { level: 'warning', code: 'clock', message, fix: 'let both be set by NTP' });
}
