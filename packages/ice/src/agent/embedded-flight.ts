/**
 * DTLS flights inside connectivity checks (draft-hancke-webrtc-sped): the first
 * round trip of a path carries the first flights of the handshake too, and a flight
 * that is lost comes again with the next check. Both sides must have said `sped` in
 * their ICE options.
 *
 * Two attributes do it. One has a packet, or nothing; the other has the CRC-32 of
 * packets that arrived, at most four. A side whose handshake is over and whose peer
 * sends nothing leaves out first the one and then the other, so both end.
 */

import { crc32 } from 'node:zlib';
import { ATTRIBUTE } from '../stun/constants.ts';
import type { StunWriter } from '../stun/encode.ts';
import type { StunMessage } from '../stun/message.ts';

interface Packet {
  readonly bytes: Buffer;
  readonly hash: number;
  /** Where and when it was last sent. */
  path: string;
  sentMs: number;
}

const MAX_ACKS = 4;
const MAX_RECEIVED = 32;
/** What fits into a check on any path: 1,200 bytes less the attributes of a check and a TURN header. */
export const MAX_EMBEDDED_BYTES = 1040;
/** A packet is not repeated on one path before this. */
const REPEAT_MS = 150;

export class EmbeddedFlight {
  #pending: Packet[] = [];
  #next = 0;
  readonly #received: number[] = [];
  #isComplete = false;
  #sendsData = true;
  #sendsAcks = true;

  /** The peer understands, as its description says or its messages show. */
  isWanted = false;

  /** What it may still lack. */
  get pending(): readonly Buffer[] {
    return this.#pending.map(({ bytes }) => bytes);
  }

  /** Puts a flight in place of the one before; packets that are too long for it go by themselves only. */
  begin(packets: readonly Buffer[]): void {
    this.#pending = packets
      .filter(({ length }) => length <= MAX_EMBEDDED_BYTES)
      .map((bytes) => ({ bytes, hash: crc32(bytes), path: '', sentMs: Number.NEGATIVE_INFINITY }));
    this.#next = 0;
  }

  /** The packets have just been sent by themselves on this path. */
  sent(path: string, nowMs: number): void {
    for (const packet of this.#pending) Object.assign(packet, { path, sentMs: nowMs });
  }

  /** The handshake is over on this side. `isFlightDue`: the peer may still lack our last flight. */
  complete(isFlightDue: boolean): void {
    this.#isComplete = true;
    if (!isFlightDue) this.#pending = [];
  }

  /** Adds to a request or response on `path` what the peer should have. */
  write(writer: StunWriter, path: string, nowMs: number): void {
    if (!this.isWanted || !this.#sendsAcks) return;
    const acks = this.#received.slice(-MAX_ACKS);
    const value = Buffer.alloc(4 * acks.length);
    for (const [at, hash] of acks.entries()) value.writeUInt32BE(hash, 4 * at);
    writer.bytes(ATTRIBUTE.embeddedDtlsAck, value);
    if (this.#sendsData) writer.bytes(ATTRIBUTE.embeddedDtls, this.#take(path, nowMs));
  }

  /** Takes in an authentic message. Returns the packet in it when that is new. */
  read(message: StunMessage): Buffer | undefined {
    const data = message.attributes.get(ATTRIBUTE.embeddedDtls)?.value;
    const acks = message.attributes.get(ATTRIBUTE.embeddedDtlsAck)?.value;
    if (!acks) {
      // It does not understand, or is done.
      this.isWanted = false;
      return undefined;
    }
    // It may know our description before we know its own.
    this.isWanted = true;
    if (acks.length <= 4 * MAX_ACKS && acks.length % 4 === 0) this.#acknowledge(acks);
    if (!data) {
      this.#sendsAcks = false;
      return undefined;
    }
    if (data.length === 0) {
      if (this.#isComplete && this.#pending.length === 0) this.#sendsData = false;
      return undefined;
    }
    const hash = crc32(data);
    if (this.#received.includes(hash)) return undefined;
    this.#received.push(hash);
    if (this.#received.length > MAX_RECEIVED) this.#received.shift();
    const [first = 0] = data;
    return first >= 20 && first <= 63 ? data : undefined;
  }

  #acknowledge(acks: Buffer): void {
    for (let at = 0; at < acks.length; at += 4) {
      const hash = acks.readUInt32BE(at);
      this.#pending = this.#pending.filter((packet) => packet.hash !== hash);
    }
  }

  #take(path: string, nowMs: number): Buffer {
    for (let tried = 0; tried < this.#pending.length; tried += 1) {
      const packet = this.#pending[this.#next++ % this.#pending.length] as Packet;
      if (packet.path === path && nowMs - packet.sentMs < REPEAT_MS) continue;
      packet.path = path;
      packet.sentMs = nowMs;
      return packet.bytes;
    }
    return Buffer.alloc(0);
  }
}
