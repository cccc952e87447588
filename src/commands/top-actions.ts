/**
 * What the live view can do, by the verbs themselves: each acting key runs the verb of its name with the words and flags that a person
 * would type, so that both do the same.
 */
import { locateAny } from '../queue/array-view.ts';
import type { TaskView } from '../queue/read.ts';
import { attemptsWithLogs, keptOutput, readSlice } from '../queue/logs.ts';
import { TqError } from '../errors.ts';
import { isTerminal } from '../task/types.ts';
import { visible } from '../task/visible.ts';
import type { Act, Acted, Actions, AttemptBar, Details, LogPart, LogReader, Stream } from '../top/actions.ts';
import { newReader, type Reader } from './follow.ts';
import { look } from './look.ts';
import { noSuchTask, readTaskQuietly } from './select.ts';
import { page } from './show.ts';
import type { CommandSpec, Ctx } from './spec.ts';

export function actionsOf(ctx: Ctx): Actions {
  return {
    perform: (act) => perform(ctx, act),
    details: (id) => details(ctx, id),
    openLog: (id, attempt, stream) => openLog(ctx, id, attempt, stream),
  };
}

type Flags = Record<string, string | string[] | true>;

async function perform(ctx: Ctx, act: Act): Promise<Acted> {
  switch (act.kind) {
    case 'cancel':
    case 'hold':
    case 'release':
      return together(some([...act.ids], (ids) => verb(ctx, [act.kind], ids, { yes: true })));
    case 'retry': {
      const many = new Set(act.many);
      return together(
        some(
          act.ids.filter((id) => many.has(id)),
          (ids) => verb(ctx, ['retry'], ids, { failed: true, yes: true }),
        ),
        some(
          act.ids.filter((id) => !many.has(id)),
          (ids) => verb(ctx, ['retry'], ids, {}),
        ),
      );
    }
    case 'priority': {
      return verb(ctx, ['set'], [...act.ids], { priority: String(act.priority) });
    }
    case 'sleep':
    case 'wake':
    case 'stop':
      return verb(ctx, ['worker', act.kind], [...act.names], {});
  }
}

const NOTHING: Acted = { done: 0, refusals: [] };

function some(ids: string[], one: (ids: string[]) => Promise<Acted>): Promise<Acted> {
  return ids.length === 0 ? Promise.resolve(NOTHING) : one(ids);
}

async function together(...parts: ReadonlyArray<Promise<Acted>>): Promise<Acted> {
  const all = await Promise.all(parts);
  return { done: all.reduce((sum, one) => sum + one.done, 0), refusals: all.flatMap((one) => one.refusals) };
}

async function specOf([name, sub]: readonly string[]): Promise<CommandSpec> {
  const { VERBS, verbOf } = await import('./table.ts');
  const { command }: { command: CommandSpec } = await VERBS[verbOf(name!)!](); // names of the switch above
  return sub === undefined ? command : command.subs!.find((s) => s.name === `${name} ${sub}`)!;
}

/** Runs a verb; what it prints is the answer. */
async function verb(ctx: Ctx, name: readonly string[], args: string[], flags: Flags): Promise<Acted> {
  const spec = await specOf(name);
  const { said, refusals } = await run(ctx, spec, args, flags, true);
  const done = said === '' ? [] : (JSON.parse(said) as unknown[]);
  return { done: done.length, refusals };
}

async function run(
  ctx: Ctx,
  spec: CommandSpec,
  args: string[],
  flags: Flags,
  json: boolean,
): Promise<{ said: string; refusals: string[] }> {
  let said = '';
  const refusals: string[] = [];
  const io: Ctx['io'] = {
    out(data) {
      said += typeof data === 'string' ? data : Buffer.from(data).toString();
      return true;
    },
    err(line) {
      refusals.push(messageIn(line));
    },
    paint: (_style, text) => text,
    paintErr: (_style, text) => text,
    columns: undefined,
    terminal: false,
  };
  try {
    await spec.run!({ ...ctx, args, command: undefined, flags: flags as Ctx['flags'], json, io });
  } catch (error) {
    if (!(error instanceof TqError)) throw error;
    refusals.push(error.message);
  }
  return { said, refusals };
}

/** Errors are JSON there; anything else is a line as it is. */
function messageIn(line: string): string {
  try {
    return (JSON.parse(line) as { error: { message: string } }).error.message;
  } catch {
    return line;
  }
}

async function details(ctx: Ctx, id: string): Promise<Details> {
  const q = await ctx.queue();
  const at = await locateAny(q, id);
  const looked = at === undefined ? undefined : await look(q, at);
  if (looked === undefined) throw noSuchTask(id);
  const { view } = looked;
  const text = (await page(q, view, looked.at, { paint: (_style, plain) => plain, columns: undefined })).trimEnd().split('\n');
  const attempts = view.attempts.map((a): AttemptBar => ({
    attempt: a.attempt,
    outcome: a.outcome,
    startedAt: a.startedAt === null ? null : Date.parse(a.startedAt),
    endedAt: a.endedAt === null ? null : Date.parse(a.endedAt),
    worker: visible(a.worker),
    note:
      [a.signal ?? (a.exitCode === null || a.exitCode === 0 ? '' : `exit ${a.exitCode}`), visible(a.reason ?? '')].find(
        (part) => part !== '',
      ) ?? '',
  }));
  const why = isTerminal(view.state) || view.state === 'running' ? [] : await whyLines(ctx, id);
  return { id: view.id, state: view.state, text, why, attempts, counts: countsOf(view) };
}

function countsOf({ array }: TaskView): Details['counts'] {
  if (array === null) return null;
  const { queued, running, done, failed, canceled } = array;
  return { queued, running, done, failed, canceled };
}

async function whyLines(ctx: Ctx, id: string): Promise<string[]> {
  const { said } = await run(ctx, await specOf(['why']), [id], {}, false);
  return said
    .trimEnd()
    .split('\n')
    .map((line, i) => (i === 0 ? line.replace(`${id} `, '') : line));
}

/** Lines that a log begins with; `tq logs` prints all. */
const BEGIN_LINES = 5000;

function openLog(ctx: Ctx, id: string, attempt: number | null, stream: Stream): LogReader {
  const pieces: Array<LogPart['pieces'][number]> = [];
  let reader: Reader | undefined;
  let isSplit = false;
  let current: number | undefined;
  let attempts: number[] = [];
  let hasKept = false;
  const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  const take = (from: 'stdout' | 'stderr', piece: Uint8Array): boolean => {
    pieces.push({ stream: from, text: decoders[from].decode(piece, { stream: true }) });
    return true;
  };
  return {
    async read() {
      const q = await ctx.queue();
      const at = await locateAny(q, id, reader !== undefined);
      attempts = await attemptsWithLogs(q, id);
      if (reader === undefined && attempts.length > 0) {
        const errLog = q.lay.errLog(id, attempt ?? attempts.at(-1)!);
        const hasErrLog = await q.fsx.stat(errLog).then(
          () => true,
          () => false,
        );
        isSplit = at === undefined ? hasErrLog : ((await readTaskQuietly(q, at))?.split ?? hasErrLog);
        current = attempt ?? attempts.at(-1);
        reader = newReader(q, id, {
          ...(attempt === null ? {} : { attempt }),
          lines: BEGIN_LINES,
          streams: !isSplit ? ['stdout'] : stream === 'both' ? ['stdout', 'stderr'] : [stream],
          sink: take,
          between() {
            current = attempts.find((n) => n > (current ?? 0)) ?? current;
            if (current !== undefined) pieces.push({ attempt: current });
          },
        });
      }
      await reader?.read(at?.n ?? Number.POSITIVE_INFINITY);
      const isEnded = at === undefined || isTerminal(at.state);
      if (isEnded && attempts.length === 0 && !hasKept) {
        hasKept = true;
        const kept = await keptOutput(q, id);
        if (kept !== undefined) await readSlice(kept, (piece) => take('stdout', piece));
      }
      const isOver = isEnded || (attempt !== null && attempts.some((n) => n > attempt));
      return { pieces: pieces.splice(0), attempts, state: at?.state ?? 'gone', isSplit, isOver };
    },
  };
}
