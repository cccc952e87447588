/** restart: leaves like offline, but with the exit code that makes its supervisor start it again; awake or asleep is kept. */
import { depart, type StateModule } from '../machine.ts';

export const restart: StateModule = {
  name: 'restart',
  async run(w) {
    await Promise.all([...w.runs.values()].map((r) => r.settled));
    w.state = 'offline';
    await depart(w);
    return 'end';
  },
};
