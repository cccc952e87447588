import { it } from 'vitest';
import { play } from './scenario.ts';
it('x', async () => {
  const from = Number(process.env['FROM'] ?? '0');
  const n = Number(process.env['N'] ?? '30');
  let calls = 0;
  const bad: string[] = [];
  for (let i = 0; i < n; i++) {
    try {
      calls += (await play(from + i, 60, 'arrays')).calls;
    } catch (e) {
      bad.push((e as Error).message.slice(0, Number(process.env['LEN'] ?? '200')));
      if (bad.length > Number(process.env['MOST'] ?? '8')) break;
    }
  }
  console.log(calls, bad.length, '\n' + bad.join('\n'));
}, 900000);
