/**
 * What a schema cannot say of a topology: names that refer to something,
 * addresses that lie in their network and belong to one interface only. Both
 * builders rely on it.
 */

import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { scenarioError } from './errors.ts';
import type { InterfaceSpec, NetworkSpec, NodeSpec, Topology } from './topology.ts';

/** The kernel's limit is 15; the lab puts a run id before it. */
const MAX_NAME_LENGTH = 8;

/** Throws TOPOLOGY_INVALID with every fault found. `title` says which topology it is. */
export function checkTopology(topology: Topology, title: string): void {
  const faults = [...faultsOf(topology)];
  if (faults.length > 0) throw scenarioError('TOPOLOGY_INVALID', `${title}: ${faults.join('; ')}`);
}

function* faultsOf({ networks, nodes }: Topology): Generator<string> {
  for (const [name, network] of Object.entries(networks)) yield* networkFaults(name, network);
  const owners = new Map<string, string>();
  for (const [name, node] of Object.entries(nodes)) {
    yield* nodeFaults(name, node);
    for (const [label, spec] of Object.entries(node.interfaces)) {
      const place = `${name}.${label}`;
      yield* interfaceFaults(place, label, spec, networks[spec.network]);
      for (const address of [spec.ipv4, spec.ipv6]) {
        if (address === undefined) continue;
        const key = `${spec.network} ${address}`;
        if (owners.has(key)) yield `${place} and ${owners.get(key)} both have ${address}`;
        owners.set(key, place);
      }
    }
  }
}

function* networkFaults(name: string, network: NetworkSpec): Generator<string> {
  if (!network.ipv4 && !network.ipv6) yield `network ${name} has neither an IPv4 nor an IPv6 prefix`;
  if (network.ipv4 && !isPrefix(network.ipv4, 'ipv4')) yield `network ${name}: ${network.ipv4} is no IPv4 prefix`;
  if (network.ipv6 && !isPrefix(network.ipv6, 'ipv6')) yield `network ${name}: ${network.ipv6} is no IPv6 prefix`;
}

function* nodeFaults(name: string, node: NodeSpec): Generator<string> {
  if (node.kind === 'host' && node.nat) yield `${name} is a host and has a NAT`;
  if (node.kind === 'host' && node.firewall) yield `${name} is a host and has a firewall`;
  if (node.kind === 'router' && node.services) yield `${name} is a router and has services`;
  if (node.nat && !node.interfaces[node.nat.outside]?.ipv4) {
    yield `${name}: the NAT's outside interface "${node.nat.outside}" is missing or has no IPv4 address`;
  }
  for (const rule of node.firewall?.rules ?? []) {
    for (const label of [rule.from, rule.to]) {
      if (label !== undefined && !node.interfaces[label]) yield `${name}: a rule names the interface "${label}"`;
    }
    if (rule.ports && rule.protocol !== 'udp' && rule.protocol !== 'tcp') {
      yield `${name}: a rule has ports but neither protocol udp nor tcp`;
    }
  }
  if (node.gateway?.ipv4 && !isIPv4(node.gateway.ipv4)) yield `${name}: ${node.gateway.ipv4} is no IPv4 address`;
  if (node.gateway?.ipv6 && !isIPv6(node.gateway.ipv6)) yield `${name}: ${node.gateway.ipv6} is no IPv6 address`;
}

function* interfaceFaults(
  place: string,
  label: string,
  spec: InterfaceSpec,
  network: NetworkSpec | undefined,
): Generator<string> {
  if (label.length > MAX_NAME_LENGTH || !/^[a-z][a-z0-9]*$/.test(label)) {
    yield `${place}: an interface name is 1 to ${MAX_NAME_LENGTH} of a-z and 0-9, a letter first`;
  }
  if (!network) {
    yield `${place}: there is no network "${spec.network}"`;
    return;
  }
  for (const family of ['ipv4', 'ipv6'] as const) {
    const address = spec[family];
    if (address === undefined) continue;
    if (!network[family]) yield `${place} has ${address}, but network ${spec.network} has no ${family} prefix`;
    else if (isPrefix(network[family], family) && !contains(network[family], family, address)) {
      yield `${place}: ${address} is not in ${network[family]}`;
    }
  }
}

function isPrefix(text: string, family: 'ipv4' | 'ipv6'): boolean {
  const [address = '', length = ''] = text.split('/');
  const bits = family === 'ipv4' ? 32 : 128;
  return (family === 'ipv4' ? isIPv4(address) : isIPv6(address)) && /^\d{1,3}$/.test(length) && Number(length) <= bits;
}

function contains(prefix: string, family: 'ipv4' | 'ipv6', address: string): boolean {
  if (!(family === 'ipv4' ? isIPv4(address) : isIPv6(address))) return false;
  const [network = '', length] = prefix.split('/');
  const list = new BlockList();
  list.addSubnet(network, Number(length), family);
  return list.check(address, family);
}
