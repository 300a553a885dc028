/**
 * A node as the kernel is told of it: the lines of `ip -batch` that give it
 * addresses and routes, and its sysctls. A plan also remembers what events have
 * changed, because taking an interface down makes the kernel forget its routes.
 */

import type { InterfaceSpec, NetworkSpec, NodeSpec, Topology } from '@claw/scenarios';
import { prefixLength, prefixOf } from './prefix.ts';
import { namespaceFile } from './run-record.ts';

export interface PlannedInterface {
  readonly name: string;
  readonly network: string;
  readonly prefixes: NetworkSpec;
  readonly spec: InterfaceSpec;
  /** netd's number, known once it made the TAP. */
  index: number;
  ipv4: string | undefined;
  ipv6: string | undefined;
  isUp: boolean;
  /** Down only because its host sleeps. */
  isAsleep: boolean;
}

export interface NodePlan {
  readonly name: string;
  readonly spec: NodeSpec;
  /** Number of the node, for netd. */
  readonly number: number;
  readonly namespace: string;
  readonly interfaces: ReadonlyMap<string, PlannedInterface>;
  readonly gateway: { ipv4: string | undefined; ipv6: string | undefined };
}

export const FAMILIES = ['ipv4', 'ipv6'] as const;

export function planNodes(topology: Topology, namespaceOf: (node: string) => string): Map<string, NodePlan> {
  const plans = Object.entries(topology.nodes).map(([name, spec], number): [string, NodePlan] => {
    const interfaces = Object.entries(spec.interfaces).map(([label, each]): [string, PlannedInterface] => [
      label,
      {
        name: label,
        network: each.network,
        prefixes: topology.networks[each.network] ?? {},
        spec: each,
        index: -1,
        ipv4: each.ipv4,
        ipv6: each.ipv6,
        isUp: each.enabled ?? true,
        isAsleep: false,
      },
    ]);
    const gateway = { ipv4: spec.gateway?.ipv4, ipv6: spec.gateway?.ipv6 };
    return [name, { name, spec, number, namespace: namespaceOf(name), interfaces: new Map(interfaces), gateway }];
  });
  return new Map(plans);
}

/** netd's command that an interface speaks IPv6 only when it has an address: no link-local ones, no multicast reports. */
export function ipv6Command(node: NodePlan, each: PlannedInterface): string {
  const key = `net/ipv6/conf/${each.name}/disable_ipv6`;
  return `sysctl ${namespaceFile(node.namespace)} ${key} ${each.ipv6 === undefined ? '1' : '0'}`;
}

/** Addresses of a node's interfaces, both families. */
export function addressesOf(node: NodePlan): string[] {
  return [...node.interfaces.values()].flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].filter((each) => each !== undefined));
}

/** Under which a node is known to others, for services. */
export function firstIpv4(node: NodePlan): string | undefined {
  return [...node.interfaces.values()].find(({ ipv4 }) => ipv4 !== undefined)?.ipv4;
}

/** `ip -batch` lines for a namespace as it is just after its interfaces were made. */
export function setupLines(node: NodePlan): string[] {
  const lines = ['link set lo up'];
  for (const each of node.interfaces.values()) {
    lines.push(...addressLines(each), ...extraAddressLines(node, each));
    if (each.isUp) lines.push(`link set ${each.name} up`);
  }
  return [...lines, ...gatewayLines(node)];
}

export function addressLines(each: PlannedInterface): string[] {
  return FAMILIES.flatMap((family) => {
    const address = each[family];
    const prefix = each.prefixes[family];
    if (address === undefined || prefix === undefined) return [];
    const flags = family === 'ipv6' ? ' nodad' : '';
    return [`address replace ${address}/${prefixLength(prefix)} dev ${each.name}${flags}`];
  });
}

/** The second addresses of TURN servers. */
function extraAddressLines(node: NodePlan, each: PlannedInterface): string[] {
  const prefix = each.prefixes.ipv4;
  if (prefix === undefined) return [];
  return (node.spec.services ?? []).flatMap((service) => {
    const other = service.kind === 'turn' ? service.otherIpv4 : undefined;
    if (other === undefined || !prefixOf(prefix).check(other, 'ipv4')) return [];
    return [`address replace ${other}/${prefixLength(prefix)} dev ${each.name}`];
  });
}

/** Default routes by the interface that is up and whose network has the gateway. */
export function gatewayLines(node: NodePlan): string[] {
  return FAMILIES.flatMap((family) => {
    const gateway = node.gateway[family];
    if (gateway === undefined) return [];
    const by = [...node.interfaces.values()].find((each) => {
      const prefix = each.prefixes[family];
      return each.isUp && each[family] !== undefined && prefix && prefixOf(prefix).check(gateway, family);
    });
    return by ? [`route replace default via ${gateway} dev ${by.name}`] : [];
  });
}

/**
 * To be set before interfaces are made: `default` holds for those that come. An
 * interface that comes up tells its neighbours, so that none of them waits a second
 * for its next question.
 */
export function sysctls(node: NodePlan): [key: string, value: string][] {
  const forwards = node.spec.kind === 'router' ? '1' : '0';
  const both = (key: string, value: string) =>
    ['all', 'default'].map((scope): [string, string] => [key.replace('*', scope), value]);
  return [
    ['net/ipv4/ip_forward', forwards],
    ['net/ipv4/ping_group_range', '0 2147483647'],
    ...both('net/ipv4/conf/*/rp_filter', '0'),
    ...both('net/ipv4/conf/*/send_redirects', '0'),
    ...both('net/ipv4/conf/*/arp_notify', '1'),
    // Two interfaces on one network: each speaks for its own address only.
    ...both('net/ipv4/conf/*/arp_ignore', '1'),
    ...both('net/ipv4/conf/*/arp_announce', '2'),
    ...both('net/ipv6/conf/*/ndisc_notify', '1'),
    ['net/ipv4/conf/default/accept_local', '1'],
    ...both('net/ipv6/conf/*/forwarding', forwards),
    ...both('net/ipv6/conf/*/accept_dad', '0'),
    ...both('net/ipv6/conf/*/accept_ra', '0'),
    ...both('net/ipv6/conf/*/router_solicitations', '0'),
    ...both('net/ipv6/conf/*/keep_addr_on_down', '1'),
  ];
}
