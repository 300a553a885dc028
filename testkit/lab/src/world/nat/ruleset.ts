/**
 * The nft ruleset of a router: its firewall, and its NAT as far as the kernel does
 * it or the user-space NAT needs it.
 *
 * A user-space NAT sits behind the TUN `nat0`: what leaves by the outside interface
 * and what comes in by it is marked, and a routing rule sends it there. A firewall
 * rule that names the outside interface then means the leg between inside and
 * `nat0`, where packets carry their inside addresses, as they do in a kernel NAT.
 */

import { isIPv6 } from 'node:net';
import type { FirewallRule } from '@claw/scenarios';
import type { NodePlan } from '../node-plan.ts';
import { insideHosts, kernelNatChains } from './kernel-nat.ts';

export const NAT_TUN = 'nat0';
export const NAT_MARK = 1;
export const PORT_MAPPING_PORT = 5351;

/** Whole ruleset, replacing the one before. Undefined for a node without NAT and firewall. */
export function formatRuleset(nodes: Iterable<NodePlan>, node: NodePlan, isUserNat: boolean): string | undefined {
  const { nat, firewall } = node.spec;
  if (!nat && !firewall) return undefined;
  const lines: string[] = [];
  if (nat) lines.push(`set outside { type ipv4_addr; elements = { ${node.interfaces.get(nat.outside)?.ipv4} } }`);
  if (nat && !isUserNat) lines.push(...kernelNatChains(nat, insideHosts(nodes, node, nat)[0] ?? '0.0.0.0'));
  if (nat && isUserNat) lines.push(...steeringChain(node, nat.outside));
  lines.push(...forwardChain(firewall?.rules ?? [], isUserNat ? nat?.outside : undefined));
  const body = lines.map((line) => `  ${line}\n`).join('');
  return `table inet claw\ndelete table inet claw\ntable inet claw {\n${body}}\n`;
}

function steeringChain(node: NodePlan, outside: string): string[] {
  const inside = [...node.interfaces.values()].filter((each) => each.name !== outside);
  const connected = inside.flatMap((each) => each.prefixes.ipv4 ?? []).join(', ');
  const mark = `meta mark set ${NAT_MARK}`;
  return [
    'chain steer {',
    '  type filter hook prerouting priority mangle;',
    `  iifname "${NAT_TUN}" return`,
    `  ip daddr @outside ${mark}`,
    `  iifname != "${outside}" fib daddr type local udp dport ${PORT_MAPPING_PORT} ip version 4 ${mark}`,
    `  iifname != "${outside}" fib daddr type != local ip daddr != { ${connected} } ${mark}`,
    '}',
  ];
}

function forwardChain(rules: readonly FirewallRule[], userNatOutside: string | undefined): string[] {
  const lines = [
    'chain pass {',
    '  type filter hook forward priority filter;',
    '  ct state established,related accept',
  ];
  if (userNatOutside !== undefined) {
    lines.push(`  iifname "${NAT_TUN}" oifname "${userNatOutside}" accept`);
    lines.push(`  iifname "${userNatOutside}" oifname "${NAT_TUN}" accept`);
  }
  for (const rule of rules) {
    for (const match of matchesOf(rule, userNatOutside))
      lines.push(...verdictsOf(rule).map((each) => `  ${match}${each}`));
  }
  return [...lines, '}'];
}

/** One match for each address family that the rule names, or one for both. */
function matchesOf(rule: FirewallRule, userNatOutside: string | undefined): string[] {
  const side = (key: string, name: string | undefined) => {
    if (name === undefined) return '';
    // IPv6 goes by the interface itself, IPv4 by the TUN.
    return name === userNatOutside ? `${key} { "${name}", "${NAT_TUN}" } ` : `${key} "${name}" `;
  };
  const ends = side('iifname', rule.from) + side('oifname', rule.to);
  const what = protocolMatch(rule);
  if (!rule.addresses) return [`${ends}${what}`];
  const families = { ip: rule.addresses.filter((each) => !isIPv6(each)), ip6: rule.addresses.filter(isIPv6) };
  return Object.entries(families)
    .filter(([, addresses]) => addresses.length > 0)
    .map(([family, addresses]) => `${ends}${family} daddr { ${addresses.join(', ')} } ${what}`);
}

function protocolMatch({ protocol, ports }: FirewallRule): string {
  if (protocol === 'icmp') return 'meta l4proto { icmp, ipv6-icmp } ';
  if (protocol === undefined) return '';
  return ports ? `${protocol} dport { ${ports.join(', ')} } ` : `meta l4proto ${protocol} `;
}

/** A rejected TCP connection is reset, all else is answered with ICMP "administratively prohibited". */
function verdictsOf({ action, protocol }: FirewallRule): string[] {
  if (action !== 'reject') return [action];
  const reset = 'meta l4proto tcp reject with tcp reset';
  const prohibited = 'reject with icmpx admin-prohibited';
  if (protocol === 'tcp') return [reset];
  return protocol === undefined ? [reset, prohibited] : [prohibited];
}
