/** Small networks for the tests of the agent. */

import type { InterfaceSpec, NatSpec, NodeSpec, ServiceSpec, Topology } from '@claw/scenarios';

export const STUN = [{ urls: 'stun:20.0.0.10:3478' }];
const DELAY = { up: { delayMs: 10 }, down: { delayMs: 10 } };

/** Hosts `a` and `b` on two networks at once; 20 ms from one to the other, so a round trip is 40 ms. */
export function twoPaths(): Topology {
  const host = (last: number): NodeSpec => ({
    kind: 'host',
    interfaces: {
      eth0: { network: 'one', ipv4: `10.1.0.${last}`, ...DELAY },
      eth1: { network: 'two', ipv4: `10.2.0.${last}`, ...DELAY },
    },
  });
  return {
    networks: { one: { ipv4: '10.1.0.0/24' }, two: { ipv4: '10.2.0.0/24' } },
    nodes: { a: host(1), b: host(2) },
  };
}

/** `a` and `b` behind NATs of their own on the Internet, `a` with 32 more addresses that lead nowhere. */
export function uselessAddresses(count: number): Topology {
  const topology = behindNats({});
  const a = topology.nodes['a'] as NodeSpec & { interfaces: Record<string, InterfaceSpec> };
  const networks = topology.networks as Record<string, { ipv4: string }>;
  for (let index = 1; index <= count; index += 1) {
    networks[`void${index}`] = { ipv4: `10.77.${index}.0/24` };
    a.interfaces[`v${index}`] = { network: `void${index}`, ipv4: `10.77.${index}.2` };
  }
  return topology;
}

/** `a` and `b` each behind a NAT, endpoint-independent and port-restricted unless told otherwise. */
export function behindNats(nats: { readonly a?: Partial<NatSpec>; readonly b?: Partial<NatSpec> }): Topology {
  const services: ServiceSpec[] = [{ kind: 'turn', otherIpv4: '20.0.0.11' }];
  return {
    networks: {
      internet: { ipv4: '20.0.0.0/16' },
      lana: { ipv4: '192.168.1.0/24' },
      lanb: { ipv4: '192.168.2.0/24' },
    },
    nodes: {
      services: { kind: 'host', interfaces: { eth0: { network: 'internet', ipv4: '20.0.0.10' } }, services },
      ...site('a', 1, nats.a),
      ...site('b', 2, nats.b),
    },
  };
}

function site(name: string, index: number, nat: Partial<NatSpec> = {}): Record<string, NodeSpec> {
  return {
    [name]: {
      kind: 'host',
      interfaces: { eth0: { network: `lan${name}`, ipv4: `192.168.${index}.10` } },
      gateway: { ipv4: `192.168.${index}.1` },
    },
    [`r${name}`]: {
      kind: 'router',
      interfaces: {
        inside: { network: `lan${name}`, ipv4: `192.168.${index}.1` },
        outside: { network: 'internet', ipv4: `20.0.${index}.1`, ...DELAY },
      },
      nat: {
        outside: 'outside',
        mapping: 'endpoint-independent',
        filtering: 'address-and-port-dependent',
        ports: { kind: 'preserving' },
        ...nat,
      },
    },
  };
}
