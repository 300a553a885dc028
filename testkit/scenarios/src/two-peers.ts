/**
 * The topology that every scenario starts from: peers `a` and `b`, each behind
 * the routers of its access, and the host `services` on the Internet.
 *
 *   a ── lan-a ── a-r1 ── (mid-a ── a-r2) ── internet ── services
 *                                       core ──┴── … b likewise
 *
 * `core` stands for the rest of the Internet: everybody's default route, with no
 * way to anywhere, so that what is sent to a foreign private address leaves and
 * is lost, as it would be, and is not refused at the sender.
 *
 * The Internet is 20.0.0.0/16, because contestants take documentation and
 * private ranges for addresses that nobody can reach from outside.
 */

import type { AccessRouterSpec, AccessSpec } from './scenario.ts';
import type { InterfaceSpec, LinkSpec, NetworkSpec, NodeSpec, ServiceSpec, Topology } from './topology.ts';

export type PeerName = 'a' | 'b';

export interface PeerLinks {
  readonly up?: LinkSpec;
  readonly down?: LinkSpec;
}

export interface TwoPeersOptions {
  readonly a: AccessSpec;
  readonly b: AccessSpec;
  readonly links: Readonly<Record<PeerName, PeerLinks>>;
}

export const INTERNET = 'internet';
export const SERVICES_HOST = 'services';

const CORE = { ipv4: '20.0.0.1', ipv6: '2a0c:b640::1' };
const SERVICES_IPV4 = '20.0.0.10';
const OTHER_IPV4 = '20.0.0.11';
const PROXY_PORT = 3128;

/** Port 443 carries TURN over TLS, so that what lets nothing else pass has a way out. */
const SERVICES: readonly ServiceSpec[] = [
  { kind: 'turn', udp: 3478, tcp: 3478, tls: 443, otherIpv4: OTHER_IPV4 },
  { kind: 'http-proxy', port: PROXY_PORT },
  { kind: 'dns', port: 53 },
];

export function twoPeers(options: TwoPeersOptions): Topology {
  const networks: Record<string, NetworkSpec> = { [INTERNET]: { ipv4: '20.0.0.0/16', ipv6: '2a0c:b640::/64' } };
  const nodes: Record<string, NodeSpec> = {
    core: { kind: 'router', interfaces: { eth0: { network: INTERNET, ...CORE } } },
    [SERVICES_HOST]: {
      kind: 'host',
      gateway: CORE,
      interfaces: { eth0: { network: INTERNET, ipv4: SERVICES_IPV4, ipv6: '2a0c:b640::10' } },
      services: SERVICES,
    },
  };
  for (const peer of ['a', 'b'] as const) addPeer(networks, nodes, peer, options[peer], options.links[peer]);
  return { networks, nodes };
}

function addPeer(
  networks: Record<string, NetworkSpec>,
  nodes: Record<string, NodeSpec>,
  peer: PeerName,
  access: AccessSpec,
  links: PeerLinks,
): void {
  const side = peer === 'a' ? 1 : 2;
  const outside: InterfaceSpec = { network: INTERNET, ipv4: `20.0.${side}.1`, ...links };
  if (access.routers.length === 0) {
    nodes[peer] = {
      kind: 'host',
      interfaces: { eth0: { ...outside, ipv6: `2a0c:b640::${side}:1` } },
      gateway: CORE,
    };
    return;
  }
  // The first router is the peer's own; each further one stands between it and the Internet.
  const last = access.routers.length - 1;
  for (const [index, router] of access.routers.entries()) {
    const inner = index === 0 ? `lan-${peer}` : `mid${index}-${peer}`;
    const prefix = index === 0 ? `192.168.${side}` : `100.64.${side * 16 + index}`;
    networks[inner] = { ipv4: `${prefix}.0/24` };
    const next = `100.64.${side * 16 + index + 1}`;
    nodes[`${peer}-r${index + 1}`] = routerOf(router, {
      inside: { network: inner, ipv4: `${prefix}.1` },
      outside: index === last ? outside : { network: `mid${index + 1}-${peer}`, ipv4: `${next}.2` },
      gateway: index === last ? CORE.ipv4 : `${next}.1`,
    });
  }
  nodes[peer] = {
    kind: 'host',
    interfaces: { eth0: { network: `lan-${peer}`, ipv4: `192.168.${side}.10` } },
    gateway: { ipv4: `192.168.${side}.1` },
  };
}

function routerOf(
  spec: AccessRouterSpec,
  place: { readonly inside: InterfaceSpec; readonly outside: InterfaceSpec; readonly gateway: string },
): NodeSpec {
  return {
    kind: 'router',
    interfaces: { inside: place.inside, outside: place.outside },
    gateway: { ipv4: place.gateway },
    ...(spec.nat ? { nat: { ...spec.nat, outside: 'outside' } } : {}),
    ...(spec.firewall ? { firewall: spec.firewall } : {}),
  };
}
