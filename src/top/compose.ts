/**
 * One row of the live view, from what is known of a task, an array or one of its elements. Nothing is read for a row but the journal of an
 * element's piece.
 */
import { elementAt } from '../queue/array-view.ts';
import { findElement, type ArrayNow } from '../queue/array.ts';
import { idTime } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import type { RunningNow } from '../queue/registry.ts';
import { parseSession } from '../queue/session.ts';
import type { Counts } from '../task/many.ts';
import { clockTime, relative } from '../task/moments.ts';
import { isTerminal, STATES, TERMINAL, type State } from '../task/types.ts';
import type { Files, Known, Past } from './files.ts';
import { EMPTY_ROW, type Row } from './model.ts';
import type { Ref } from './rows.ts';

/** What rows are made from. */
export interface Sources {
  q: Queue;
  files: Files;
  /** By `<id>.a<N>`. */
  runs: ReadonlyMap<string, { run: RunningNow; worker: string }>;
  workers: ReadonlyMap<string, { row: { alive: boolean } }>;
  array(id: string): ArrayNow | undefined;
  /** Ms, of the file server. */
  serverTime(): number;
}

export interface RowOf {
  task(ref: Ref & { kind: 'task' }): Row;
  array(ref: Ref & { kind: 'array' }, state: State): Row;
  /** `one`: what is known of one of its tasks. */
  group(ref: Ref & { kind: 'group' }, counts: Counts, one: Known | null | undefined): Row;
  /** `hurry`: with what is known already. */
  element(ref: Ref & { kind: 'element' }, hurry: boolean): Promise<Row>;
}

export function makeRows({ q, files, runs, workers, array: arrayOf, serverTime }: Sources): RowOf {
  const taskRow = (ref: Ref & { kind: 'task' }): Row => {
    const { leaf, id, n } = ref;
    const known = files.known(id, n);
    const past = files.past(id, n, leaf.state) ?? undefined;
    const now = leaf.state === 'running' ? runs.get(`${id}.a${n}`) : undefined;
    const owner = leaf.state === 'running' && leaf.place.state === 'running' ? (parseSession(leaf.place.session)?.owner ?? null) : null;
    return {
      ...EMPTY_ROW,
      kind: 'task',
      id,
      state: leaf.state,
      name: known?.title ?? null,
      queue: known?.queue ?? null,
      group: known?.group ?? null,
      priority: leaf.place.state === 'queued' ? leaf.place.priority : (known?.priority ?? null),
      user: known?.user ?? null,
      worker: owner ?? (isTerminal(leaf.state) ? (past?.worker ?? null) : null),
      attempt: n,
      submittedAt: known?.submittedAt ?? idTime(id),
      startedAt: now?.run.startedAt ?? (isTerminal(leaf.state) ? (past?.startedAt ?? null) : null),
      endedAt: past?.endedAt ?? null,
      info: infoOf(ref, past, known?.waitsFor ?? '', owner),
      percent: now?.run.progress?.percent ?? null,
      message: now?.run.progress?.message ?? null,
      depth: ref.isInside === true ? 1 : 0,
    };
  };

  const infoOf = ({ leaf, n }: Ref & { kind: 'task' }, past: Past | undefined, waitsFor: string, owner: string | null): string => {
    const now = serverTime();
    const reason = past?.reason ?? '';
    const { place } = leaf;
    switch (leaf.state) {
      case 'running': {
        const worker = owner === null ? undefined : workers.get(owner);
        const dead = worker !== undefined && !worker.row.alive ? 'worker is not alive' : '';
        return join([dead, n > 1 ? `attempt ${n}` : '']);
      }
      case 'delayed':
        return place.state === 'delayed' ? join([`until ${clockTime(place.dueAt, now)} (${relative(place.dueAt, now)})`, reason]) : reason;
      case 'waiting':
        return waitsFor === '' ? reason : waitsFor;
      case 'held': {
        const by = past?.by === null || past?.by === undefined ? '' : `by ${past.by}`;
        const since = past?.heldAt === null || past?.heldAt === undefined ? '' : relative(past.heldAt, now);
        return join([[by, since].filter((part) => part !== '').join(' '), reason]);
      }
      default:
        return reason;
    }
  };

  const arrayRow = (ref: Ref & { kind: 'array' }, state: State): Row => {
    const array = arrayOf(ref.id);
    const counts = array?.counts ?? null;
    const size = array?.many.size ?? 0;
    const place = array?.pieces[0]?.at.place;
    return {
      ...EMPTY_ROW,
      kind: 'array',
      id: ref.id,
      state,
      name: array === undefined ? null : (array.task.name ?? array.task.command.join(' ')),
      queue: array?.task.queue ?? null,
      group: array?.task.group ?? null,
      priority: place?.state === 'queued' ? place.priority : (array?.task.priority ?? null),
      user: array?.task.submittedBy.user ?? null,
      submittedAt: array?.task.submittedAt ?? idTime(ref.id),
      startedAt: array === undefined ? null : firstStart(array),
      info: counts === null || (counts.failed ?? 0) === 0 ? '' : `${counts.failed} of ${size} failed`,
      percent: counts === null || size === 0 ? null : Math.floor((100 * ended(counts)) / size),
      counts,
      isFolded: true,
    };
  };

  const elementRow = async (ref: Ref & { kind: 'element' }, hurry: boolean): Promise<Row> => {
    const array = arrayOf(ref.array);
    const n = Number(ref.id.slice(ref.array.length + 1));
    const found = array === undefined || hurry ? undefined : await findElement(q, array, n).catch(() => undefined);
    const at = array === undefined || found === undefined ? undefined : elementAt(array, n, found);
    const run = at === undefined ? undefined : runs.get(`${ref.id}.a${at.n}`);
    const session = at?.place.state === 'running' ? parseSession(at.place.session)?.owner : undefined;
    return {
      ...EMPTY_ROW,
      kind: 'element',
      id: ref.id,
      state: at?.state ?? 'queued',
      name: array === undefined ? null : (array.task.name ?? array.task.command.join(' ')),
      queue: array?.task.queue ?? null,
      group: array?.task.group ?? null,
      priority: array?.task.priority ?? null,
      user: array?.task.submittedBy.user ?? null,
      worker: found?.line?.worker ?? (at?.state === 'running' ? (session ?? null) : null),
      attempt: at?.n ?? 0,
      submittedAt: array?.task.submittedAt ?? idTime(ref.id),
      startedAt: run?.run.startedAt ?? found?.line?.startedAt ?? found?.begunAt ?? null,
      endedAt: found?.line?.endedAt ?? null,
      info: found?.line?.reason ?? '',
      percent: run?.run.progress?.percent ?? null,
      message: run?.run.progress?.message ?? null,
      depth: 1,
    };
  };

  return { task: taskRow, array: arrayRow, group: groupRow, element: elementRow };
}

function groupRow(ref: Ref & { kind: 'group' }, counts: Counts, one: Known | null | undefined): Row {
  const size = STATES.reduce((n, state) => n + (counts[state] ?? 0), 0);
  const place = ref.leaf.place;
  return {
    ...EMPTY_ROW,
    kind: 'group',
    id: ref.id,
    state: ref.state,
    name: one === undefined ? null : (one?.group ?? `${size} tasks`),
    queue: one?.queue ?? null,
    group: one?.group ?? null,
    priority: place.state === 'queued' ? place.priority : (one?.priority ?? null),
    user: one?.user ?? null,
    submittedAt: one?.submittedAt ?? idTime(ref.id),
    info: (counts.failed ?? 0) === 0 ? '' : `${counts.failed} of ${size} failed`,
    percent: size === 0 ? null : Math.floor((100 * ended(counts)) / size),
    counts,
    isFolded: true,
  };
}

export function ended(counts: Counts): number {
  return TERMINAL.reduce((n, state) => n + (counts[state] ?? 0), 0);
}

function firstStart(array: ArrayNow): number | null {
  let first: number | null = null;
  for (const journal of array.journals.values())
    for (const { begunAt } of journal.begun.values()) first = Math.min(first ?? begunAt, begunAt);
  return first;
}

function join(parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(', ');
}
