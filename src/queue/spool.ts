/**
 * Outcomes that could not be published because the queue's directory was away: kept on this machine's local disk, one file
 * each, and published by the worker when the directory is back, by its next start, or by a burial on this machine (before it
 * says `lost`). The local disk is not the queue, so plain file calls are used.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Outcome } from '../task/types.ts';
import type { Queue } from './open.ts';
import { settle } from './outcome.ts';
import { parseOutcome } from './task-file.ts';

export function spoolRoot(q: Queue): string {
  const state = process.env['XDG_STATE_HOME'];
  const home = process.env['HOME'];
  const base =
    state !== undefined && state.startsWith('/')
      ? state
      : home !== undefined && home.startsWith('/')
        ? path.join(home, '.local/state')
        : path.join(os.tmpdir(), `tq-${process.getuid?.() ?? 0}`);
  return path.join(base, 'tq', 'spool', q.config.id);
}

/** Keeps an outcome; replaced whole, fsynced. Throws when the local disk refuses too. */
export function spool(q: Queue, session: string, outcome: Outcome): void {
  const dir = path.join(spoolRoot(q), session);
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const file = path.join(dir, `${outcome.id}.a${outcome.attempt}.json`);
  const fd = fs.openSync(`${file}.tmp`, 'w', 0o600);
  try {
    fs.writeSync(fd, JSON.stringify(outcome));
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(`${file}.tmp`, file);
}

/** Forgets an outcome that was published after all. */
export function unspool(q: Queue, session: string, outcome: Outcome): void {
  const dir = path.join(spoolRoot(q), session);
  fs.rmSync(path.join(dir, `${outcome.id}.a${outcome.attempt}.json`), { force: true });
  removeIfEmpty(dir);
}

function removeIfEmpty(dir: string): void {
  try {
    fs.rmdirSync(dir);
  } catch {
    // Not empty, or gone.
  }
}

export interface SpooledResult {
  outcome: Outcome;
  /** False: the task had been given away meanwhile, and the outcome in force is another one. */
  counted: boolean;
}

/** Publishes what this machine keeps for a session, in the order it was kept, once each. */
export async function publishSpool(q: Queue, session: string): Promise<SpooledResult[]> {
  const dir = path.join(spoolRoot(q), session);
  let files: string[];
  try {
    files = fs.readdirSync(dir).filter((f) => f.endsWith('.json'));
  } catch {
    return [];
  }
  const kept: Array<{ file: string; outcome: Outcome }> = [];
  for (const f of files) {
    const file = path.join(dir, f);
    let outcome: Outcome | undefined;
    try {
      outcome = parseOutcome(fs.readFileSync(file, 'utf8'));
    } catch {
      continue;
    }
    if (outcome === undefined) fs.rmSync(file, { force: true });
    else kept.push({ file, outcome });
  }
  const done: SpooledResult[] = [];
  for (const { file, outcome } of kept.toSorted((a, b) => a.outcome.endedAt - b.outcome.endedAt)) {
    const s = await settle(q, session, outcome);
    done.push({ outcome, counted: s.outcome.nonce === outcome.nonce });
    fs.rmSync(file, { force: true });
  }
  // Something that is being spooled right now keeps it: the next call takes that.
  removeIfEmpty(dir);
  return done;
}

/** Sessions that have outcomes kept on this machine. */
export function spooledSessions(q: Queue): string[] {
  try {
    return fs.readdirSync(spoolRoot(q));
  } catch {
    return [];
  }
}
