/**
 * IP packets as values. A packet never changes: who rewrites one (a NAT, a hop
 * limit) makes another, so a trace may hold on to what passed. Bytes are
 * made of it only for a capture (`trace/encode-packet.ts`).
 */

import type { Endpoint, Flow } from '../nat/flow.ts';
import { type Family, familyOf } from './address.ts';

export interface Packet {
  readonly family: Family;
  readonly source: string;
  readonly destination: string;
  readonly hopLimit: number;
  readonly body: UdpBody | TcpBody | IcmpBody;
  /** Length with IP header. */
  readonly bytes: number;
  /** It may be fragmented, and its fragments have at most so many bytes. Default: it may not. */
  readonly pieceBytes?: number;
  /** Bits after the IP header that a link turned over. The receiver's checksum finds any. */
  readonly corruptBits: readonly number[];
}

/** A packet on its way over one network. */
export interface Frame {
  readonly packet: Packet;
  /** The address of the next hop. */
  readonly nextHop: string;
}

export interface UdpBody {
  readonly protocol: 'udp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Buffer;
}

export interface TcpBody {
  readonly protocol: 'tcp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  /** As on the wire, before scaling. */
  readonly window: number;
  /** On SYN only. */
  readonly options: { readonly maxSegmentBytes: number; readonly windowShift: number } | undefined;
  readonly data: Buffer;
}

export type IcmpProblem = 'port-unreachable' | 'host-unreachable' | 'too-big' | 'time-exceeded';

export interface IcmpBody {
  readonly protocol: 'icmp';
  readonly problem: IcmpProblem;
  /** The packet it is about. */
  readonly quoted: Packet;
  readonly nextHopMtuBytes: number;
}

export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

const NO_BITS: readonly number[] = [];
const HOP_LIMIT = 64;
const UDP_HEADER_BYTES = 8;
const TCP_HEADER_BYTES = 20;
/** MSS (4), NOP and window scale (4). */
const TCP_SYN_OPTION_BYTES = 8;
const ICMP_HEADER_BYTES = 8;
/** How large an ICMP error may be: RFC 1812, section 4.3.2.3; RFC 4443, section 2.4. */
const MAX_ICMP_BYTES = { ipv4: 576, ipv6: 1280 };

export function ipHeaderBytes(family: Family): number {
  return family === 'ipv4' ? 20 : 40;
}

/** Bytes of an IP packet around `dataBytes` of UDP. */
export function udpPacketBytes(family: Family, dataBytes: number): number {
  return ipHeaderBytes(family) + UDP_HEADER_BYTES + dataBytes;
}

/** The largest TCP segment in packets of `mtuBytes`. */
export function segmentBytesFor(family: Family, mtuBytes: number): number {
  return mtuBytes - ipHeaderBytes(family) - TCP_HEADER_BYTES;
}

export function makePacket(source: string, destination: string, body: Packet['body']): Packet {
  const family = familyOf(destination);
  const bytes = ipHeaderBytes(family) + bodyBytes(family, body);
  return { family, source, destination, hopLimit: HOP_LIMIT, body, bytes, corruptBits: NO_BITS };
}

/** An error about `quoted`, from `source` to its sender. */
export function makeIcmpError(source: string, problem: IcmpProblem, quoted: Packet, nextHopMtuBytes = 0): Packet {
  return makePacket(source, quoted.source, { protocol: 'icmp', problem, quoted, nextHopMtuBytes });
}

/** The reset that answers a segment nobody wants (RFC 9293, section 3.10.7.1); a reset is answered by nothing. */
export function makeReset(packet: Packet): Packet | undefined {
  const { body } = packet;
  if (body.protocol !== 'tcp' || body.flags & TCP_FLAG.rst) return undefined;
  const hasAck = (body.flags & TCP_FLAG.ack) !== 0;
  const length = body.data.length + (body.flags & (TCP_FLAG.syn | TCP_FLAG.fin) ? 1 : 0);
  return makePacket(packet.destination, packet.source, {
    protocol: 'tcp',
    sourcePort: body.destinationPort,
    destinationPort: body.sourcePort,
    sequence: hasAck ? body.acknowledgement : 0,
    acknowledgement: hasAck ? 0 : (body.sequence + length) >>> 0,
    flags: hasAck ? TCP_FLAG.rst : TCP_FLAG.rst | TCP_FLAG.ack,
    window: 0,
    options: undefined,
    data: Buffer.alloc(0),
  });
}

/** Of an ICMP error about a packet, how much of the packet it quotes. */
export function quotedBytes(family: Family, quoted: Packet): number {
  return Math.min(quoted.bytes, MAX_ICMP_BYTES[family] - ipHeaderBytes(family) - ICMP_HEADER_BYTES);
}

/** Undefined for ICMP errors, which belong to the flow that they quote. */
export function flowOf(packet: Packet): Flow | undefined {
  const { body } = packet;
  if (body.protocol === 'icmp') return undefined;
  const source = { address: packet.source, port: body.sourcePort };
  const destination = { address: packet.destination, port: body.destinationPort };
  if (body.protocol === 'udp') return { protocol: 'udp', source, destination };
  return { protocol: 'tcp', source, destination, tcpFlags: body.flags };
}

/** The packet with the ends of `flow`. */
export function withEnds(packet: Packet, flow: { readonly source: Endpoint; readonly destination: Endpoint }): Packet {
  const { source, destination } = flow;
  const { body } = packet;
  const ports = { sourcePort: source.port, destinationPort: destination.port };
  const rewritten = body.protocol === 'icmp' ? body : { ...body, ...ports };
  return { ...packet, source: source.address, destination: destination.address, body: rewritten };
}

function bodyBytes(family: Family, body: Packet['body']): number {
  switch (body.protocol) {
    case 'udp':
      return UDP_HEADER_BYTES + body.data.length;
    case 'tcp':
      return TCP_HEADER_BYTES + (body.options ? TCP_SYN_OPTION_BYTES : 0) + body.data.length;
    case 'icmp':
      return ICMP_HEADER_BYTES + quotedBytes(family, body.quoted);
  }
}
