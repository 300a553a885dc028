/** The bytes of a packet, checksums included: RFC 791, 8200, 768, 9293, 792, 4443. Bits that a link turned over are turned over last. */

import { type Family, parseAddress } from '../net/address.ts';
import { type IcmpBody, ipHeaderBytes, type Packet, quotedBytes, type TcpBody, type UdpBody } from '../net/packet.ts';

const PROTOCOL = { udp: 17, tcp: 6, icmp: { ipv4: 1, ipv6: 58 } } as const;
const DONT_FRAGMENT = 0x4000;
/** Type and code. */
const ICMP_CODE = {
  ipv4: { 'port-unreachable': [3, 3], 'host-unreachable': [3, 1], 'too-big': [3, 4], 'time-exceeded': [11, 0] },
  ipv6: { 'port-unreachable': [1, 4], 'host-unreachable': [1, 0], 'too-big': [2, 0], 'time-exceeded': [3, 0] },
} as const;

export function encodePacket(packet: Packet): Buffer {
  const { family, body } = packet;
  const header = ipHeaderBytes(family);
  const bytes = Buffer.alloc(packet.bytes);
  const protocol = body.protocol === 'icmp' ? PROTOCOL.icmp[family] : PROTOCOL[body.protocol];
  if (family === 'ipv4') writeIpv4Header(bytes, packet, protocol);
  else writeIpv6Header(bytes, packet, protocol);

  const payload = bytes.subarray(header);
  const checksumAt = writeBody(payload, family, body);
  const hasPseudoHeader = body.protocol !== 'icmp' || family === 'ipv6';
  const pseudo = hasPseudoHeader ? pseudoHeaderSum(bytes, family, payload.length, protocol) : 0;
  const checksum = fold(pseudo + sum(payload)) ^ 0xffff;
  // Zero would say that UDP has no checksum.
  payload.writeUInt16BE(body.protocol === 'udp' && checksum === 0 ? 0xffff : checksum, checksumAt);
  for (const bit of packet.corruptBits) payload[bit >> 3] = (payload[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return bytes;
}

function writeIpv4Header(bytes: Buffer, packet: Packet, protocol: number): void {
  bytes.writeUInt8(0x45, 0);
  bytes.writeUInt16BE(packet.bytes, 2);
  bytes.writeUInt16BE(DONT_FRAGMENT, 6);
  bytes.writeUInt8(packet.hopLimit, 8);
  bytes.writeUInt8(protocol, 9);
  parseAddress(packet.source).copy(bytes, 12);
  parseAddress(packet.destination).copy(bytes, 16);
  bytes.writeUInt16BE(fold(sum(bytes.subarray(0, 20))) ^ 0xffff, 10);
}

function writeIpv6Header(bytes: Buffer, packet: Packet, protocol: number): void {
  bytes.writeUInt8(0x60, 0);
  bytes.writeUInt16BE(packet.bytes - 40, 4);
  bytes.writeUInt8(protocol, 6);
  bytes.writeUInt8(packet.hopLimit, 7);
  parseAddress(packet.source).copy(bytes, 8);
  parseAddress(packet.destination).copy(bytes, 24);
}

/** Returns where the checksum belongs. */
function writeBody(payload: Buffer, family: Family, body: Packet['body']): number {
  switch (body.protocol) {
    case 'udp':
      return writeUdp(payload, body);
    case 'tcp':
      return writeTcp(payload, body);
    case 'icmp':
      return writeIcmp(payload, family, body);
  }
}

function writeUdp(payload: Buffer, body: UdpBody): number {
  payload.writeUInt16BE(body.sourcePort, 0);
  payload.writeUInt16BE(body.destinationPort, 2);
  payload.writeUInt16BE(payload.length, 4);
  body.data.copy(payload, 8);
  return 6;
}

function writeTcp(payload: Buffer, body: TcpBody): number {
  const dataAt = payload.length - body.data.length;
  payload.writeUInt16BE(body.sourcePort, 0);
  payload.writeUInt16BE(body.destinationPort, 2);
  payload.writeUInt32BE(body.sequence, 4);
  payload.writeUInt32BE(body.acknowledgement, 8);
  payload.writeUInt8((dataAt / 4) << 4, 12);
  payload.writeUInt8(body.flags, 13);
  payload.writeUInt16BE(body.window, 14);
  if (body.options) {
    payload.set([2, 4, body.options.maxSegmentBytes >> 8, body.options.maxSegmentBytes & 255], 20);
    payload.set([1, 3, 3, body.options.windowShift], 24);
  }
  body.data.copy(payload, dataAt);
  return 16;
}

function writeIcmp(payload: Buffer, family: Family, body: IcmpBody): number {
  payload.set(ICMP_CODE[family][body.problem], 0);
  if (family === 'ipv4') payload.writeUInt16BE(body.nextHopMtuBytes, 6);
  else payload.writeUInt32BE(body.nextHopMtuBytes, 4);
  encodePacket(body.quoted).copy(payload, 8, 0, quotedBytes(family, body.quoted));
  return 2;
}

function pseudoHeaderSum(packet: Buffer, family: Family, length: number, protocol: number): number {
  const addresses = family === 'ipv4' ? packet.subarray(12, 20) : packet.subarray(8, 40);
  return sum(addresses) + length + protocol;
}

/** Sum of 16-bit words, not yet folded: below 2^53 for any packet. */
function sum(bytes: Buffer): number {
  let total = 0;
  const even = bytes.length & ~1;
  for (let at = 0; at < even; at += 2) total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return even < bytes.length ? total + ((bytes[even] ?? 0) << 8) : total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}
