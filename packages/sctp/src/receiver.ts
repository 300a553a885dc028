/**
 * The receiving half of an association: takes data chunks, acknowledges them
 * (RFC 9260 §6.2) and says how much more it will take.
 *
 * Memory is bounded: what the application has not taken counts against the window,
 * and half-received messages against an allowance of two greatest messages beyond
 * it, so that a message greater than the window still comes through.
 */

import { readU16, readU32, writeU16, writeU32 } from './byte-order.ts';
import { PieceJoiner, readPiece } from './chunk-pieces.ts';
import { CHUNK_HEADER_BYTES, ChunkType, DataFlag } from './chunk-types.ts';
import { readSkipped } from './forward-tsn.ts';
import type { PacketWriter } from './packet-writer.ts';
import { type DeliverMessage, type InboundChunk, Reassembly } from './reassembly.ts';
import { isAfter } from './serial.ts';
import { TsnMap } from './tsn-map.ts';

export interface ReceiverOptions {
  readonly initialTsn: number;
  readonly isInterleaved: boolean;
  readonly windowBytes: number;
  readonly maxMessageBytes: number;
  readonly delayedAckMs: number;
  readonly sparesAcks: boolean;
  readonly deliver: DeliverMessage;
}

const NEVER = Number.POSITIVE_INFINITY;
/**
 * RFC 9260 §6.2 asks for a SACK at every second packet, and at each while there is a gap: senders that count them grow
 * and repair by no others. To a sender that does not, at high rates one a millisecond or 20 KB says as much.
 */
const ACK_INTERVAL_MS = 1;
const ACK_BYTES = 20_000;
const MAX_DUPLICATES_REPORTED = 16;
const SACK_FIXED_BYTES = 12;
/** What a chunk in memory costs beside its data. */
const CHUNK_OVERHEAD_BYTES = 64;
const NO_DATA = Buffer.alloc(0);

export class Receiver {
  readonly #map: TsnMap;
  readonly #reassembly: Reassembly;
  readonly #options: ReceiverOptions;
  readonly #limitBytes: number;
  readonly #chunk: InboundChunk = {
    tsn: 0,
    streamId: 0,
    sequence: 0,
    fragment: 0,
    ppid: 0,
    isUnordered: false,
    isBegin: false,
    isEnd: false,
    data: NO_DATA,
  };
  readonly #pieces = new PieceJoiner();
  readonly #duplicates: number[] = [];
  /** Delivered and not yet taken by the application. */
  #unreadBytes = 0;
  #advertisedBytes: number;
  #unackedPackets = 0;
  #unackedBytes = 0;
  #hasNewData = false;
  #isAckUrgent = false;
  #lastSackMs = Number.NEGATIVE_INFINITY;
  sackAtMs = NEVER;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#map = new TsnMap(options.initialTsn);
    this.#limitBytes = initialWindowBytes(options.windowBytes, options.maxMessageBytes);
    this.#advertisedBytes = this.#limitBytes;
    this.#reassembly = new Reassembly(options.isInterleaved, options.maxMessageBytes, (streamId, ppid, data) => {
      this.#unreadBytes += data.length;
      options.deliver(streamId, ppid, data);
    });
  }

  get cumulativeTsn(): number {
    return this.#map.cumulativeTsn;
  }

  /** Bytes in memory for the peer's sake. */
  get heldBytes(): number {
    return this.#unreadBytes + this.#reassembly.bufferedBytes;
  }

  /** Takes the body of a DATA or I-DATA chunk, a view of a packet of `packetBytes`; false: the peer broke the protocol. */
  onData(flags: number, body: Buffer, packetBytes: number): boolean {
    const { isInterleaved } = this.#options;
    const headerBytes = isInterleaved ? 16 : 12;
    if (body.length <= headerBytes) return false;
    const tsn = readU32(body, 0);
    const arrival = this.#map.judge(tsn);
    this.#hasNewData = true;
    if (flags & DataFlag.immediate) this.#isAckUrgent = true;
    if (arrival === 'duplicate') {
      this.#noteDuplicate(tsn);
      return true;
    }
    if (arrival === 'outside') return true;
    if (arrival !== 'next' || this.#map.hasGaps) {
      // A gap that opens or closes is news; one that merely stays is not.
      if (arrival !== 'next') this.#isAckUrgent = true;
    }
    const held = this.heldBytes;
    if (held >= this.#limitBytes && (arrival !== 'fill' || held >= 2 * this.#limitBytes)) {
      this.#isAckUrgent = true;
      return true;
    }
    const chunk = this.#chunk;
    const data = body.subarray(headerBytes);
    chunk.tsn = tsn;
    chunk.streamId = readU16(body, 4);
    chunk.isUnordered = (flags & DataFlag.unordered) !== 0;
    chunk.isBegin = (flags & DataFlag.begin) !== 0;
    chunk.isEnd = (flags & DataFlag.end) !== 0;
    chunk.sequence = isInterleaved ? readU32(body, 8) : chunk.isUnordered ? 0 : readU16(body, 6);
    chunk.fragment = isInterleaved ? readU32(body, 12) : 0;
    chunk.ppid = isInterleaved ? (chunk.isBegin ? chunk.fragment : 0) : readU32(body, 8);
    // A small chunk must not keep a great packet in memory.
    chunk.data = data.length * 2 + CHUNK_OVERHEAD_BYTES < packetBytes ? Buffer.from(data) : data;
    this.#map.add(tsn);
    const isSound = this.#reassembly.add(chunk);
    chunk.data = NO_DATA;
    return isSound;
  }

  /** Takes the body of a piece of a data chunk; false: the peer broke the protocol. */
  onPiece(flags: number, body: Buffer): boolean {
    const piece = readPiece(body);
    if (!piece) return false;
    const arrival = this.#map.judge(piece.tsn);
    if (arrival === 'outside') return true;
    if (arrival === 'duplicate') {
      // One report for the chunk, or the sender would count more copies than it sent.
      if (piece.index === piece.count - 1) this.#noteDuplicate(piece.tsn);
      return true;
    }
    const whole = this.#pieces.add(piece);
    return whole === undefined || this.onData(flags, whole, whole.length);
  }

  /** The end of a packet; decides when what it brought is acknowledged. */
  onPacketEnd(packetBytes: number, nowMs: number): void {
    if (!this.#hasNewData) return;
    this.#hasNewData = false;
    this.#pieces.dropThrough(this.#map.cumulativeTsn);
    this.#unackedPackets++;
    this.#unackedBytes += packetBytes;
    const { sparesAcks, delayedAckMs } = this.#options;
    if (!sparesAcks && (this.#map.hasGaps || this.#unackedPackets > 1)) this.#isAckUrgent = true;
    if (this.#isAckUrgent || this.#unackedPackets === 1) {
      this.sackAtMs = this.#isAckUrgent ? nowMs : Math.min(this.sackAtMs, nowMs + delayedAckMs);
    } else if (this.#unackedBytes >= ACK_BYTES) this.sackAtMs = nowMs;
    else this.sackAtMs = Math.min(this.sackAtMs, Math.max(nowMs, this.#lastSackMs + ACK_INTERVAL_MS));
  }

  /** Reads a FORWARD TSN or I-FORWARD-TSN chunk; false: malformed. */
  onForwardTsn(body: Buffer): boolean {
    const skipped = readSkipped(body, this.#options.isInterleaved);
    if (!skipped) return false;
    const newTsn = readU32(body, 0);
    this.#hasNewData = true;
    this.#isAckUrgent = true;
    if (!isAfter(newTsn, this.#map.cumulativeTsn) || this.#map.judge(newTsn) === 'outside') return true;
    this.#map.skipTo(newTsn);
    this.#reassembly.skip(newTsn, skipped);
    return true;
  }

  /** Whether every TSN up to `tsn` has arrived. */
  hasAllThrough(tsn: number): boolean {
    return !isAfter(tsn, this.#map.cumulativeTsn);
  }

  resetStreams(streamIds: readonly number[]): void {
    if (streamIds.length === 0) this.#reassembly.resetAll();
    for (const id of streamIds) this.#reassembly.reset(id);
  }

  /** The application took `bytes`; a window that was nearly shut and opens is told at once. */
  release(bytes: number, nowMs: number): void {
    this.#unreadBytes = Math.max(0, this.#unreadBytes - bytes);
    const { windowBytes } = this.#options;
    if (this.#advertisedBytes < windowBytes / 2 && this.#windowBytes() >= windowBytes / 2) this.sackAtMs = nowMs;
  }

  /** Whether there is anything a SACK would say. */
  get hasUnacked(): boolean {
    return this.sackAtMs !== NEVER;
  }

  askForSack(nowMs: number): void {
    this.sackAtMs = nowMs;
  }

  writeSack(writer: PacketWriter, nowMs: number): void {
    const roomBytes = writer.roomBytes - CHUNK_HEADER_BYTES - SACK_FIXED_BYTES;
    if (roomBytes < 0) return;
    const startAt = writer.length;
    const at = startAt + CHUNK_HEADER_BYTES;
    const { bytes } = writer;
    const maxBlocks = Math.min(1000, roomBytes >> 2);
    const blocks = this.#map.hasGaps ? this.#map.writeGaps(bytes, at + SACK_FIXED_BYTES, maxBlocks) : 0;
    const duplicates = Math.min(this.#duplicates.length, (roomBytes >> 2) - blocks);
    this.#advertisedBytes = this.#windowBytes();
    writer.addChunk(ChunkType.sack, 0, SACK_FIXED_BYTES + 4 * (blocks + duplicates));
    writeU32(bytes, at, this.#map.cumulativeTsn);
    writeU32(bytes, at + 4, this.#advertisedBytes);
    writeU16(bytes, at + 8, blocks);
    writeU16(bytes, at + 10, duplicates);
    for (let index = 0; index < duplicates; index++) {
      writeU32(bytes, at + SACK_FIXED_BYTES + 4 * (blocks + index), this.#duplicates[index] as number);
    }
    this.#duplicates.length = 0;
    this.#unackedPackets = 0;
    this.#unackedBytes = 0;
    this.#isAckUrgent = false;
    this.#lastSackMs = nowMs;
    this.sackAtMs = NEVER;
  }

  #noteDuplicate(tsn: number): void {
    this.#hasNewData = true;
    this.#isAckUrgent = true;
    if (this.#duplicates.length < MAX_DUPLICATES_REPORTED) this.#duplicates.push(tsn);
  }

  #windowBytes(): number {
    if (this.#unreadBytes >= this.#options.windowBytes) return 0;
    return Math.max(0, this.#limitBytes - this.heldBytes);
  }
}

/** What an INIT advertises: the window and the allowance for half-received messages. */
export function initialWindowBytes(windowBytes: number, maxMessageBytes: number): number {
  return windowBytes + 2 * maxMessageBytes;
}
