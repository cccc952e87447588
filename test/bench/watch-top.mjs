/**
 * Asks the store behind `tq top` for what it shows, ten times a second as quick keys would, and prints as JSON what that took: started by
 * `top-scale.mjs` in a process of its own, with the queue and for how many ms.
 */
import { makeEyes } from '../../src/commands/eyes.ts';
import { openQueue } from '../../src/queue/open.ts';
import { realSystem } from '../../src/system.ts';
import { openStore } from '../../src/top/store.ts';

const [dir, ms] = [process.argv[2], Number(process.argv[3])];
const KEYS_MS = 100;
const system = realSystem();
let calls = 0;
const by = new Map();
const q = await openQueue(dir, {
  fault: (op, path) => {
    calls++;
    const what = `${op} ${path.slice(dir.length + 1).split('/')[0]}`;
    by.set(what, (by.get(what) ?? 0) + 1);
  },
});
const ask = { filter: '', sort: null, reverse: false, offset: 0, rows: 40, cursor: null, unfolded: new Set() };

const began = performance.now();
const store = await openStore(q, system, makeEyes(q));
let seen = await store.look(ask);
const firstMs = Math.round(performance.now() - began);
let blockedMs = 0;
let ticked = performance.now();
const ticker = setInterval(() => {
  blockedMs = Math.max(blockedMs, performance.now() - ticked - 2);
  ticked = performance.now();
}, 2);
let completeMs = 0;
let slowest = 0;
let looks = 0;
const look = async (offset) => {
  const at = performance.now();
  seen = await store.look({ ...ask, offset });
  slowest = Math.max(slowest, performance.now() - at);
  looks++;
};
while (!seen.isComplete) {
  await look(0);
  await new Promise((resolve) => setTimeout(resolve, 20));
}
completeMs = Math.round(performance.now() - began);
clearInterval(ticker);
const perLook = [];
by.clear();
const watched = performance.now();
const cpu = process.cpuUsage();
while (performance.now() - watched < ms) {
  const before = calls;
  await look(0);
  await new Promise((resolve) => setTimeout(resolve, KEYS_MS));
  perLook.push(calls - before);
}
const used = process.cpuUsage(cpu);
const elapsed = performance.now() - watched;
if (process.env.TQ_CALLS !== undefined) console.error(Object.fromEntries(by));
// What keys ask for: the middle, the end, a filter.
for (let i = 0; i < 50; i++) await look(Math.floor((seen.total * i) / 50));
await store.close();
const sum = perLook.reduce((n, c) => n + c, 0);
console.log(
  JSON.stringify({
    firstMs,
    completeMs,
    looks,
    slowestMs: Math.round(slowest),
    blockedMs: Math.round(blockedMs),
    callsMean: Math.round((sum * 1000) / Math.max(1, elapsed)) + ' a second',
    callsMost: `${Math.max(0, ...perLook)} in a tenth of one`,
    cpuPercent: Math.round(((used.user + used.system) / 1000 / Math.max(1, elapsed)) * 1000) / 10,
    rssMb: Math.round(process.memoryUsage.rss() / 1e6),
    counts: seen.counts,
    rate: seen.rate,
  }),
);
process.exit(0);
