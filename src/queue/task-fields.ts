/**
 * What each field of a task file may hold. A file that passes can be run, listed and moved by any part of tq without another
 * look at its types, and no name in it leads out of the directory that it belongs to. Pure.
 */
import { MAX_DURATION_MS } from '../task/duration.ts';
import { isId } from './layout.ts';

type Check = (v: unknown) => boolean;

/** What is wrong with the first field that does not fit; undefined when all do. Unknown fields are nobody's business. */
export function wrongField(t: Readonly<Record<string, unknown>>): string | undefined {
  for (const [field, fits, what] of MUST) if (!fits(t[field])) return `${field} is not ${what}`;
  for (const field in t) {
    const rule = Object.hasOwn(MAY, field) ? MAY[field] : undefined;
    if (rule !== undefined && t[field] !== undefined && !rule[0](t[field])) return `${field} is not ${rule[1]}`;
  }
  return undefined;
}

const isText: Check = (v) => typeof v === 'string';
const isSwitch: Check = (v) => typeof v === 'boolean';
const isAmount: Check = (v) => typeof v === 'number' && Number.isFinite(v) && v >= 0;
/** ms; what is beyond is no date of JavaScript. */
const isMoment: Check = (v) => isAmount(v) && (v as number) <= 8_640_000_000_000_000;
const isDuration: Check = (v) => isAmount(v) && (v as number) <= MAX_DURATION_MS;
const isCount: Check = (v) => typeof v === 'number' && Number.isSafeInteger(v) && v >= 0;
/** As the command line lets one through that becomes part of a path. */
const isName: Check = (v) => typeof v === 'string' && /^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(v);
const isBlob: Check = (v) => typeof v === 'string' && /^[0-9a-z][0-9a-z.]{0,63}$/.test(v);
const isNumber: Check = (v) => typeof v === 'number' && Number.isSafeInteger(v);
const isIdOrElement: Check = (v) => typeof v === 'string' && isId(v.split('.')[0]!);

const listOf =
  (fits: Check): Check =>
  (v) =>
    Array.isArray(v) && v.every(fits);
const mapOf =
  (fits: Check): Check =>
  (v) =>
    isObject(v) && Object.values(v).every((w) => w === undefined || fits(w));
const oneOf =
  (...words: string[]): Check =>
  (v) =>
    words.includes(v as string);
/** Has these fields; one whose name ends in `?` may be missing. */
const has = (fields: Record<string, Check>): Check => {
  const rules = Object.entries(fields).map(([key, fits]) => ({ key: key.replace('?', ''), must: !key.endsWith('?'), fits }));
  return (v) => isObject(v) && rules.every(({ key, must, fits }) => (v[key] === undefined ? !must : fits(v[key])));
};
const either =
  (...checks: Check[]): Check =>
  (v) =>
    checks.some((fits) => fits(v));

function isObject(v: unknown): v is Record<string, unknown> {
  return typeof v === 'object' && v !== null && !Array.isArray(v);
}

const isNumbers = either(
  has({ kind: oneOf('range'), from: isNumber, to: isNumber, step: (v) => isCount(v) && v !== 0 }),
  has({ kind: oneOf('list'), values: listOf(isNumber) }),
);

const isMany = has({
  numbers: isNumbers,
  size: isCount,
  'max?': (v) => isCount(v) && v !== 0,
  'chunk?': has({ of: isNumbers, by: (v) => isCount(v) && v !== 0 }),
  'items?': has({ blob: isBlob, of: oneOf('lines', 'json', 'csv') }),
  'params?': listOf(has({ name: isText, values: (v) => listOf(isText)(v) && (v as string[]).length > 0 })),
  'maxFails?': either(has({ n: isAmount }), has({ percent: isAmount })),
});

const isBackoff = either(
  has({ kind: oneOf('none') }),
  has({ kind: oneOf('fixed', 'exp', 'fib'), baseMs: isDuration, 'maxMs?': isDuration }),
);

const isCause = has({
  id: isIdOrElement,
  attempt: isNumber,
  kind: oneOf('on-success', 'on-failure', 'on-cancel'),
  'owner?': isCount,
});

const isCodes = listOf((v) => Array.isArray(v) && v.length === 2 && v.every(isNumber));

const MUST: ReadonlyArray<readonly [string, Check, string]> = [
  ['queue', isName, 'a name'],
  ['command', listOf(isText), 'a list of strings'],
  ['cwd', (v) => typeof v === 'string' && v.startsWith('/'), 'an absolute path'],
  ['priority', (v) => isNumber(v) && Math.abs(v as number) <= 99, 'a whole number from -99 to 99'],
];

const TEXT: readonly [Check, string] = [isText, 'a string'];
const NAME: readonly [Check, string] = [isName, 'a name'];
const SWITCH: readonly [Check, string] = [isSwitch, 'true or false'];
const COUNT: readonly [Check, string] = [isCount, 'a whole number'];
const MOMENT: readonly [Check, string] = [isMoment, 'a moment in ms'];
const DURATION: readonly [Check, string] = [isDuration, 'a duration in ms'];
const BLOB: readonly [Check, string] = [isBlob, 'the name of a blob'];
const COMMAND: readonly [Check, string] = [isText, 'a command'];
const STRINGS: readonly [Check, string] = [mapOf(isText), 'a map of strings'];
const CODES: readonly [Check, string] = [isCodes, 'a list of ranges of codes'];

const MAY: Readonly<Record<string, readonly [Check, string]>> = {
  name: TEXT,
  comment: TEXT,
  shell: TEXT,
  on: TEXT,
  key: TEXT,
  lockKeys: TEXT,
  traceparent: TEXT,
  submitDir: TEXT,
  handler: TEXT,
  group: NAME,
  worker: NAME,
  mutex: NAME,
  submission: [isIdOrElement, 'an id'],
  script: BLOB,
  stdin: BLOB,
  hold: SWITCH,
  jitter: SWITCH,
  split: SWITCH,
  noInputs: SWITCH,
  notBefore: MOMENT,
  expiresAt: MOMENT,
  submittedAt: MOMENT,
  retries: COUNT,
  timeoutMs: DURATION,
  deadlineMs: DURATION,
  stallMs: DURATION,
  graceMs: DURATION,
  env: STRINGS,
  labels: STRINGS,
  steps: [listOf(isText), 'a list of strings'],
  fallback: COMMAND,
  onSuccess: COMMAND,
  onFailure: COMMAND,
  onCancel: COMMAND,
  envMode: [oneOf('all', 'min', 'none'), 'all, min or none'],
  onDup: [oneOf('ignore', 'error', 'replace'), 'ignore, error or replace'],
  onLost: [oneOf('requeue', 'hold', 'fail'), 'requeue, hold or fail'],
  submittedBy: [has({ user: isText, host: isText }), 'a user and a host'],
  needs: [mapOf(isAmount), 'a map of numbers'],
  limits: [listOf(has({ name: isName, n: (v) => isCount(v) && v !== 0 })), 'a list of limits'],
  retryOn: CODES,
  ok: CODES,
  backoff: [isBackoff, 'a back-off'],
  after: [listOf(has({ id: isIdOrElement, kind: oneOf('after', 'after-any', 'after-notok', 'after-each') })), 'a list of parents'],
  cause: [isCause, 'the ending of a task'],
  many: [isMany, 'a description of many elements'],
};
