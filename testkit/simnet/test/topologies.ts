/** Small networks for the tests of this package. */

import type { LinkSpec, NatSpec, NodeSpec, ServiceSpec, Topology } from '@claw/scenarios';

export const SERVER = '20.0.0.10';
export const OTHER_SERVER = '20.0.0.11';

export const PLAIN_NAT: NatSpec = {
  outside: 'outside',
  mapping: 'endpoint-independent',
  filtering: 'endpoint-independent',
  ports: { kind: 'preserving' },
};

/** Hosts `a` and `b` on one network; `link` lies on a's way out. */
export function pair(link: LinkSpec = {}, back: LinkSpec = {}, mtuBytes = 1500): Topology {
  const host = (last: number, links: object): NodeSpec => ({
    kind: 'host',
    interfaces: { eth0: { network: 'lan', ipv4: `10.0.0.${last}`, ipv6: `2001:db8::${last}`, mtuBytes, ...links } },
  });
  return {
    networks: { lan: { ipv4: '10.0.0.0/24', ipv6: '2001:db8::/64' } },
    nodes: { a: host(1, { up: link, down: back }), b: host(2, {}) },
  };
}

/** Hosts `a` and `b` each behind a router `ra`, `rb`, and `services` with two addresses; 10 ms to the Internet. */
export function behindRouters(a: Partial<NodeSpec>, b: Partial<NodeSpec> = {}): Topology {
  const services: ServiceSpec[] = [{ kind: 'turn', otherIpv4: OTHER_SERVER }];
  return {
    networks: {
      internet: { ipv4: '20.0.0.0/16' },
      lana: { ipv4: '192.168.1.0/24' },
      lanb: { ipv4: '192.168.2.0/24' },
    },
    nodes: {
      services: { kind: 'host', interfaces: { eth0: { network: 'internet', ipv4: SERVER } }, services },
      ...site('a', 1, a),
      ...site('b', 2, b),
    },
  };
}

function site(name: string, index: number, router: Partial<NodeSpec>): Record<string, NodeSpec> {
  const delay = { up: { delayMs: 10 }, down: { delayMs: 10 } };
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
        outside: { network: 'internet', ipv4: `20.0.${index}.1`, ...delay },
      },
      ...router,
    },
  };
}
