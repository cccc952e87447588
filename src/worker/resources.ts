/** What a machine has to offer, and which GPUs a task gets. */
import fs from 'node:fs';
import os from 'node:os';
import type { Run, Worker } from './worker.ts';

/** Bytes of memory that this worker may use: the machine's, or less in a container. */
export function memoryHere(): number {
  const { constrainedMemory } = process as { constrainedMemory?: () => number | undefined };
  const limit = constrainedMemory?.() ?? 0;
  return limit > 0 && limit < os.totalmem() ? limit : os.totalmem();
}

/** Bytes that could be had now, caches included; where the kernel does not tell, those that are unused. */
export function freeMemory(meminfo: () => string = () => fs.readFileSync('/proc/meminfo', 'utf8')): number {
  try {
    const kb = /^MemAvailable:\s+(\d+) kB$/m.exec(meminfo())?.[1];
    if (kb !== undefined) return Number(kb) * 1024;
  } catch {
    // Not Linux.
  }
  return os.freemem();
}

/** The names of the GPUs that this process may use: what `CUDA_VISIBLE_DEVICES` lists, else a number for each device file. */
export function gpusHere(
  env: Readonly<Record<string, string | undefined>>,
  devices: () => string[] = () => fs.readdirSync('/dev'),
): string[] {
  const visible = env['CUDA_VISIBLE_DEVICES'];
  if (visible !== undefined) return visible.split(',').filter((name) => name !== '' && name !== '-1' && name !== 'NoDevFiles');
  try {
    return devices()
      .flatMap((name) => /^nvidia(\d+)$/.exec(name)?.[1] ?? [])
      .toSorted((a, b) => Number(a) - Number(b));
  } catch {
    return [];
  }
}

/** The lowest `n` of `offered` indices that no other attempt has. */
export function freeIndices(offered: number, taken: ReadonlyArray<readonly number[]>, n: number): number[] {
  const busy = new Set(taken.flat());
  return Array.from({ length: offered }, (_, i) => i)
    .filter((i) => !busy.has(i))
    .slice(0, n);
}

const indices = new WeakMap<Run, number[]>();

/** Gives an attempt its GPUs; they are free again when it is no longer among the worker's runs. */
export function giveGpus(w: Worker, run: Run, n: number): number[] {
  const taken = [...w.runs.values()].map((r) => (r === run ? [] : (indices.get(r) ?? [])));
  const mine = n === 0 ? [] : freeIndices(w.options.offers['gpus'] ?? 0, taken, n);
  if (mine.length > 0) indices.set(run, mine);
  return mine;
}
