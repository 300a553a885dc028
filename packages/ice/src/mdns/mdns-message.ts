/**
 * Multicast DNS messages (RFC 6762 §18, RFC 1035 §4.1), as far as one name and its addresses need them: a question
 * out, A and AAAA records in. Reading is linear in the packet: labels and pointers of a name are 255 bytes at most.
 */

import { addressFromBytes } from '../address.ts';

export const RECORD = { a: 1, aaaa: 28 } as const;
type AddressRecord = (typeof RECORD)[keyof typeof RECORD];

export interface MdnsAnswer {
  /** Lower case, without the dot at the end. */
  readonly name: string;
  readonly address: string;
}

const HEADER_BYTES = 12;
const CLASS_IN = 1;
/** Of a class: the sender's records are all there are (RFC 6762 §10.2). */
const CACHE_FLUSH = 0x8000;
/** A response (QR) of opcode and code 0: all else is ignored (RFC 6762 §18.3, §18.11). */
const RESPONSE = 0x8000;
const RESPONSE_MASK = 0xf80f;
const MAX_NAME_BYTES = 255;
const MAX_RECORDS = 128;

/** One question, for browsers read no more than one in a packet. `name` is ASCII. */
export function encodeMdnsQuestion(name: string, type: AddressRecord): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(`\0${label}`, 'latin1'));
  for (const label of labels) label[0] = label.length - 1;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(1, 4);
  return Buffer.concat([header, ...labels, Buffer.of(0, 0, type, 0, CLASS_IN)]);
}

/** Addresses in a response, wherever they stand in it; none in anything else. */
export function readMdnsAnswers(packet: Buffer): MdnsAnswer[] {
  const answers: MdnsAnswer[] = [];
  if (packet.length < HEADER_BYTES || (packet.readUInt16BE(2) & RESPONSE_MASK) !== RESPONSE) return answers;
  const questions = packet.readUInt16BE(4);
  const records = packet.readUInt16BE(6) + packet.readUInt16BE(8) + packet.readUInt16BE(10);
  let at: number | undefined = HEADER_BYTES;
  for (let left = Math.min(questions, MAX_RECORDS); left > 0 && at !== undefined; left -= 1) {
    const end: number | undefined = readName(packet, at)?.end;
    at = end === undefined ? undefined : end + 4;
  }
  for (let left = Math.min(records, MAX_RECORDS); left > 0 && at !== undefined; left -= 1) {
    const record = readRecord(packet, at);
    at = record?.end;
    if (record?.answer) answers.push(record.answer);
  }
  return answers;
}

/** Where the record ends, and what it says; undefined when it is cut off. */
function readRecord(packet: Buffer, start: number): { end: number; answer: MdnsAnswer | undefined } | undefined {
  const name = readName(packet, start);
  if (!name || name.end + 10 > packet.length) return undefined;
  const at = name.end;
  const type = packet.readUInt16BE(at);
  const isInternet = (packet.readUInt16BE(at + 2) & ~CACHE_FLUSH) === CLASS_IN;
  const isGoodbye = packet.readUInt32BE(at + 4) === 0;
  const end = at + 10 + packet.readUInt16BE(at + 8);
  if (end > packet.length) return undefined;
  const data = packet.subarray(at + 10, end);
  const isAddress = (type === RECORD.a && data.length === 4) || (type === RECORD.aaaa && data.length === 16);
  if (!isAddress || !isInternet || isGoodbye) return { end, answer: undefined };
  return { end, answer: { name: name.text.toLowerCase(), address: addressFromBytes(data) } };
}

/** A name, and where the packet goes on behind it; undefined when it is malformed. */
function readName(packet: Buffer, start: number): { text: string; end: number } | undefined {
  const labels: string[] = [];
  let [at, bytes] = [start, 0];
  let end: number | undefined;
  for (;;) {
    const length = packet[at];
    if (length === undefined) return undefined;
    if (length === 0) return { text: labels.join('.'), end: end ?? at + 1 };
    if (length >= 0xc0) {
      // Counted too, so that a circle of them ends.
      bytes += 2;
      if (bytes > MAX_NAME_BYTES || at + 2 > packet.length) return undefined;
      end ??= at + 2;
      at = packet.readUInt16BE(at) & 0x3fff;
      continue;
    }
    bytes += length + 1;
    if (length > 63 || bytes > MAX_NAME_BYTES || at + 1 + length > packet.length) return undefined;
    labels.push(packet.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
}
