/**
 * The sending half of an association: messages wait on their streams and are cut
 * into chunks at the last moment, when a packet may leave, so that what is urgent
 * never stands behind what is not (RFC 9260 §6.1, RFC 8260).
 */

import { writeU16, writeU32 } from './byte-order.ts';
import { PieceCutter } from './chunk-pieces.ts';
import {
  CHUNK_HEADER_BYTES,
  ChunkType,
  COMMON_HEADER_BYTES,
  DATA_HEADER_BYTES,
  DataFlag,
  I_DATA_HEADER_BYTES,
} from './chunk-types.ts';
import type { CongestionControl } from './congestion/congestion-control.ts';
import { writeForwardTsn } from './forward-tsn.ts';
import { InFlight } from './in-flight.ts';
import { type MessageOptions, OutboundMessage, OutboundStream } from './outbound-stream.ts';
import { Pacer } from './pacer.ts';
import type { PacketWriter } from './packet-writer.ts';
import type { RoundTripTime } from './round-trip-time.ts';
import type { SentChunk } from './sent-chunks.ts';
import { type SchedulerKind, StreamScheduler } from './stream-scheduler.ts';

/** A fragment that would be smaller waits for the next packet. */
const MIN_FRAGMENT_BYTES = 256;

export interface SenderOptions {
  readonly initialTsn: number;
  readonly scheduler: SchedulerKind;
  readonly congestion: CongestionControl;
  readonly rtt: RoundTripTime;
  /** Called after bytes of this stream left `bufferedBytes`. */
  readonly onDrained: (stream: OutboundStream) => void;
}

export class Sender {
  readonly inFlight: InFlight;
  #isInterleaved = false;
  /** The peer takes chunks in pieces. */
  #hasPieces = false;
  readonly #cutter = new PieceCutter();
  readonly #scheduler: StreamScheduler;
  readonly #streams = new Map<number, OutboundStream>();
  readonly #pacer = new Pacer();
  readonly #onDrained: (stream: OutboundStream) => void;
  #headerBytes = DATA_HEADER_BYTES;
  /** Messages begun and not finished may add up to this: they lie in the peer's memory until they are whole. */
  #interleaveBudgetBytes = 0;
  #begunBytes = 0;
  /** Not interleaved: the stream whose message must be finished first. */
  #current: OutboundStream | undefined;
  /** The pacer and nothing else stopped the last packet. */
  #isHeldByPacer = false;
  bufferedBytes = 0;

  constructor(options: SenderOptions) {
    this.#scheduler = new StreamScheduler(options.scheduler);
    this.#onDrained = options.onDrained;
    this.inFlight = new InFlight(options.initialTsn, options.rtt, options.congestion, (message) =>
      this.#dropRest(message),
    );
  }

  /** The peer's parameters are known; before, messages only queue. */
  start(peerWindowBytes: number, isInterleaved: boolean, hasPieces: boolean): void {
    this.#isInterleaved = isInterleaved;
    this.#hasPieces = hasPieces;
    this.#headerBytes = isInterleaved ? I_DATA_HEADER_BYTES : DATA_HEADER_BYTES;
    this.#interleaveBudgetBytes = peerWindowBytes;
    this.inFlight.peerWindowBytes = peerWindowBytes;
  }

  stream(id: number): OutboundStream {
    let stream = this.#streams.get(id);
    if (!stream) {
      stream = new OutboundStream(id);
      this.#streams.set(id, stream);
    }
    return stream;
  }

  /** Forgets a stream that is not in use. */
  forget(id: number): void {
    this.#streams.delete(id);
  }

  enqueue(streamId: number, ppid: number, data: Buffer, options: MessageOptions, nowMs: number): void {
    const stream = this.stream(streamId);
    const message = new OutboundMessage(stream, ppid, data, nowMs, options);
    stream.queue.push(message);
    this.bufferedBytes += data.length;
    if (message.isCounted) stream.bufferedBytes += data.length;
    this.#scheduler.add(stream);
  }

  setPriority(streamId: number, priority: number): void {
    const stream = this.stream(streamId);
    const isWaiting = stream.heapIndex >= 0;
    this.#scheduler.remove(stream);
    stream.priority = priority;
    if (isWaiting) this.#scheduler.add(stream);
  }

  /** Whether all that was handed in has been sent and acknowledged. */
  get isDrained(): boolean {
    return this.#scheduler.size === 0 && this.inFlight.chunks.length === 0;
  }

  get hasWork(): boolean {
    return (
      this.#scheduler.size > 0 ||
      this.inFlight.lost.length > 0 ||
      this.inFlight.isProbeWanted ||
      this.inFlight.isForwardTsnWanted
    );
  }

  /** Whether a packet with data may leave now. */
  maySend(nowMs: number): boolean {
    const { inFlight } = this;
    inFlight.isWindowLimited = false;
    this.#isHeldByPacer = false;
    // Looking for a stream gives up what has expired, which in turn is to be told.
    const isRetransmitting = inFlight.lost.length > 0 || inFlight.echoes.due(nowMs) !== undefined;
    const hasData = this.#nextStream(nowMs) !== undefined || isRetransmitting;
    if (inFlight.isForwardTsnWanted || inFlight.isProbeWanted) return true;
    if (!hasData) {
      if (inFlight.bytes < inFlight.windowBytes) inFlight.rate.markAppLimited(inFlight.bytes);
      return false;
    }
    if (inFlight.bytes > 0 && inFlight.bytes >= inFlight.windowBytes) {
      inFlight.isWindowLimited = true;
      return false;
    }
    if (!isRetransmitting && !this.#fitsPeerWindow()) {
      inFlight.rate.markAppLimited(inFlight.bytes);
      return false;
    }
    this.#isHeldByPacer = !this.#pacer.canSend(inFlight.congestion.paceBytesPerMs, nowMs);
    return !this.#isHeldByPacer;
  }

  /** When the pacer lets the next packet go; infinite when it holds none back. */
  get pacedUntilMs(): number {
    return this.#isHeldByPacer ? this.#pacer.wakeUpMs : Number.POSITIVE_INFINITY;
  }

  /** Adds as many chunks as the packet takes. */
  fill(writer: PacketWriter, nowMs: number): void {
    const { inFlight } = this;
    const startBytes = writer.length;
    let lastFlagsAt = -1;
    let count = 0;
    if (inFlight.isForwardTsnWanted && writeForwardTsn(writer, inFlight, this.#isInterleaved))
      inFlight.onForwardTsnSent(nowMs);
    if (inFlight.bytes > 0 && inFlight.bytes >= inFlight.windowBytes && !inFlight.isProbeWanted) return;
    for (;;) {
      const echo = inFlight.echoes.due(nowMs);
      if (echo && echo.wireBytes <= writer.roomBytes) {
        lastFlagsAt = this.#writeChunk(writer, echo, nowMs, true);
        count++;
        continue;
      }
      const lost = inFlight.lost.head;
      const stream = this.#nextStream(nowMs);
      if (lost && !(stream && stream.priority > (lost.message?.stream.priority ?? 0) && this.#fitsPeerWindow())) {
        if (lost.message && lost.message.expiresAtMs <= nowMs) {
          inFlight.abandon(lost.message);
          continue;
        }
        if (this.#hasPieces && lost.wireBytes > writer.limitBytes - COMMON_HEADER_BYTES) {
          // The path's packets shrank after this chunk was cut.
          if (!this.#writePieces(writer, lost, nowMs)) break;
        } else {
          if (lost.wireBytes > writer.roomBytes) {
            if (count > 0 || !writer.isEmpty) break;
            // A peer that knows no pieces gets it as it is: perhaps IP has fragments.
            writer.limitBytes = lost.wireBytes + writer.length;
          }
          lastFlagsAt = this.#writeChunk(writer, lost, nowMs);
        }
      } else if (stream && this.#fitsPeerWindow()) {
        const chunk = this.#cut(stream, writer.roomBytes, count > 0);
        if (!chunk) break;
        lastFlagsAt = this.#writeChunk(writer, chunk, nowMs);
        this.#afterFirstTransmission(stream, chunk);
      } else break;
      count++;
    }
    if (count === 0 && inFlight.isProbeWanted && this.#writeProbe(writer, nowMs)) count = 1;
    inFlight.isProbeWanted = false;
    if (writer.length > startBytes) this.#pacer.onSent(writer.length);
    inFlight.onPacketFilled(count, writer.length);
    if (lastFlagsAt >= 0 && inFlight.bytes >= inFlight.windowBytes && this.#scheduler.size > 0) {
      // The window is spent: an acknowledgement now is worth more than a rare one (RFC 7053).
      writer.bytes[lastFlagsAt] = (writer.bytes[lastFlagsAt] as number) | DataFlag.immediate;
    }
  }

  #fitsPeerWindow(): boolean {
    const { inFlight } = this;
    return inFlight.peerWindowBytes >= MIN_FRAGMENT_BYTES || inFlight.outstandingBytes === 0;
  }

  /** The stream to serve, with a live message at its head. */
  #nextStream(nowMs: number): OutboundStream | undefined {
    for (;;) {
      const stream = this.#pick();
      const message = stream?.queue.peek();
      if (!stream || !message || message.expiresAtMs > nowMs) return stream;
      this.inFlight.abandon(message);
    }
  }

  #pick(): OutboundStream | undefined {
    if (this.#current && !this.#isInterleaved) return this.#current;
    const top = this.#scheduler.peek();
    const message = top?.queue.peek();
    if (!message || message.sentBytes > 0 || this.#begunBytes === 0 || !this.#isInterleaved) return top;
    if (
      message.data.length <= MIN_FRAGMENT_BYTES ||
      this.#begunBytes + message.data.length <= this.#interleaveBudgetBytes
    )
      return top;
    return this.#scheduler.find((stream) => (stream.queue.peek()?.sentBytes ?? 0) > 0) ?? top;
  }

  /** Makes the next fragment of the stream's first message, or nothing when the room is too small. */
  #cut(stream: OutboundStream, roomBytes: number, isShared: boolean): SentChunk | undefined {
    const message = stream.queue.peek() as OutboundMessage;
    const { inFlight } = this;
    const restBytes = message.data.length - message.sentBytes;
    let length = roomBytes - this.#headerBytes;
    if (inFlight.peerWindowBytes > 0 && length > inFlight.peerWindowBytes) length = inFlight.peerWindowBytes;
    if (length >= restBytes) length = restBytes;
    else {
      length &= ~3;
      if (length <= 0 || (isShared && length < MIN_FRAGMENT_BYTES)) return undefined;
    }
    const chunk = inFlight.chunks.push();
    if (message.sentBytes === 0) this.#begin(message, chunk.tsn);
    message.lastTsn = chunk.tsn;
    stream.lastTsn = chunk.tsn;
    chunk.message = message;
    chunk.offset = message.sentBytes;
    chunk.length = length;
    chunk.fragment = message.fragments++;
    chunk.wireBytes = (this.#headerBytes + length + 3) & ~3;
    chunk.flags =
      (message.isUnordered ? DataFlag.unordered : 0) |
      (message.sentBytes === 0 ? DataFlag.begin : 0) |
      (length === restBytes ? DataFlag.end : 0);
    message.sentBytes += length;
    return chunk;
  }

  #begin(message: OutboundMessage, tsn: number): void {
    const { stream } = message;
    const mask = this.#isInterleaved ? 0xffffffff : 0xffff;
    message.firstTsn = tsn;
    if (!message.isUnordered) {
      message.sequence = stream.nextOrdered;
      stream.nextOrdered = ((stream.nextOrdered + 1) & mask) >>> 0;
    } else if (this.#isInterleaved) {
      message.sequence = stream.nextUnordered;
      stream.nextUnordered = (stream.nextUnordered + 1) >>> 0;
    }
  }

  #afterFirstTransmission(stream: OutboundStream, chunk: SentChunk): void {
    const message = chunk.message as OutboundMessage;
    this.#scheduler.charge(stream, chunk.wireBytes);
    if (!message.isFullySent) {
      this.#current = stream;
      if (chunk.fragment === 0) this.#begunBytes += message.data.length;
    } else {
      if (chunk.fragment > 0) this.#begunBytes -= message.data.length;
      this.#finish(stream);
    }
    this.#uncount(message, chunk.length);
  }

  /** The stream's first message leaves its queue. */
  #finish(stream: OutboundStream): void {
    stream.queue.shift();
    if (this.#current === stream) this.#current = undefined;
    if (stream.queue.length === 0) this.#scheduler.remove(stream);
  }

  #uncount(message: OutboundMessage, bytes: number): void {
    this.bufferedBytes -= bytes;
    if (message.isCounted) message.stream.bufferedBytes -= bytes;
    this.#onDrained(message.stream);
  }

  /** The message was given up: what was not sent of it never will be. */
  #dropRest(message: OutboundMessage): void {
    if (message.isFullySent) return;
    if (message.fragments > 0) this.#begunBytes -= message.data.length;
    this.#finish(message.stream);
    this.#uncount(message, message.data.length - message.sentBytes);
  }

  #writeProbe(writer: PacketWriter, nowMs: number): boolean {
    const { tail } = this.inFlight;
    if (!tail || tail.wireBytes > writer.roomBytes) return false;
    if (tail.message && tail.transmissions > tail.message.maxRetransmits) return false;
    const flagsAt = this.#writeChunk(writer, tail, nowMs);
    writer.bytes[flagsAt] = (writer.bytes[flagsAt] as number) | DataFlag.immediate;
    return true;
  }

  /** Writes as much as fits of a chunk that no packet takes whole; true once all of it has left. */
  #writePieces(writer: PacketWriter, chunk: SentChunk, nowMs: number): boolean {
    if (this.#cutter.tsn !== chunk.tsn) {
      const body = Buffer.allocUnsafe(this.#bodyBytes(chunk));
      this.#writeBody(body, 0, chunk);
      this.#cutter.begin(chunk.flags, body);
    }
    if (!this.#cutter.write(writer)) return false;
    this.inFlight.onTransmit(chunk, nowMs);
    chunk.packetBytes = this.#cutter.largestPacketBytes;
    return true;
  }

  /** Writes a chunk as it is and notes its departure; returns where its flags are. */
  #writeChunk(writer: PacketWriter, chunk: SentChunk, nowMs: number, isEcho = false): number {
    const type = this.#isInterleaved ? ChunkType.iData : ChunkType.data;
    const at = writer.addChunk(type, chunk.flags, this.#bodyBytes(chunk));
    this.#writeBody(writer.bytes, at, chunk);
    this.inFlight.onTransmit(chunk, nowMs, isEcho);
    return at - 3;
  }

  #bodyBytes(chunk: SentChunk): number {
    return this.#headerBytes - CHUNK_HEADER_BYTES + chunk.length;
  }

  #writeBody(bytes: Buffer, at: number, chunk: SentChunk): void {
    const message = chunk.message as OutboundMessage;
    writeU32(bytes, at, chunk.tsn);
    writeU16(bytes, at + 4, message.stream.id);
    if (this.#isInterleaved) {
      writeU16(bytes, at + 6, 0);
      writeU32(bytes, at + 8, message.sequence);
      writeU32(bytes, at + 12, chunk.fragment === 0 ? message.ppid : chunk.fragment);
    } else {
      writeU16(bytes, at + 6, message.sequence);
      writeU32(bytes, at + 8, message.ppid);
    }
    const dataAt = at + this.#headerBytes - CHUNK_HEADER_BYTES;
    message.data.copy(bytes, dataAt, chunk.offset, chunk.offset + chunk.length);
  }
}
