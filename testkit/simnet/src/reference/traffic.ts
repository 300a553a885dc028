/**
 * What flows once there is a path: pings that the other side answers at once,
 * and a stream of numbered datagrams at a fixed pace. Nothing is repeated, so
 * the counts show the path as it is.
 */

const KIND = { ping: 0xc1, pong: 0xc2, stream: 0xc3 } as const;
const HEADER_BYTES = 13;
const PING_BYTES = 64;

export interface StreamPlan {
  /** Of one datagram, at least 13. */
  readonly bytes: number;
  readonly everyMs: number;
  readonly durationMs: number;
}

export interface TrafficCounts {
  readonly roundTripMs: readonly (number | null)[];
  readonly streamSent: number;
  readonly streamReceived: number;
  /** Of the stream that came, one way; the clocks of both peers must agree. */
  readonly streamDelayMs: readonly number[];
  /** Longest time between two datagrams of the stream. */
  readonly longestGapMs: number;
}

export class Traffic {
  readonly #roundTripMs: (number | null)[] = [];
  readonly #streamDelayMs: number[] = [];
  readonly #seen = new Set<number>();
  #stream: (StreamPlan & { readonly untilMs: number }) | undefined;
  #nextMs = 0;
  #sent = 0;
  #lastHeardMs: number | undefined;
  #longestGapMs = 0;

  /** A ping counts as lost, null, until its answer is here. */
  ping(nowMs: number): Buffer {
    return encode(KIND.ping, this.#roundTripMs.push(null) - 1, nowMs, PING_BYTES);
  }

  beginStream(plan: StreamPlan, nowMs: number): void {
    this.#stream = { ...plan, untilMs: nowMs + plan.durationMs };
    this.#nextMs = nowMs;
  }

  /** Takes a datagram and returns what it is to be answered with. Foreign bytes are ignored. */
  handle(bytes: Buffer, nowMs: number): Buffer | undefined {
    if (bytes.length < HEADER_BYTES) return undefined;
    const index = bytes.readUInt32BE(1);
    const sentAtMs = bytes.readDoubleBE(5);
    if (bytes[0] === KIND.ping) return encode(KIND.pong, index, sentAtMs, bytes.length);
    if (bytes[0] === KIND.pong && this.#roundTripMs[index] === null) this.#roundTripMs[index] = nowMs - sentAtMs;
    if (bytes[0] === KIND.stream && !this.#seen.has(index)) {
      this.#seen.add(index);
      this.#streamDelayMs.push(nowMs - sentAtMs);
      this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - (this.#lastHeardMs ?? nowMs));
      this.#lastHeardMs = nowMs;
    }
    return undefined;
  }

  /** Datagrams of the stream that are due. */
  *due(nowMs: number): Generator<Buffer> {
    for (let plan = this.#stream; plan && this.#nextMs <= nowMs; plan = this.#stream) {
      if (this.#nextMs >= plan.untilMs) {
        this.#stream = undefined;
        return;
      }
      yield encode(KIND.stream, this.#sent, nowMs, plan.bytes);
      this.#sent += 1;
      this.#nextMs += plan.everyMs;
    }
  }

  get deadlineMs(): number | undefined {
    return this.#stream && this.#nextMs;
  }

  counts(): TrafficCounts {
    return {
      roundTripMs: [...this.#roundTripMs],
      streamSent: this.#sent,
      streamReceived: this.#seen.size,
      streamDelayMs: [...this.#streamDelayMs],
      longestGapMs: this.#longestGapMs,
    };
  }
}

function encode(kind: number, index: number, sentAtMs: number, length: number): Buffer {
  const bytes = Buffer.alloc(Math.max(length, HEADER_BYTES));
  bytes.writeUInt8(kind, 0);
  bytes.writeUInt32BE(index, 1);
  bytes.writeDoubleBE(sentAtMs, 5);
  return bytes;
}
