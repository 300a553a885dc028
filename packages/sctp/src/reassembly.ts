/**
 * From DATA and I-DATA chunks to messages in the order each stream promises
 * (RFC 9260 §6.5, §6.6, §6.9; RFC 8260 §2.2). Bytes held here and not yet handed
 * on are counted in `bufferedBytes`.
 */

import type { SkippedMessage } from './forward-tsn.ts';
import { FragmentRuns } from './fragment-runs.ts';
import { isAfter, isAfter16 } from './serial.ts';

/** Packets that arrived as one (UDP_GRO) are parts of one message mostly. */
const MAX_PACKET_BYTES = 16_384;
const MAX_KEPT_RATIO = 8;

export interface InboundChunk {
  tsn: number;
  streamId: number;
  /** SSN or MID. */
  sequence: number;
  /** FSN; of no meaning for DATA. */
  fragment: number;
  ppid: number;
  isUnordered: boolean;
  isBegin: boolean;
  isEnd: boolean;
  data: Buffer;
}

interface WaitingMessage {
  readonly ppid: number;
  readonly data: Buffer;
}

class InboundStream {
  nextOrdered = 0;
  /** Whole messages ahead of their turn. */
  waiting: Map<number, WaitingMessage> | undefined = undefined;
  /** I-DATA: fragments by MID, ordered and unordered apart. */
  ordered: Map<number, FragmentRuns> | undefined = undefined;
  unordered: Map<number, FragmentRuns> | undefined = undefined;
}

export type DeliverMessage = (streamId: number, ppid: number, data: Buffer) => void;

export class Reassembly {
  bufferedBytes = 0;
  readonly #isInterleaved: boolean;
  readonly #maxMessageBytes: number;
  readonly #deliver: DeliverMessage;
  readonly #streams = new Map<number, InboundStream>();
  /** DATA: all streams' fragments by TSN. */
  readonly #runs = new FragmentRuns();

  constructor(isInterleaved: boolean, maxMessageBytes: number, deliver: DeliverMessage) {
    this.#isInterleaved = isInterleaved;
    this.#maxMessageBytes = maxMessageBytes;
    this.#deliver = deliver;
  }

  /** Takes a chunk that was not seen before; false when the peer broke a limit. */
  add(chunk: InboundChunk): boolean {
    const { streamId, sequence, isUnordered } = chunk;
    const data = worthKeeping(chunk.data);
    if (chunk.isBegin && chunk.isEnd) return this.#complete(streamId, sequence, isUnordered, chunk.ppid, data);
    const stream = this.#stream(streamId);
    let runs = this.#runs;
    if (this.#isInterleaved) {
      const messages = isUnordered ? (stream.unordered ??= new Map()) : (stream.ordered ??= new Map());
      const known = messages.get(sequence);
      runs = known ?? new FragmentRuns();
      if (!known) messages.set(sequence, runs);
    }
    // DATA: neighbouring TSNs of different messages must not be taken for one.
    const owner = this.#isInterleaved ? 0 : ((streamId << 16) | sequence) * 2 + (isUnordered ? 1 : 0);
    const number = this.#isInterleaved ? (chunk.isBegin ? 0 : chunk.fragment) : chunk.tsn;
    const run = runs.add(number, owner, chunk.isBegin, chunk.isEnd, chunk.ppid, data);
    this.bufferedBytes += data.length;
    if (run.bytes > this.#maxMessageBytes) return false;
    if (!run.hasBegin || !run.hasEnd) return true;
    runs.remove(run);
    if (this.#isInterleaved) (isUnordered ? stream.unordered : stream.ordered)?.delete(sequence);
    this.bufferedBytes -= run.bytes + (this.#isInterleaved ? runs.bytes : 0);
    return this.#complete(streamId, sequence, isUnordered, run.ppid, run.join());
  }

  /** The peer gave messages up (RFC 3758 §3.6, RFC 8260 §2.3.1). */
  skip(newTsn: number, skipped: readonly SkippedMessage[]): void {
    if (!this.#isInterleaved) this.bufferedBytes -= this.#runs.dropWhere((run) => !isAfter(run.end, newTsn));
    for (const { streamId, isUnordered, sequence } of skipped) {
      const stream = this.#stream(streamId);
      if (this.#isInterleaved) this.#dropPartials(isUnordered ? stream.unordered : stream.ordered, sequence);
      if (isUnordered || this.#isLater(stream.nextOrdered, sequence)) continue;
      this.#deliverThrough(streamId, stream, sequence);
    }
  }

  /** The peer's numbers start anew on this stream (RFC 6525 §5.2.2). */
  reset(streamId: number): void {
    const stream = this.#streams.get(streamId);
    if (!stream) return;
    for (const message of stream.waiting?.values() ?? []) this.bufferedBytes -= message.data.length;
    for (const messages of [stream.ordered, stream.unordered]) {
      for (const runs of messages?.values() ?? []) this.bufferedBytes -= runs.bytes;
    }
    this.#streams.delete(streamId);
  }

  resetAll(): void {
    for (const streamId of [...this.#streams.keys()]) this.reset(streamId);
  }

  #stream(id: number): InboundStream {
    let stream = this.#streams.get(id);
    if (!stream) {
      stream = new InboundStream();
      this.#streams.set(id, stream);
    }
    return stream;
  }

  #complete(streamId: number, sequence: number, isUnordered: boolean, ppid: number, data: Buffer): boolean {
    if (data.length > this.#maxMessageBytes) return false;
    if (isUnordered) {
      this.#deliver(streamId, ppid, data);
      return true;
    }
    const stream = this.#stream(streamId);
    if (sequence === stream.nextOrdered) {
      stream.nextOrdered = this.#after(sequence);
      this.#deliver(streamId, ppid, data);
      if (stream.waiting) this.#deliverWaiting(streamId, stream);
    } else if (this.#isLater(sequence, stream.nextOrdered)) {
      stream.waiting ??= new Map();
      if (stream.waiting.has(sequence)) return false;
      stream.waiting.set(sequence, { ppid, data });
      this.bufferedBytes += data.length;
    }
    return true;
  }

  #deliverWaiting(streamId: number, stream: InboundStream): void {
    const { waiting } = stream;
    for (let next = waiting?.get(stream.nextOrdered); waiting && next; next = waiting.get(stream.nextOrdered)) {
      waiting.delete(stream.nextOrdered);
      stream.nextOrdered = this.#after(stream.nextOrdered);
      this.bufferedBytes -= next.data.length;
      this.#deliver(streamId, next.ppid, next.data);
    }
    if (waiting?.size === 0) stream.waiting = undefined;
  }

  /** What is whole up to `sequence` is delivered, the rest skipped. */
  #deliverThrough(streamId: number, stream: InboundStream, sequence: number): void {
    const { waiting } = stream;
    const ready = [...(waiting?.keys() ?? [])].filter((number) => !this.#isLater(number, sequence));
    ready.sort((a, b) => (this.#isLater(a, b) ? 1 : -1));
    stream.nextOrdered = this.#after(sequence);
    for (const number of ready) {
      const message = waiting?.get(number);
      if (!message) continue;
      waiting?.delete(number);
      this.bufferedBytes -= message.data.length;
      this.#deliver(streamId, message.ppid, message.data);
    }
    this.#deliverWaiting(streamId, stream);
  }

  #dropPartials(messages: Map<number, FragmentRuns> | undefined, sequence: number): void {
    for (const [mid, runs] of messages ?? []) {
      if (isAfter(mid, sequence)) continue;
      this.bufferedBytes -= runs.bytes;
      messages?.delete(mid);
    }
  }

  #after(sequence: number): number {
    return this.#isInterleaved ? (sequence + 1) >>> 0 : (sequence + 1) & 0xffff;
  }

  #isLater(a: number, b: number): boolean {
    return this.#isInterleaved ? isAfter(a, b) : isAfter16(a, b);
  }
}

/** What is kept keeps the memory of the packets it came with, so little of much is copied. */
function worthKeeping(data: Buffer): Buffer {
  return data.length * MAX_KEPT_RATIO < Math.min(data.buffer.byteLength, MAX_PACKET_BYTES) ? Buffer.from(data) : data;
}
