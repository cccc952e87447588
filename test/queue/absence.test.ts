/**
 * A network client remembers for half a minute that a directory was missing. Here a fault hook plays that client: everything under
 * such a directory is missing until the directory above was opened, or changed from here.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { listOrEmpty, makeFsx, strongList, type FaultHook } from '../../src/queue/fsx.ts';
import { locate } from '../../src/queue/find.ts';
import { initQueue, openQueue } from '../../src/queue/open.ts';
import { submitTask } from '../../src/queue/submit.ts';
import type { TaskDraft } from '../../src/task/build.ts';

const homes: string[] = [];
afterEach(() => {
  for (const dir of homes.splice(0)) fs.rmSync(dir, { recursive: true, force: true });
});

function home(): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-absence-'));
  homes.push(dir);
  return dir;
}

/** A client that believes these directories to be missing; `opened`: opening the one above is enough to tell it otherwise. */
function forgetful(missing: string[], opened: boolean): FaultHook {
  const believed = new Set(missing);
  return (op, file, target) => {
    const above = path.dirname(file);
    for (const dir of believed) {
      if (file === dir || file.startsWith(`${dir}/`) || target?.startsWith(`${dir}/`) === true) return { kind: 'before', code: 'ENOENT' };
    }
    for (const dir of believed) {
      const looked = opened && op === 'stat' && file === path.dirname(dir);
      const changed = op === 'mkdir' && above === path.dirname(dir);
      if (looked || changed) believed.delete(dir);
    }
    return undefined;
  };
}

test('a directory that another machine made since it was missed is listed', async () => {
  const root = home();
  fs.mkdirSync(`${root}/done/aaaa/bb`, { recursive: true });
  fs.writeFileSync(`${root}/done/aaaa/bb/x`, '');
  const fsx = makeFsx({ network: true, root, fault: forgetful([`${root}/done/aaaa/bb`, `${root}/done/aaaa`], true) });
  expect(await fsx.list(`${root}/done/aaaa/bb`)).toEqual(['x']);
});

test('a strong list finds it where opening the directory above tells nothing, and probes nothing outside the queue', async () => {
  const outside = home();
  const root = `${outside}/q`;
  fs.mkdirSync(`${root}/done/aaaa/bb`, { recursive: true });
  fs.writeFileSync(`${root}/done/aaaa/bb/x`, '');
  const touched: string[] = [];
  const client = forgetful([`${root}/done/aaaa/bb`, `${root}/done/aaaa`], false);
  const fsx = makeFsx({
    network: true,
    root,
    fault: (op, file, target, again) => {
      if (op === 'mkdir') touched.push(path.dirname(file));
      return client(op, file, target, again);
    },
  });
  expect(await strongList(fsx, `${root}/done/aaaa/bb`)).toEqual(['x']);
  expect(fs.readdirSync(`${root}/done/aaaa`)).toEqual(['bb']);
  expect(await listOrEmpty(fsx, `${root}/gone/cccc/dd`, true)).toEqual([]);
  fs.rmSync(root, { recursive: true });
  expect(await listOrEmpty(fsx, `${root}/done/aaaa/bb`, true)).toEqual([]);
  expect(touched.filter((dir) => dir !== root && !dir.startsWith(`${root}/`))).toEqual([]);
});

test('I9: a task that ended in a bucket that was missed a moment ago is found there', async () => {
  const root = `${home()}/q`;
  await initQueue(root, { shared: false, leaseMs: null }, { network: true });
  fs.mkdirSync(`${root}/done/6d39/z5`, { recursive: true });
  fs.writeFileSync(`${root}/done/6d39/z5/6d39z5pscp31ku.a1.json`, '{}');
  const q = await openQueue(root, { network: true, fault: forgetful([`${root}/done/6d39/z5`, `${root}/done/6d39`], true) });
  expect(await locate(q, '6d39z5pscp31ku')).toMatchObject({ state: 'done', n: 1 });
});

test('A14: a bucket that another machine removed and made anew takes a submit, though this one remembers the old one', async () => {
  const root = `${home()}/q`;
  await initQueue(root, { shared: false, leaseMs: null }, { network: true });
  let bucket: string | undefined;
  let asked = false;
  const q = await openQueue(root, {
    network: true,
    fault: (op, file, target) => {
      if (op === 'rename' && target?.startsWith(`${root}/queued/`) === true && !asked) {
        bucket = path.dirname(target);
        fs.mkdirSync(bucket, { recursive: true });
        return { kind: 'before', code: 'ENOENT' };
      }
      if (op === 'stat' && bucket !== undefined && file === path.dirname(bucket)) asked = true;
      return undefined;
    },
  });
  const { id } = await submitTask(q, DRAFT);
  expect(fs.readdirSync(bucket!)).toEqual([`${id}.a0.json`]);
});

const DRAFT: TaskDraft = {
  queue: 'default',
  priority: 0,
  command: ['true'],
  cwd: '/',
  env: {},
  envMode: 'min',
  submittedBy: { user: 'someone', host: 'somewhere' },
  submitDir: '/',
  retries: 0,
  backoff: { kind: 'none' },
  jitter: false,
  graceMs: 10_000,
  onLost: 'requeue',
  split: false,
};
