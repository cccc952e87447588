/** The facts about this machine that sessions and burials need. */
import type { HostFacts } from '../queue/session.ts';
import { bootId, hostName, machineId, networkCards, pidNamespace, startTimeOf } from './proc.ts';

export function hostFacts(): HostFacts {
  return { host: hostName(), machine: identity(), boot: bootId(), pidNamespace: pidNamespace(), startOf: startTimeOf };
}

/**
 * What no other machine has, since "the same machine, booted again" proves a death. Clones of one image share its id and often
 * its name, so that the network cards count too; a container without any is told from nobody.
 */
function identity(): string {
  const cards = networkCards();
  return cards === '' ? '' : `${machineId()} ${cards}`;
}
