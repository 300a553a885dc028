/**
 * Captures in the pcapng format (draft-ietf-opsawg-pcapng): one section, one
 * interface a simulated interface, nanosecond stamps, raw IP packets with their
 * direction. Little endian.
 */

import type { Packet } from '../net/packet.ts';
import { encodePacket } from './encode-packet.ts';

export interface CapturedPacket {
  readonly atMs: number;
  /** Index into the interfaces. */
  readonly interface: number;
  readonly direction: 'in' | 'out';
  readonly packet: Packet;
}

const BLOCK = { section: 0x0a0d0d0a, interface: 1, packet: 6 } as const;
const OPTION = { end: 0, interfaceName: 2, packetFlags: 2, timeResolution: 9 } as const;
const BYTE_ORDER = 0x1a2b3c4d;
const LINK_TYPE_RAW = 101;
const NANOSECONDS = 9;
const DIRECTION = { in: 1, out: 2 } as const;

/** `startMs`: the wall-clock time of virtual time 0, milliseconds since 1970. */
export function encodePcapng(
  interfaces: readonly string[],
  packets: readonly CapturedPacket[],
  startMs: number,
): Buffer {
  const section = Buffer.alloc(16);
  section.writeUInt32LE(BYTE_ORDER, 0);
  section.writeUInt16LE(1, 4);
  section.fill(0xff, 8);
  const startNs = BigInt(startMs) * 1_000_000n;
  return Buffer.concat([
    block(BLOCK.section, section),
    ...interfaces.map((name) => block(BLOCK.interface, interfaceBody(name))),
    ...packets.map((captured) => block(BLOCK.packet, packetBody(captured, startNs))),
  ]);
}

function interfaceBody(name: string): Buffer {
  const fixed = Buffer.alloc(8);
  fixed.writeUInt16LE(LINK_TYPE_RAW, 0);
  const options = [
    option(OPTION.interfaceName, Buffer.from(name)),
    option(OPTION.timeResolution, Buffer.of(NANOSECONDS)),
  ];
  return Buffer.concat([fixed, ...options, option(OPTION.end, Buffer.alloc(0))]);
}

function packetBody(captured: CapturedPacket, startNs: bigint): Buffer {
  const bytes = encodePacket(captured.packet);
  const stamp = startNs + BigInt(Math.round(captured.atMs * 1e6));
  const fixed = Buffer.alloc(20);
  fixed.writeUInt32LE(captured.interface, 0);
  fixed.writeUInt32LE(Number(stamp >> 32n), 4);
  fixed.writeUInt32LE(Number(stamp & 0xffffffffn), 8);
  fixed.writeUInt32LE(bytes.length, 12);
  fixed.writeUInt32LE(bytes.length, 16);
  const flags = Buffer.alloc(4);
  flags.writeUInt32LE(DIRECTION[captured.direction], 0);
  const options = [option(OPTION.packetFlags, flags), option(OPTION.end, Buffer.alloc(0))];
  return Buffer.concat([fixed, padded(bytes), ...options]);
}

function block(type: number, body: Buffer): Buffer {
  const length = 12 + body.length;
  const out = Buffer.alloc(length);
  out.writeUInt32LE(type, 0);
  out.writeUInt32LE(length, 4);
  body.copy(out, 8);
  out.writeUInt32LE(length, length - 4);
  return out;
}

function option(code: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(code, 0);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, padded(value)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
