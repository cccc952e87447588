/** offline: everything is settled, the session ends, the name is free. */
import { depart, type StateModule } from '../machine.ts';

export const offline: StateModule = {
  name: 'offline',
  async run(w) {
    await Promise.all([...w.runs.values()].map((r) => r.settled));
    await depart(w);
    return 'end';
  },
};
