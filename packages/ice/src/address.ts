/**
 * IP addresses as text and as bytes. Text is always in the canonical form of
 * RFC 5952, which is the one Node.js reports, so that addresses compare as
 * strings; IPv4-mapped IPv6 addresses become IPv4.
 */

import { isIPv4, isIPv6 } from 'node:net';

export interface TransportAddress {
  /** Canonical, without zone. */
  readonly address: string;
  readonly port: number;
}

export type AddressFamily = 4 | 6;

/** Longer texts are no addresses: `isIPv6` would take a zone of any length. */
const MAX_TEXT_LENGTH = 45;

export function familyOf(address: string): AddressFamily {
  return address.includes(':') ? 6 : 4;
}

export function sameAddress(a: TransportAddress, b: TransportAddress): boolean {
  return a.port === b.port && a.address === b.address;
}

/** `192.0.2.1:3478` or `[2001:db8::1]:3478`. */
export function formatAddress({ address, port }: TransportAddress): string {
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The canonical text, or `undefined` when `text` is no IP address. Zones (`%eth0`) are refused. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = addressToBytes(text);
  return bytes && addressFromBytes(bytes);
}

/** 4 or 16 bytes in network order, or `undefined` when `text` is no IP address. */
export function addressToBytes(text: string): Buffer | undefined {
  if (text.length > MAX_TEXT_LENGTH) return undefined;
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const [head = '', tail] = withHexEnd(text).split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const bytes = Buffer.alloc(16);
  for (const [index, group] of front.entries()) bytes.writeUInt16BE(group, index * 2);
  for (const [index, group] of back.entries()) bytes.writeUInt16BE(group, 16 - (back.length - index) * 2);
  return bytes;
}

/** Canonical text of 4 or 16 bytes. */
export function addressFromBytes(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return bytes.subarray(12).join('.');
  const { start, length } = longestZeroRun(groups);
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

/** What nobody can be reached at: unspecified, multicast, broadcast, port 0. */
export function isUsableRemote({ address, port }: TransportAddress): boolean {
  if (port < 1 || port > 65_535) return false;
  const bytes = addressToBytes(address);
  if (!bytes) return false;
  const first = bytes[0] ?? 0;
  if (bytes.length === 4) return first !== 0 && first < 224;
  return first !== 0xff && bytes.some((byte) => byte !== 0);
}

export function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

export function isLinkLocal(address: string): boolean {
  return address.startsWith('169.254.') || /^fe[89ab]/.test(address);
}

/** Whether both lie in one /24 or one /64: a guess at "the same network" for the order of checks. */
export function isNear(a: string, b: string): boolean {
  const left = addressToBytes(a);
  const right = addressToBytes(b);
  if (!left || !right || left.length !== right.length) return false;
  const bytes = left.length === 4 ? 3 : 8;
  return left.subarray(0, bytes).equals(right.subarray(0, bytes));
}

/** A trailing dotted IPv4 address written as two groups. */
function withHexEnd(text: string): string {
  const at = text.lastIndexOf(':') + 1;
  const end = text.slice(at);
  if (!end.includes('.')) return text;
  const [a = 0, b = 0, c = 0, d = 0] = end.split('.').map(Number);
  return `${text.slice(0, at)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  return best;
}
