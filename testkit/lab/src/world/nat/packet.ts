/**
 * An IPv4 packet as a NAT needs it: who talks to whom, and new ends put in with the
 * checksums kept right by difference (RFC 1624), so that a packet that was corrupt
 * before stays so. Reads nothing beyond the packet's own bytes.
 */

import type { Endpoint, Flow, NatProtocol } from '@claw/simnet';

const PROTOCOL_NAMES: Readonly<Record<number, NatProtocol | undefined>> = { 1: 'icmp', 6: 'tcp', 17: 'udp' };
const ECHO_REPLY = 0;
const ECHO_REQUEST = 8;
/** Destination unreachable, time exceeded, parameter problem. */
const ICMP_ERRORS = [3, 11, 12];
const ICMP_HEADER_BYTES = 8;

/** Where the parts of a packet are, in the buffer that holds it. */
export interface ParsedPacket {
  readonly flow: Flow;
  readonly ipAt: number;
  readonly payloadAt: number;
  /** Of an ICMP error, the packet it quotes. */
  readonly quoted?: ParsedPacket;
}

/** Undefined for what a NAT has no use for: other protocols, later fragments, anything cut short. */
export function parsePacket(bytes: Buffer, at = 0): ParsedPacket | undefined {
  const isQuoted = at > 0;
  if (bytes.length < at + 20 || byteAt(bytes, at) >> 4 !== 4) return undefined;
  const payloadAt = at + (byteAt(bytes, at) & 15) * 4;
  const protocol = PROTOCOL_NAMES[byteAt(bytes, at + 9)];
  if (!protocol || payloadAt < at + 20 || bytes.length < payloadAt + 8) return undefined;
  if ((bytes.readUInt16BE(at + 6) & 0x1fff) !== 0) return undefined;
  const ends = (source: number, destination: number) => ({
    source: { address: addressAt(bytes, at + 12), port: source },
    destination: { address: addressAt(bytes, at + 16), port: destination },
  });
  const place = { ipAt: at, payloadAt };
  if (protocol !== 'icmp') {
    const flow = { protocol, ...ends(bytes.readUInt16BE(payloadAt), bytes.readUInt16BE(payloadAt + 2)) };
    if (protocol === 'udp' || isQuoted) return { ...place, flow };
    return bytes.length < payloadAt + 20
      ? undefined
      : { ...place, flow: { ...flow, tcpFlags: byteAt(bytes, payloadAt + 13) } };
  }
  const type = byteAt(bytes, payloadAt);
  if (type === ECHO_REQUEST || type === ECHO_REPLY) {
    const identifier = bytes.readUInt16BE(payloadAt + 4);
    return { ...place, flow: { protocol, ...ends(identifier, identifier) } };
  }
  if (isQuoted || !ICMP_ERRORS.includes(type)) return undefined;
  const quoted = parsePacket(bytes, payloadAt + ICMP_HEADER_BYTES);
  return quoted && { ...place, flow: { protocol, ...ends(0, 0) }, quoted };
}

/** Puts the ends of `flow` into a packet. Of an ICMP echo the inside's identifier is the only port. */
export function rewritePacket(bytes: Buffer, packet: ParsedPacket, flow: Flow): void {
  const { ipAt, payloadAt } = packet;
  const before = packet.flow;
  const checksumAt = transportChecksumAt(bytes, packet);
  if (flow.protocol === 'icmp') {
    const wasSource = flow.source.port !== before.source.port;
    const identifier = wasSource ? flow.source.port : flow.destination.port;
    replaceWord(bytes, payloadAt + 4, identifier, [checksumAt]);
    replaceEnd(bytes, ipAt + 12, undefined, flow.source, [ipAt + 10]);
    replaceEnd(bytes, ipAt + 16, undefined, flow.destination, [ipAt + 10]);
    return;
  }
  const checksums = checksumAt === undefined ? [ipAt + 10] : [ipAt + 10, checksumAt];
  replaceEnd(bytes, ipAt + 12, payloadAt, flow.source, checksums);
  replaceEnd(bytes, ipAt + 16, payloadAt + 2, flow.destination, checksums);
}

/** Puts new ends into an ICMP error and into the packet it quotes. */
export function rewriteError(bytes: Buffer, packet: ParsedPacket, quotedFlow: Flow, ends: Partial<AddressPair>): void {
  const { ipAt, payloadAt, quoted } = packet;
  if (!quoted) return;
  rewritePacket(bytes, quoted, quotedFlow);
  if (ends.source !== undefined) replaceAddress(bytes, ipAt + 12, ends.source, [ipAt + 10]);
  if (ends.destination !== undefined) replaceAddress(bytes, ipAt + 16, ends.destination, [ipAt + 10]);
  // The quoted bytes changed in many places, their own checksums among them.
  bytes.writeUInt16BE(0, payloadAt + 2);
  bytes.writeUInt16BE(checksumOf(bytes, payloadAt, bytes.readUInt16BE(ipAt + 2) + ipAt), payloadAt + 2);
}

interface AddressPair {
  readonly source: string;
  readonly destination: string;
}

/** The way through the TUN is one hop that the packet does not have in a kernel NAT. */
export function undoHop(bytes: Buffer): void {
  const ttl = byteAt(bytes, 8);
  if (ttl < 255) replaceWord(bytes, 8, ((ttl + 1) << 8) | byteAt(bytes, 9), [10]);
}

/** Puts addresses alone into the IP header: a later fragment has no ports. */
export function rewriteAddresses(bytes: Buffer, source: string, destination: string): void {
  replaceAddress(bytes, 12, source, [10]);
  replaceAddress(bytes, 16, destination, [10]);
}

/** A UDP packet from nothing. */
export function formatUdp(source: Endpoint, destination: Endpoint, payload: Buffer): Buffer {
  const bytes = Buffer.alloc(28 + payload.length);
  bytes.writeUInt16BE(0x4500, 0);
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.writeUInt16BE((64 << 8) | 17, 8);
  writeAddress(bytes, 12, source.address);
  writeAddress(bytes, 16, destination.address);
  bytes.writeUInt16BE(checksumOf(bytes, 0, 20), 10);
  bytes.writeUInt16BE(source.port, 20);
  bytes.writeUInt16BE(destination.port, 22);
  bytes.writeUInt16BE(8 + payload.length, 24);
  // Checksum 0: none, which UDP over IPv4 allows.
  payload.copy(bytes, 28);
  return bytes;
}

/** Undefined where there is none to keep: cut off in a quoted packet, or a UDP sender's choice. */
function transportChecksumAt(bytes: Buffer, { flow, payloadAt }: ParsedPacket): number | undefined {
  const at = payloadAt + { icmp: 2, udp: 6, tcp: 16 }[flow.protocol];
  if (at + 2 > bytes.length) return undefined;
  return flow.protocol === 'udp' && bytes.readUInt16BE(at) === 0 ? undefined : at;
}

function replaceEnd(bytes: Buffer, addressAt_: number, portAt: number | undefined, end: Endpoint, checksums: number[]) {
  replaceAddress(bytes, addressAt_, end.address, checksums);
  // The IP header's checksum, always the first, does not cover ports.
  if (portAt !== undefined) replaceWord(bytes, portAt, end.port, checksums.slice(1));
}

function replaceAddress(bytes: Buffer, at: number, address: string, checksums: readonly number[]): void {
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.', 4).map(Number);
  replaceWord(bytes, at, (a << 8) | b, checksums);
  replaceWord(bytes, at + 2, (c << 8) | d, checksums);
}

function replaceWord(bytes: Buffer, at: number, word: number, checksums: readonly (number | undefined)[]): void {
  const before = bytes.readUInt16BE(at);
  if (before === word) return;
  bytes.writeUInt16BE(word, at);
  for (const checksumAt of checksums) {
    if (checksumAt === undefined) continue;
    const sum = (~bytes.readUInt16BE(checksumAt) & 0xffff) + (~before & 0xffff) + word;
    bytes.writeUInt16BE(~fold(sum) & 0xffff, checksumAt);
  }
}

function checksumOf(bytes: Buffer, start: number, end: number): number {
  let sum = 0;
  const last = Math.min(end, bytes.length);
  for (let at = start; at + 1 < last; at += 2) sum += bytes.readUInt16BE(at);
  if ((last - start) % 2 === 1) sum += byteAt(bytes, last - 1) << 8;
  return ~fold(sum) & 0xffff;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

function writeAddress(bytes: Buffer, at: number, address: string): void {
  for (const [index, part] of address.split('.').entries()) bytes[at + index] = Number(part);
}

function addressAt(bytes: Buffer, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

function byteAt(bytes: Buffer, at: number): number {
  return bytes[at] ?? 0;
}
