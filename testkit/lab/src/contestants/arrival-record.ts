/** What arrived of one run and when: sums, the longest silence, and buckets of `BUCKET_MS` from the sender's start. */

import { BUCKET_MS } from './contract.ts';
import type { Report } from './measure-messages.ts';

/** Ten minutes; what comes later counts in the sums only. */
const MAX_BUCKETS = 6000;
/** Some 10 KiB of JSON. */
const BUCKETS_PER_REPORT = 300;

type Bucket = [bytes: number, messages: number, delaySumMs: number];

export class ArrivalRecord {
  readonly startMs: number;
  readonly durationMs: number;
  /** Messages that the owner sent, for its report. */
  sent = 0;
  #bytes = 0;
  #messages = 0;
  #lastMs = 0;
  #stallMs = 0;
  readonly #buckets: Bucket[] = [];

  constructor(startMs: number, durationMs: number) {
    this.startMs = startMs;
    this.durationMs = durationMs;
  }

  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(bytes: number, sentMs: number, nowMs: number): void {
    this.#stallMs = Math.max(this.#stallMs, nowMs - this.#heardMs());
    this.#lastMs = nowMs;
    this.#bytes += bytes;
    this.#messages += 1;
    const bucket = this.#bucketAt(Math.max(0, Math.floor((nowMs - this.startMs) / BUCKET_MS)));
    if (!bucket) return;
    bucket[0] += bytes;
    bucket[1] += 1;
    bucket[2] += nowMs - sentMs;
  }

  /** Longest silence, the one under way at `nowMs` included as far as the run was to last. */
  stallMs(nowMs: number): number {
    return Math.max(this.#stallMs, Math.min(nowMs, this.startMs + this.durationMs) - this.#heardMs());
  }

  buckets(): readonly Readonly<Bucket>[] {
    return this.#buckets;
  }

  /** The record from bucket `from` on, in pieces that fit a message. */
  *reports(from: number, nowMs: number, final: boolean): Generator<Report> {
    const sums = {
      bytes: this.#bytes,
      messages: this.#messages,
      lastMs: this.#lastMs,
      stallMs: this.stallMs(nowMs),
      sent: this.sent,
      atMs: nowMs,
    };
    for (let at = from; ; at += BUCKETS_PER_REPORT) {
      const last = at + BUCKETS_PER_REPORT >= this.#buckets.length;
      const buckets = this.#buckets
        .slice(at, at + BUCKETS_PER_REPORT)
        .map(([bytes, messages, delay]) => [bytes, messages, Math.round(delay * 100) / 100] as const);
      yield { from: at, buckets, ...sums, last: last && final };
      if (last) return;
    }
  }

  /** Takes in what the other side knows. */
  merge(report: Report): void {
    this.#bytes = report.bytes;
    this.#messages = report.messages;
    this.#lastMs = report.lastMs;
    this.#stallMs = report.stallMs;
    this.sent = report.sent;
    for (const [at, [bytes, messages, delaySumMs]] of report.buckets.entries()) {
      const bucket = this.#bucketAt(report.from + at);
      if (bucket) [bucket[0], bucket[1], bucket[2]] = [bytes, messages, delaySumMs];
    }
  }

  #heardMs(): number {
    return this.#messages === 0 ? this.startMs : this.#lastMs;
  }

  #bucketAt(index: number): Bucket | undefined {
    if (index >= MAX_BUCKETS) return undefined;
    while (this.#buckets.length <= index) this.#buckets.push([0, 0, 0]);
    return this.#buckets[index];
  }
}
