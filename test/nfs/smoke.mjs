/**
 * The smoke on real NFS, for each protocol version: two clients, 300 tasks, a worker killed, its client's power cut, the server
 * restarted; then every task has ended done by exactly one successful attempt, and no two attempts of a task overlapped. Prints
 * a line per check and the count at its end. Started by run.sh with the lab's directory; further words choose versions.
 */
import { execFile, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const [lab, ...versions] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, '../..');
/** Where host and guests exchange files; the guests see it as `/share`. */
const exchange = path.join(process.env.LAB_DIR ?? '/var/tmp/nfs-lab', 'share');

const TASKS = 300;
const LEASE_S = 20;
/** Grace and lease of the server: the least that it accepts. */
const SERVER_LEASE_S = 10;
/** What one task may cost from its submit to its end, in calls to the server (NFSv4.2). */
const CALLS_PER_TASK = 24;
/** The same for one of a batch. */
const CALLS_IN_BATCH = 19;
/**
 * And for an element of an array. One write each is the least: a spawn closes in the child what the worker has open, and closing a
 * journal writes it through.
 */
const CALLS_PER_ELEMENT = 1.5;
const BATCH = 200;
const ELEMENTS = 1000;
/** What an idle worker may cost at each poll. */
const CALLS_PER_POLL = 15;
const POLLS = 8;
/** And the live view in a second. */
const CALLS_OF_TOP = 8;
const TOP_S = 20;
const MEASURED = 40;
/** The guests' clocks agree to within this, s. */
const CLOCKS_S = 0.05;

const QUEUE = '/mnt/tq/q';
const MEASURED_QUEUE = `${QUEUE}-measured`;
/** The measured queue is used after this long at the latest, s. */
const SETTLED_S = 60;
const TRAILS = '/mnt/tq/trails';
const TQ = '/share/tq-smoke';

let passed = 0;
let failed = 0;
let version = '';

function check(good, what, seen = '') {
  if (good) passed++;
  else failed++;
  say(`${good ? 'ok  ' : 'FAIL'}  NFSv${version}: ${what}${good || seen === '' ? '' : `: ${seen}`}`);
}

function say(line) {
  process.stdout.write(`${line}\n`);
}

/** Runs a program of the lab. Never throws: the code is 124 when the time ran out. */
function run(file, args, { seconds = 60, env = {} } = {}) {
  return new Promise((resolve) => {
    const child = execFile(
      'timeout',
      ['--kill-after=5', String(seconds), path.join(lab, file), ...args],
      { env: { ...process.env, ...env }, maxBuffer: 2 ** 26 },
      (error, out, err) => resolve({ code: error === null ? 0 : (error.code ?? 1), out, err }),
    );
    child.stdin?.end();
  });
}

/** A shell line on a guest. */
function on(host, line, seconds = 60) {
  return run('on.sh', [host, `export TQ_DIR=${QUEUE}; cd /tmp; ${line}`], { seconds });
}

/** A shell line that must work: nothing after it means anything otherwise. */
async function must(host, line, seconds) {
  const r = await on(host, line, seconds);
  if (r.code !== 0) throw new Error(`${host}: ${line}: exit ${r.code}: ${r.err || r.out}`);
  return r.out;
}

/** Calls to the server that a shell line cost its guest's mount. */
async function calls(host, line, seconds = 60) {
  const r = await run('rpcs.sh', [host, `export TQ_DIR=${QUEUE}; cd /tmp; ${line}`], { seconds });
  const total = /^TOTAL\s+(\d+) ops/m.exec(r.out);
  if (total === null) throw new Error(`${host}: ${line}: ${r.err || r.out}`);
  return Number(total[1]);
}

/** Waits until `look` answers something else than undefined; undefined after `seconds`. */
async function until(look, seconds, everyMs = 250) {
  const giveUpAt = performance.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > giveUpAt) return undefined;
    await sleep(everyMs);
  }
}

/** How many files lie in a directory of the queue, as the server has it. */
async function count(dir) {
  return Number((await must('s', `find /srv/tq/q/${dir} -type f | wc -l`)).trim());
}

async function startWorker(host, name, slots, flags = '') {
  await must(
    host,
    `nohup ${TQ} worker -j${slots} --poll 1s --name ${name} ${flags} > /tmp/${name}.out 2> /tmp/${name}.err & echo $! > /tmp/${name}.pid`,
  );
  return until(async () => ((await on(host, `cat /tmp/${name}.out`)).out.trim() === name ? name : undefined), 30);
}

async function sessionOf(name) {
  return (await must('s', `ls /srv/tq/q/running | grep '^${name}[.]' || true`)).trim();
}

/** Whether a session was buried before `seconds` were over: its directory is gone. */
async function buried(session, seconds) {
  return (
    (await until(async () => ((await on('s', `test -e /srv/tq/q/running/${session}`)).code === 1 ? true : undefined), seconds)) ?? false
  );
}

/**
 * A server hands out no files for a client's own (delegations) in its first half minute, nor those that were just made: a client
 * opens and closes them by two calls each time. What is measured is a queue in use, not one of the last minute.
 */
async function settled() {
  const LOOKS = 5;
  const look = `for i in $(seq ${LOOKS}); do cat ${MEASURED_QUEUE}/tq.json > /dev/null; done`;
  const own = await until(async () => ((await calls('c1', look)) < LOOKS ? true : undefined), SETTLED_S, 2000);
  say(`      NFSv${version}: the server ${own === true ? 'hands out' : 'hands out no'} files for a client's own`);
}

/** Single submits on one client and a worker that runs them on the other, in a queue of their own. */
async function measure(idlePerSecond) {
  const use = `export TQ_DIR=${MEASURED_QUEUE}`;
  const worker = `${TQ} worker -j1 --poll 1s --until-empty`;
  await settled();
  // Once, so that what each client asks only once is not counted.
  for (const host of ['c1', 'c2']) await must(host, `${use}; ${TQ} submit -- true && ${worker}`);
  const empty = await calls('c2', `${use}; ${worker}`);
  const many = async (submit) => {
    const submitted = await calls('c1', `${use}; ${submit}`);
    const began = performance.now();
    const spent = submitted + (await calls('c2', `${use}; ${worker}`, 120)) - empty;
    const seconds = (performance.now() - began) / 1000;
    // What a worker asks in any second, busy or idle, is not theirs: a slow machine is no dearer.
    return { spent, seconds, own: spent - seconds * idlePerSecond };
  };
  // The array first: what the server has handed out of many files comes back for a while, and an element costs so little that it shows.
  const array = await many(`${TQ} submit --array 1-${ELEMENTS} -- true > /dev/null`);
  const perElement = array.own / ELEMENTS;
  const submits = await calls('c1', `${use}; for i in $(seq ${MEASURED}); do ${TQ} submit -- true > /dev/null || exit 1; done`);
  const runs = await calls('c2', `${use}; ${worker}`);
  const perSubmit = submits / MEASURED;
  const perRun = (runs - empty) / MEASURED;
  const all = perSubmit + perRun;
  say(
    `      NFSv${version}: calls per task: submit ${perSubmit.toFixed(1)} + run ${perRun.toFixed(1)} = ${all.toFixed(1)}; start and stop of a worker ${empty}`,
  );
  const inBatch = (await many(`seq ${BATCH} | sed 's/.*/{"command":["true"]}/' | ${TQ} submit --batch - > /dev/null`)).own / BATCH;
  say(
    `      NFSv${version}: calls per task of a batch ${inBatch.toFixed(1)}, per element of an array ${perElement.toFixed(2)} (${array.spent} in ${array.seconds.toFixed(0)} s for ${ELEMENTS})`,
  );
  if (version === '4.2') {
    check(inBatch <= CALLS_IN_BATCH, `a task of a batch costs at most ${CALLS_IN_BATCH} calls`, inBatch.toFixed(1));
    check(
      perElement <= CALLS_PER_ELEMENT,
      `an element of an array costs at most ${CALLS_PER_ELEMENT} calls on average`,
      perElement.toFixed(2),
    );
  }
  if (version === '4.2') check(all <= CALLS_PER_TASK, `a task costs at most ${CALLS_PER_TASK} calls`, all.toFixed(1));
}

async function measureIdle() {
  await startWorker('c1', 'idle', 1, '-q nothing');
  await sleep(3000);
  const idle = (await calls('c1', `sleep ${POLLS}`)) / POLLS;
  await must('c1', 'kill $(cat /tmp/idle.pid)');
  await until(async () => ((await sessionOf('idle')) === '' ? true : undefined), 20);
  say(`      NFSv${version}: calls per poll of an idle worker: ${idle.toFixed(1)}`);
  check(
    idle <= CALLS_PER_POLL,
    `C14: an idle worker costs at most ${CALLS_PER_POLL} calls a poll, with ${TASKS} tasks in another queue`,
    idle.toFixed(1),
  );
  return idle;
}

/** The live view on a terminal that nobody sees, when it has counted everything. */
async function measureTop() {
  const top = `TERM=xterm-256color script -qfc '${TQ} top -D ${QUEUE}' /dev/null`;
  await must('c1', `(sleep 120 | ${top} > /tmp/top.out 2>&1 & echo $! > /tmp/top.pid); sleep 20`);
  const perSecond = (await calls('c1', `sleep ${TOP_S}`)) / TOP_S;
  const seen = await must('c1', `pkill -TERM -f '[t]q-smoke top'; sleep 1; grep -c 'queued' /tmp/top.out`);
  say(`      NFSv${version}: calls per second of the live view while nothing changes: ${perSecond.toFixed(1)}`);
  check(Number(seen) > 0 && perSecond <= CALLS_OF_TOP, `K10: tq top costs at most ${CALLS_OF_TOP} calls a second`, perSecond.toFixed(1));
}

async function submitAll() {
  const half = (host) =>
    must(host, `for i in $(seq ${TASKS / 2}); do ${TQ} submit -- sh /share/task.sh ${TRAILS} || exit 1; done`, 90).then((out) =>
      out.trim().split('\n'),
    );
  const ids = (await Promise.all([half('c1'), half('c2')])).flat();
  check(new Set(ids).size === TASKS, `${TASKS} submits from two clients print ${TASKS} ids`, `${new Set(ids).size}`);
  return ids;
}

async function withFaults() {
  const done = (n) => until(async () => ((await count('done')) >= n ? true : undefined), 60);

  check(
    (await startWorker('c1', 'w1', 4)) !== undefined && (await startWorker('c2', 'w2', 4)) !== undefined,
    'a worker starts on each client',
  );
  check(
    (await on('c2', `${TQ} worker --name w1 --poll 1s`, 60)).code === 5,
    'C2: a second worker of a live name on another client exits 5',
  );

  await done(30);
  const killed = await sessionOf('w1');
  await must('c1', 'kill -9 $(cat /tmp/w1.pid)');
  check(
    killed !== '' && (await buried(killed, LEASE_S / 2)),
    'I3: a worker killed with -9 is buried by its guardian, long before the lease is over',
  );
  check((await startWorker('c1', 'w1', 4)) !== undefined, 'its name is free at once');

  await done(70);
  const cut = await sessionOf('w1');
  await run('fault.sh', ['kill', 'c1']);
  const rebooted = version === '3';
  // The two proofs of a death: a lease of silence, seen from the other client; or the same machine under another boot.
  if (rebooted) {
    await run('fault.sh', ['start', 'c1'], { seconds: 90 });
    await startWorker('c1', 'w3', 4);
  }
  check(cut !== '' && (await buried(cut, LEASE_S * 2)), 'I2: a client whose power was cut is buried');
  if (!rebooted) await run('fault.sh', ['start', 'c1'], { seconds: 90 });
  check((await startWorker('c1', 'w1', 4)) !== undefined, 'after its next boot a worker starts there under the old name');

  await run('fault.sh', ['reboot', 's'], { seconds: 90 });
  const all = await until(async () => ((await count('done')) >= TASKS ? true : undefined), 120, 1000);
  check(all === true, 'all tasks end done after the server was restarted', `${await count('done')}`);
  const waited = await on('c2', `${TQ} wait --timeout 60s`, 70);
  check(waited.code === 0, 'tq wait finds nothing unfinished', waited.err);
  for (const [host, name] of [
    ['c1', 'w1'],
    ['c2', 'w2'],
  ]) {
    await on(host, `kill $(cat /tmp/${name}.pid)`);
    const gone = await until(async () => ((await on(host, `kill -0 $(cat /tmp/${name}.pid)`)).code === 0 ? undefined : true), 30);
    check(gone === true, `${name} leaves on TERM`);
  }
  if (rebooted) await on('c1', 'kill $(cat /tmp/w3.pid)');
  const left = await until(async () => ((await must('s', 'ls /srv/tq/q/running')).trim() === '' ? '' : undefined), 30);
  check(left === '', 'nothing is left in running');
}

/** Everything in the queue and the trails, as the server has it: file names, and the contents of outcomes and trails. */
async function fetchAll() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-nfs-'));
  // A file that a client was given for its own (a delegation) is called back at the first try to open it.
  await must('s', 'for i in 1 2 3 4 5; do tar cf /share/smoke.tar -C /srv/tq q trails && break; sleep 1; done');
  spawnSync('tar', ['xf', path.join(exchange, 'smoke.tar'), '-C', dir]);
  fs.rmSync(path.join(exchange, 'smoke.tar'));
  const files = fs.readdirSync(path.join(dir, 'q'), { recursive: true, withFileTypes: true }).filter((f) => f.isFile());
  const entries = files
    .map((f) => ({
      place: path.relative(path.join(dir, 'q'), f.parentPath).split('/')[0],
      name: f.name,
      file: path.join(f.parentPath, f.name),
    }))
    .filter((f) => /^[0-9a-z]{10,16}\.a\d+\./.test(f.name));
  const trails = fs.readdirSync(path.join(dir, 'trails')).map((name) => {
    const [id, attempt] = name.split('.');
    const lines = fs
      .readFileSync(path.join(dir, 'trails', name), 'utf8')
      .trim()
      .split('\n');
    const at = lines.map((line) => Number(line.split(' ')[1]));
    return { id, attempt: Number(attempt), first: at[0], last: at.at(-1), ended: lines.at(-1).startsWith('stop') };
  });
  const outcomes = entries
    .filter((e) => e.place === 'runs' && e.name.endsWith('.json'))
    .map((e) => JSON.parse(fs.readFileSync(e.file, 'utf8')));
  fs.rmSync(dir, { recursive: true });
  return { entries, trails, outcomes };
}

async function judge(ids) {
  const { entries, trails, outcomes } = await fetchAll();
  const places = Map.groupBy(
    entries.filter((e) => e.place !== 'runs'),
    (e) => e.place,
  );
  const where = [...places].map(([place, list]) => `${list.length} ${place}`).join(', ');
  const done = new Set((places.get('done') ?? []).map((e) => e.name.split('.')[0]));
  check(places.size === 1 && (places.get('done') ?? []).length === TASKS, 'V1: each task is one file, in done', where);
  check(
    ids.every((id) => done.has(id)),
    'every id that submit printed is there',
  );

  const byTask = Map.groupBy(outcomes, (o) => o.id);
  const successes = ids.map((id) => (byTask.get(id) ?? []).filter((o) => o.outcome === 'succeeded').length);
  check(
    successes.every((n) => n === 1),
    'B1: each task has exactly one successful attempt',
    `${successes.filter((n) => n !== 1).length} have not`,
  );
  const others = outcomes.filter((o) => o.outcome !== 'succeeded');
  check(
    others.every((o) => o.outcome === 'lost'),
    'all other attempts are lost',
    [...new Set(others.map((o) => o.outcome))].join(' '),
  );
  check(
    others.some((o) => o.started),
    'attempts were lost in the middle',
  );
  say(`      NFSv${version}: ${others.length} lost attempts, ${others.filter((o) => o.started).length} of them had begun`);

  const ended = new Set(trails.filter((t) => t.ended).map((t) => `${t.id} ${t.attempt}`));
  const silent = outcomes.filter((o) => o.outcome === 'succeeded' && ids.includes(o.id) && !ended.has(`${o.id} ${o.attempt}`));
  check(silent.length === 0, 'each successful attempt ran to its end', silent.map((o) => `${o.id}.a${o.attempt}`).join(' '));
  const overlaps = [];
  for (const list of Map.groupBy(trails, (t) => t.id).values()) {
    const inOrder = list.toSorted((a, b) => a.attempt - b.attempt);
    for (const [i, t] of inOrder.entries()) if (i > 0 && inOrder[i - 1].last > t.first + CLOCKS_S) overlaps.push(`${t.id}.a${t.attempt}`);
  }
  check(overlaps.length === 0, 'D10: no two attempts of one task overlap', overlaps.join(' '));
  check(new Set(trails.map((t) => `${t.id} ${t.attempt}`)).size === trails.length, 'no attempt was run by two workers');
  const doctor = await on('c2', `${TQ} doctor`, 60);
  check(doctor.code === 0, 'tq doctor is clean', (doctor.out + doctor.err).trim());
}

async function smoke() {
  const up = await run('up.sh', ['2'], { seconds: 100, env: { LAB_OPTS: `vers=${version},hard`, LAB_LEASE: String(SERVER_LEASE_S) } });
  if (up.code !== 0) throw new Error(`up.sh: ${up.err || up.out}`);
  try {
    const init = await on('c1', `${TQ} init ${QUEUE} --lease ${LEASE_S}s`);
    check(init.code === 0 && init.out.trim() === QUEUE, 'L1: tq init makes a queue on the share', init.err);
    await must('c1', `mkdir ${TRAILS}`);
    await must('c1', `${TQ} init ${MEASURED_QUEUE} --lease ${LEASE_S}s`);
    const ids = await submitAll();
    const idlePerSecond = await measureIdle();
    await measureTop();
    await measure(idlePerSecond);
    await withFaults();
    await judge(ids);
  } finally {
    if (failed > 0) await logs();
    await run('down.sh', []);
  }
}

async function logs() {
  for (const host of ['c1', 'c2']) say((await on(host, 'tail -n 15 /tmp/w*.err', 10)).out);
}

// A copy: the program may be built anew while this runs.
fs.copyFileSync(path.join(root, 'dist/tq'), path.join(exchange, 'tq-smoke'), fs.constants.COPYFILE_FICLONE);
fs.copyFileSync(path.join(here, 'task.sh'), path.join(exchange, 'task.sh'));
for (version of versions.length > 0 ? versions : ['4.2', '3']) {
  const began = performance.now();
  try {
    await smoke();
  } catch (error) {
    check(false, 'the smoke runs to its end', error.message);
  }
  say(`      NFSv${version}: ${Math.round((performance.now() - began) / 1000)} s`);
}
fs.rmSync(path.join(exchange, 'tq-smoke'));
say(`NFS: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
