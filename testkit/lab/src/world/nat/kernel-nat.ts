/**
 * NATs that the kernel's connection tracking does exactly, for one inside host:
 *
 *   mapping       filtering  ports
 *   independent   APDF       preserving   masquerade
 *   independent   EIF, ADF   preserving   masquerade; what comes to a mapped port is sent inside
 *   APDM          APDF       random       masquerade fully-random
 *
 * Mapped ports, and for ADF the addresses they spoke to, are dynamic sets whose
 * entries live as long as a mapping. With two inside hosts the kernel would give
 * one outside port to both, so that and everything else is the user-space NAT's.
 */

import type { NatSpec } from '@claw/scenarios';
import type { NodePlan } from '../node-plan.ts';

/** Of what the kernel does; its timers for UDP are set to it. */
export const KERNEL_LIFETIME_S = 120;

export function isKernelNat(nodes: Iterable<NodePlan>, router: NodePlan, nat: NatSpec): boolean {
  if (nat.hairpin || nat.foreignMappingsPerSecond || nat.portMapping?.length) return false;
  if ((nat.mappingLifetimeMs ?? KERNEL_LIFETIME_S * 1000) !== KERNEL_LIFETIME_S * 1000) return false;
  if (insideHosts(nodes, router, nat).length !== 1) return false;
  if (nat.mapping === 'endpoint-independent') return nat.ports.kind === 'preserving';
  const isStrict = nat.filtering === 'address-and-port-dependent' && nat.mapping === nat.filtering;
  return isStrict && nat.ports.kind === 'random';
}

/** IPv4 addresses on the router's inside networks, its own left out. */
export function insideHosts(nodes: Iterable<NodePlan>, router: NodePlan, nat: NatSpec): string[] {
  const own = [...router.interfaces.values()];
  const inside = new Set(own.filter(({ name }) => name !== nat.outside).map(({ network }) => network));
  return [...nodes]
    .filter((node) => node !== router)
    .flatMap((node) => [...node.interfaces.values()])
    .flatMap(({ network, ipv4 }) => (inside.has(network) && ipv4 ? [ipv4] : []));
}

/** What an early packet of a peer meets is a drop in `input`, so it takes no connection's place. */
export function kernelNatChains(nat: NatSpec, insideHost: string): string[] {
  const random = nat.ports.kind === 'random' ? ' fully-random' : '';
  return [
    'chain outgoing {',
    '  type nat hook postrouting priority srcnat;',
    `  oifname "${nat.outside}" meta nfproto ipv4 masquerade${random}`,
    '}',
    'chain own {',
    '  type filter hook input priority filter;',
    '  ct state established,related accept',
    `  iifname "${nat.outside}" meta nfproto ipv4 drop`,
    '  ip daddr @outside drop',
    '}',
    ...(nat.filtering === 'address-and-port-dependent' ? [] : openFilterChains(nat, insideHost)),
  ];
}

function openFilterChains(nat: NatSpec, insideHost: string): string[] {
  const looksAtAddress = nat.filtering === 'address-dependent';
  const type = `inet_proto . inet_service${looksAtAddress ? ' . ipv4_addr' : ''}`;
  const sent = `meta l4proto . th sport${looksAtAddress ? ' . ip daddr' : ''}`;
  const came = `meta l4proto . th dport${looksAtAddress ? ' . ip saddr' : ''}`;
  const carried = 'meta nfproto ipv4 meta l4proto { udp, tcp }';
  return [
    `set mapped { type ${type}; flags dynamic,timeout; timeout ${KERNEL_LIFETIME_S}s; size 65535; }`,
    'chain remember {',
    '  type filter hook postrouting priority mangle;',
    `  oifname "${nat.outside}" ${carried} update @mapped { ${sent} }`,
    '}',
    'chain incoming {',
    '  type nat hook prerouting priority dstnat;',
    `  iifname "${nat.outside}" ip daddr @outside ${carried} ${came} @mapped dnat ip to ${insideHost}`,
    '}',
  ];
}
