/**
 * What a worker makes of a file in the inbox: one task object becomes one task, as if its owner had submitted it in `/` with the worker's
 * environment. On a shared queue a worker reads its own user's files only, since what it submits belongs to its user.
 */
import path from 'node:path';
import { TqError, usage } from '../errors.ts';
import { openQueue, type Queue } from '../queue/open.ts';
import { submitTask } from '../queue/submit.ts';
import { userOf, type System } from '../system.ts';
import { buildTask } from '../task/build.ts';
import { submitDefaults } from '../task/settings.ts';
import { readTaskObject } from './task-object.ts';

/** For `setInboxReader`. `owner` is the user id of the file, `id` what its task will be called. Throws what is wrong with it. */
export async function submitFromInbox(queue: Queue, text: string, owner: number, id: string, system: System): Promise<void> {
  if (queue.config.shared && owner !== (process.geteuid?.() ?? owner)) {
    throw new TqError('PERMISSION', `it is a file of ${userOf(owner)}, and this worker's tasks are run as ${system.user()}`);
  }
  const { flags, argv } = readTaskObject(JSON.parse(text), 'inbox');
  for (const key of ['script', 'stdin'] as const) {
    if (flags[key] !== undefined) throw usage(`inbox: ${key} names a file of the submitter's machine: give the text in command`);
  }
  if (flags.cwd !== undefined && !path.isAbsolute(flags.cwd)) throw usage(`inbox: cwd is not an absolute path: ${flags.cwd}`);
  // The worker may be older than the settings.
  const { settings } = (await openQueue(queue.dir, { network: queue.network })).config;
  const draft = buildTask(flags, {
    now: system.now(),
    cwd: '/',
    env: system.env,
    user: userOf(owner),
    host: system.host(),
    argv,
    defaults: submitDefaults(settings),
  });
  const many = (await import('./items.ts')).manyOf(flags, system);
  if (many?.items !== undefined) throw usage('inbox: what names a file of the submitter cannot be read here: give array or param');
  if (many !== undefined) draft.many = many.many;
  await submitTask(queue, draft, id);
}
