/**
 * Changing `tq.json`. It is read whole and replaced by rename, and of several changes at once none is lost: each goes through the one
 * name in `tmp/` that belongs to the version after the one that it read.
 */
import { errnoOf, fsError, TqError } from '../errors.ts';
import { parseDuration } from '../task/duration.ts';
import { sessions } from './find.ts';
import { isGone } from './fsx.ts';
import { openQueue, type Queue } from './open.ts';
import { isSetSession, judgeSession, parseSession, type HostFacts } from './session.ts';
import { discard, LOOKS, readIfThere, stagingPath, unlinkQuietly } from './steps.ts';
import { ring } from './signal.ts';

/** What lies in `tq.json`, with all that this program does not know. */
export type RawConfig = Record<string, unknown> & { settings?: Record<string, unknown> };

/** Another's change that makes no progress for so long is completed, ms. Each takes a few calls. */
const STUCK_MS = 5000;
const LOOK_EVERY_MS = 20;

/** Sets a setting, or takes it away (null). Returns what `tq.json` holds now; with `dryRun` what it would hold. */
export async function changeSetting(
  q: Queue,
  key: string,
  text: string | null,
  options: { dryRun: boolean; facts: HostFacts },
): Promise<RawConfig> {
  if (key === 'lease') await refuseWhileWorkersLive(q, options.facts);
  const change = (raw: RawConfig): RawConfig => changed(raw, key, text);
  try {
    if (options.dryRun) return change((await readConfig(q)).raw);
    const made = await replaceConfig(q, change);
    await ring(q);
    return made;
  } catch (error) {
    if (error instanceof TqError) throw error;
    throw fsError(error, 'change the settings', q.lay.config);
  }
}

function changed(raw: RawConfig, key: string, text: string | null): RawConfig {
  if (key === 'lease') return { ...raw, leaseMs: text === null ? null : parseDuration(text, key) };
  const { [key]: _old, ...settings } = raw.settings ?? {};
  return { ...raw, settings: text === null ? settings : { ...settings, [key]: text } };
}

/**
 * Who watches a worker and the worker itself must count with one lease, and both have read theirs at their start. A session of which
 * nothing proves the death may live.
 */
async function refuseWhileWorkersLive(q: Queue, facts: HostFacts): Promise<void> {
  const alive = (await sessions(q, true)).filter((s) => !isSetSession(s) && judgeSession(s, facts) !== 'dead');
  if (alive.length === 0) return;
  const names = alive.map((s) => parseSession(s)?.owner ?? s);
  throw new TqError('REFUSED', `the lease cannot change while workers are alive, which count with the present one: ${names.join(', ')}`, {
    hint: 'tq worker stop --all first; of one that died on another machine, tq doctor --fix',
  });
}

async function readConfig(q: Queue): Promise<{ raw: RawConfig; rev: number; text: string }> {
  const text = await q.fsx.read(q.lay.config);
  // What cannot be read as a queue of this format is refused here, and never replaced.
  await openQueue(q.dir, { network: q.network });
  const raw = JSON.parse(text) as RawConfig;
  const rev = raw['rev'];
  return { raw, rev: typeof rev === 'number' && Number.isSafeInteger(rev) ? rev : 0, text };
}

/**
 * Reads, changes and replaces. `rev` counts the changes, and the next version is staged under a name with its number, made by `link`:
 * only one at a time can lie there. Then the number is looked at again, since the file may have moved on before the name was made, and
 * after that nothing but this staged version can become the next one. A crash before the link leaves a staging file; after it, the
 * staged version, which the next change completes when it has seen nothing happen for five seconds.
 */
export async function replaceConfig(q: Queue, change: (raw: RawConfig) => RawConfig): Promise<RawConfig> {
  let stuckSinceMs = performance.now();
  for (let last = -1; ;) {
    const before = await readConfig(q);
    if (before.rev !== last) stuckSinceMs = performance.now();
    last = before.rev;
    const next: RawConfig = { ...change(before.raw), rev: before.rev + 1 };
    const text = `${JSON.stringify(next, null, 2)}\n`;
    const staged = `${q.lay.tmp}/tq.json.${before.rev + 1}`;
    if (!(await stageOnce(q, staged, text))) {
      if (performance.now() - stuckSinceMs < STUCK_MS) await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      else if ((await readConfig(q)).rev === before.rev) await takePlace(q, staged);
      continue;
    }
    if ((await readConfig(q)).rev !== before.rev) {
      await unlinkQuietly(q.fsx, staged);
      continue;
    }
    await takePlace(q, staged);
    // Not there any more: somebody completed it, or a sweep took it. The number tells.
    const after = await readConfig(q);
    if (after.text === text || after.rev > before.rev) return next;
  }
}

/** Makes the staged version, whole and through to the disk. False: another one lies there. */
async function stageOnce(q: Queue, path: string, text: string): Promise<boolean> {
  const own = stagingPath(q, '.config');
  try {
    await q.fsx.create(own, text, { staging: true, fsync: true });
    for (let look = 0; ; look++) {
      try {
        await q.fsx.link(own, path);
        return true;
      } catch (error) {
        // Perhaps the reply was lost. An equal one of somebody else is as good.
        if (errnoOf(error) === 'EEXIST') return (await readIfThere(q, path)) === text;
        if (!isGone(error) || look >= LOOKS) throw error;
      }
    }
  } finally {
    await discard(q, own);
  }
}

async function takePlace(q: Queue, staged: string): Promise<void> {
  try {
    await q.fsx.rename(staged, q.lay.config);
    await q.fsx.fsyncDir(q.dir);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
