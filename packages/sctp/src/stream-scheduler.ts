/**
 * Which stream sends next (RFC 8260 §3): weighted fair queueing by priority, or
 * strict priority with equal shares within a rank. A binary heap over the streams
 * that have something to send; a decision costs O(log n).
 */

import type { OutboundStream } from './outbound-stream.ts';

export type SchedulerKind = 'weighted' | 'strict';

export class StreamScheduler {
  readonly #isStrict: boolean;
  readonly #heap: OutboundStream[] = [];
  /** Virtual time of the stream served last; a stream that wakes up starts here and not in the past. */
  #virtualTime = 0;

  constructor(kind: SchedulerKind) {
    this.#isStrict = kind === 'strict';
  }

  get size(): number {
    return this.#heap.length;
  }

  /** The stream whose turn it is. */
  peek(): OutboundStream | undefined {
    return this.#heap[0];
  }

  /** The first stream, in no particular order, for which `isWanted` holds. */
  find(isWanted: (stream: OutboundStream) => boolean): OutboundStream | undefined {
    return this.#heap.find(isWanted);
  }

  /** Makes `stream` a candidate; no effect when it is one. */
  add(stream: OutboundStream): void {
    if (stream.heapIndex >= 0) return;
    const firstBytes = stream.queue.peek()?.data.length ?? 0;
    stream.virtualTime =
      Math.max(stream.virtualTime, this.#virtualTime) + this.#cost(stream, Math.min(firstBytes, 1200));
    stream.heapIndex = this.#heap.length;
    this.#heap.push(stream);
    this.#siftUp(stream.heapIndex);
  }

  remove(stream: OutboundStream): void {
    const at = stream.heapIndex;
    if (at < 0) return;
    stream.heapIndex = -1;
    const last = this.#heap.pop();
    if (!last || last === stream) return;
    this.#place(last, at);
    this.#siftUp(at);
    this.#siftDown(last.heapIndex);
  }

  /** `stream` has sent `bytes`. */
  charge(stream: OutboundStream, bytes: number): void {
    if (stream.virtualTime > this.#virtualTime) this.#virtualTime = stream.virtualTime;
    stream.virtualTime += this.#cost(stream, bytes);
    if (stream.heapIndex >= 0) this.#siftDown(stream.heapIndex);
  }

  #cost(stream: OutboundStream, bytes: number): number {
    return this.#isStrict ? bytes : bytes / Math.max(1, stream.priority);
  }

  #isBefore(a: OutboundStream, b: OutboundStream): boolean {
    if (this.#isStrict && a.priority !== b.priority) return a.priority > b.priority;
    return a.virtualTime < b.virtualTime;
  }

  #place(stream: OutboundStream, at: number): void {
    this.#heap[at] = stream;
    stream.heapIndex = at;
  }

  #siftUp(from: number): void {
    const stream = this.#heap[from] as OutboundStream;
    let at = from;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = this.#heap[parentAt] as OutboundStream;
      if (!this.#isBefore(stream, parent)) break;
      this.#place(parent, at);
      at = parentAt;
    }
    this.#place(stream, at);
  }

  #siftDown(from: number): void {
    const stream = this.#heap[from] as OutboundStream;
    const { length } = this.#heap;
    let at = from;
    for (;;) {
      let childAt = 2 * at + 1;
      if (childAt >= length) break;
      let child = this.#heap[childAt] as OutboundStream;
      const right = this.#heap[childAt + 1];
      if (right && this.#isBefore(right, child)) {
        childAt++;
        child = right;
      }
      if (!this.#isBefore(child, stream)) break;
      this.#place(child, at);
      at = childAt;
    }
    this.#place(stream, at);
  }
}
