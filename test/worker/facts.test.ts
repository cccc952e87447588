/** What a machine is known by when a worker asks whether a session of an earlier boot was its own. */
import fs from 'node:fs';
import { expect, test } from 'vitest';
import { judgeSession, makeSession, type HostFacts } from '../../src/queue/session.ts';
import { hostFacts } from '../../src/worker/facts.ts';

const NETWORK = '/sys/class/net';

test('a machine is known by its network cards as well, and by nothing where it has none', () => {
  const cards = fs.existsSync(NETWORK) ? fs.readdirSync(NETWORK).filter((name) => fs.existsSync(`${NETWORK}/${name}/device`)) : undefined;
  const { machine } = hostFacts();
  if (cards === undefined || cards.length === 0) expect(machine === '' || process.platform !== 'linux').toBe(true);
  for (const name of cards ?? []) expect(machine).toContain(fs.readFileSync(`${NETWORK}/${name}/address`, 'utf8').trim());
  expect(hostFacts().machine).toBe(machine);
});

test('I3: another boot of the same machine proves a death, a clone with another network card does not, nor does a machine without any', () => {
  const one: HostFacts = { host: 'node', machine: 'image 02:00:00:00:00:01', boot: 'first', pidNamespace: '1', startOf: () => '77' };
  const session = makeSession('w1', one);
  expect(judgeSession(session, { ...one, boot: 'second' })).toBe('dead');
  expect(judgeSession(session, { ...one, boot: 'second', machine: 'image 02:00:00:00:00:02' })).toBe('unknown');
  const bare = { ...one, machine: '' };
  expect(judgeSession(makeSession('w1', bare), { ...bare, boot: 'second' })).toBe('unknown');
});
