/**
 * Watching, by chokidar: the only import of it. A shortcut on local disks: the doorbell and a worker's request file wake whoever
 * waits; the poll finds everything anyway, here a little later and over NFS always.
 */
import type { Queue } from './open.ts';

export interface Watch {
  close(): Promise<void>;
}

/** Calls `wake` when one of `paths` changes, but not for those that are `ignored`. On a network file system, or when watching fails, does nothing. */
export async function watch(
  q: Queue,
  paths: readonly string[],
  wake: () => void,
  ignored: (path: string) => boolean = () => false,
): Promise<Watch> {
  if (q.network) return { close: async () => undefined };
  try {
    const { watch: chokidar } = await import('chokidar');
    const w = chokidar([...paths], { ignoreInitial: true, persistent: true, depth: 0, ignored });
    w.on('all', wake);
    w.on('error', () => undefined);
    return { close: () => w.close() };
  } catch {
    return { close: async () => undefined };
  }
}
