/** The facts about this machine that sessions and burials need. */
import type { HostFacts } from '../queue/session.ts';
import { bootId, hostName, machineId, pidNamespace, startTimeOf } from './proc.ts';

export function hostFacts(): HostFacts {
  return { host: hostName(), machine: machineId(), boot: bootId(), pidNamespace: pidNamespace(), startOf: startTimeOf };
}
