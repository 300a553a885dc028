/**
 * Packets that the kernel has joined (UDP_GRO), cut apart again. STUN messages and
 * DTLS records say how long they are; records stay together, for DTLS reads any
 * number of them in one datagram.
 */

import { classifyDatagram } from './demultiplex.ts';

const STUN_HEADER_BYTES = 20;
const PLAIN_HEADER_BYTES = 13;

export function cutJoined(bytes: Buffer): Buffer[] {
  const packets: Buffer[] = [];
  let start = 0;
  while (start < bytes.length) {
    const end = endOf(bytes, start);
    packets.push(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
    start = end;
  }
  return packets;
}

function endOf(bytes: Buffer, start: number): number {
  const kind = classifyDatagram(bytes.subarray(start, start + 1));
  if (kind === 'stun') {
    if (start + STUN_HEADER_BYTES > bytes.length) return bytes.length;
    return Math.min(bytes.length, start + STUN_HEADER_BYTES + bytes.readUInt16BE(start + 2));
  }
  if (kind !== 'application') return bytes.length;
  let end = start;
  while (end < bytes.length && isRecord(bytes[end] as number)) {
    const next = endOfRecord(bytes, end);
    if (next === undefined) return bytes.length;
    end = next;
  }
  return end === start ? bytes.length : end;
}

const isRecord = (first: number) => first >= 20 && first < 64;

/** RFC 9147 §4: the unified header of 1.3, or the one of 1.2. Undefined for a record that goes to the datagram's end. */
function endOfRecord(bytes: Buffer, start: number): number | undefined {
  const first = bytes[start] as number;
  if (first >>> 5 !== 1) {
    const end = start + PLAIN_HEADER_BYTES;
    return end > bytes.length ? undefined : end + bytes.readUInt16BE(end - 2);
  }
  const hasConnectionId = (first & 0x10) !== 0;
  const hasLength = (first & 0x04) !== 0;
  if (hasConnectionId || !hasLength) return undefined;
  const lengthAt = start + (first & 0x08 ? 3 : 2);
  return lengthAt + 2 > bytes.length ? undefined : lengthAt + 2 + bytes.readUInt16BE(lengthAt);
}
