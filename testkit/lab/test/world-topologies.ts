/** Small topologies for the tests of the world, and how to run a program in one. */

import type { NatSpec, NodeSpec, Topology } from '@claw/scenarios';
import { finished } from '../src/world/command.ts';
import type { OpenedLab } from '../src/world/open-lab.ts';

export const KERNEL_NAT: NatSpec = {
  outside: 'outside',
  mapping: 'endpoint-independent',
  filtering: 'address-and-port-dependent',
  ports: { kind: 'preserving' },
};

export const USER_NAT: NatSpec = {
  outside: 'outside',
  mapping: 'endpoint-independent',
  filtering: 'endpoint-independent',
  ports: { kind: 'sequential', first: 5000 },
  hairpin: true,
  portMapping: ['nat-pmp'],
};

/** Peers a and b, each behind a router, and the host `pub` on the Internet between them. */
export function twoRouters(a: Partial<NodeSpec>, b: Partial<NodeSpec>, pub: Partial<NodeSpec> = {}): Topology {
  const side = (name: 'a' | 'b', n: number, router: Partial<NodeSpec>): Record<string, NodeSpec> => ({
    [name]: {
      kind: 'host',
      interfaces: { eth0: { network: `lan-${name}`, ipv4: `192.168.${n}.10`, ipv6: `2a0c:b640:${n}::10` } },
      gateway: { ipv4: `192.168.${n}.1`, ipv6: `2a0c:b640:${n}::1` },
    },
    [`r${name}`]: {
      kind: 'router',
      interfaces: {
        inside: { network: `lan-${name}`, ipv4: `192.168.${n}.1`, ipv6: `2a0c:b640:${n}::1` },
        outside: { network: 'net', ipv4: `20.0.${n}.1`, ipv6: `2a0c:b640::${n}:1` },
      },
      ...router,
    },
  });
  return {
    networks: {
      net: { ipv4: '20.0.0.0/16', ipv6: '2a0c:b640::/64' },
      'lan-a': { ipv4: '192.168.1.0/24', ipv6: '2a0c:b640:1::/64' },
      'lan-b': { ipv4: '192.168.2.0/24', ipv6: '2a0c:b640:2::/64' },
    },
    nodes: {
      ...side('a', 1, a),
      ...side('b', 2, b),
      pub: {
        kind: 'host',
        interfaces: { eth0: { network: 'net', ipv4: '20.0.0.10', ipv6: '2a0c:b640::10' } },
        // The way back to a's IPv6 network.
        gateway: { ipv6: '2a0c:b640::1:1' },
        ...pub,
      },
    },
  };
}

/** Resolves with what the program printed; rejects when its status is not 0. */
export function run(lab: OpenedLab, node: string, ...command: [string, ...string[]]): Promise<string> {
  const child = lab.spawn(node, command, { stdio: ['ignore', 'pipe', 'pipe'] });
  return finished(child, `${command.join(' ')} on ${node}`);
}

export async function reaches(lab: OpenedLab, node: string, address: string): Promise<boolean> {
  return run(lab, node, 'ping', '-n', '-c', '1', '-W', '0.3', address).then(
    () => true,
    () => false,
  );
}

/** Median round trip of a few pings, milliseconds. */
export async function roundTripMs(lab: OpenedLab, node: string, address: string): Promise<number> {
  const text = await run(lab, node, 'ping', '-n', '-c', '9', '-i', '0.01', address);
  const times = [...text.matchAll(/time=([\d.]+)/g)].map(([, ms]) => Number(ms)).toSorted((x, y) => x - y);
  return times[times.length >> 1] ?? Number.NaN;
}
