/** dnsmasq as the topology's name server: each node is NODE.lab, and nothing else exists. */

import type { LabServices } from '../../contestants/contract.ts';
import { addressesOf, firstIpv4, type NodePlan } from '../node-plan.ts';
import type { ServiceProgram } from './service.ts';

export interface Dns {
  readonly program: ServiceProgram;
  readonly facts: NonNullable<LabServices['dns']>;
}

export function prepareDns(node: NodePlan, nodes: Iterable<NodePlan>, port: number, folder: string): Dns {
  const records = [...nodes].flatMap((each) => {
    const addresses = addressesOf(each);
    return addresses.length > 0 ? [`--host-record=${each.name}.lab,${addresses.join(',')}`] : [];
  });
  const host = firstIpv4(node) ?? '';
  const options = ['--keep-in-foreground', '--no-resolv', '--no-hosts', '--conf-file=/dev/null', '--user=root'];
  return {
    program: {
      kind: 'dns',
      command: ['dnsmasq', ...options, '--pid-file=', '--log-facility=-', `--port=${port}`, '--local=/#/', ...records],
      debianPackage: 'dnsmasq-base',
      ports: [{ protocol: 'udp', port }],
      folder,
    },
    facts: { host, port },
  };
}
