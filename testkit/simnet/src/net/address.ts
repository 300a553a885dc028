/**
 * IP addresses and prefixes as text and bytes. Inside the simulator an address
 * is text in one canonical form (IPv6: RFC 5952), so that equal addresses are
 * equal strings. `node:net` judges what an address is.
 */

import { isIPv4, isIPv6 } from 'node:net';

export type Family = 'ipv4' | 'ipv6';

export function familyOf(address: string): Family {
  return address.includes(':') ? 'ipv6' : 'ipv4';
}

export function parseIpv4(address: string): Buffer {
  if (!isIPv4(address)) throw new TypeError(`"${address}" is not an IPv4 address`);
  return Buffer.from(address.split('.').map(Number));
}

function parseIpv6(address: string): Buffer {
  if (!isIPv6(address) || address.includes('%') || address.includes('.')) {
    throw new TypeError(`"${address}" is not an IPv6 address in plain hexadecimal`);
  }
  const [head = '', tail] = address.split('::');
  const groupsOf = (text: string) => (text === '' ? [] : text.split(':'));
  const first = groupsOf(head);
  const last = groupsOf(tail ?? '');
  const groups = [...first, ...new Array<string>(8 - first.length - last.length).fill('0'), ...last];
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

export function parseAddress(address: string): Buffer {
  return familyOf(address) === 'ipv4' ? parseIpv4(address) : parseIpv6(address);
}

/** The canonical text of 4 or 16 bytes. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0));
  const { start, length } = longestZeroRun(groups);
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  return length < 2 ? text(groups) : `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

/** The canonical text of an address in any. Throws TypeError for what is none. */
export function canonicalAddress(address: string): string {
  return formatAddress(parseAddress(address));
}

export interface Prefix {
  readonly family: Family;
  contains(address: string): boolean;
}

export function parsePrefix(cidr: string): Prefix {
  const [address = '', lengthText = ''] = cidr.split('/');
  const network = parseAddress(address);
  const length = Number(lengthText);
  if (!/^\d{1,3}$/.test(lengthText) || length > network.length * 8) {
    throw new TypeError(`"${cidr}" is not a prefix`);
  }
  const family = familyOf(address);
  return {
    family,
    contains: (other) => familyOf(other) === family && sharesBits(network, parseAddress(other), length),
  };
}

function sharesBits(a: Buffer, b: Buffer, bits: number): boolean {
  const whole = bits >> 3;
  if (a.compare(b, 0, whole, 0, whole) !== 0) return false;
  const rest = bits & 7;
  return rest === 0 || ((a[whole] ?? 0) ^ (b[whole] ?? 0)) >> (8 - rest) === 0;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (start + length < groups.length && groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  return best;
}
