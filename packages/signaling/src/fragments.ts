/**
 * Envelopes cut to the size of small datagrams and put together again. Sans-IO.
 *
 *   magic u8 = 0xc1 | message id 8 | index u8 | count u8 | part of the envelope
 *
 * The id is the first 8 bytes of the envelope's SHA-256: a repetition completes
 * what its first sending left incomplete, over whatever path, and a completed
 * envelope that does not match its id is dropped. What others can make us keep is
 * bounded in number, bytes and time; the oldest goes first.
 */

import { hash } from 'node:crypto';
import { ENVELOPE_HEAD_BYTES } from './envelope.ts';

export const FRAGMENT_HEADER_BYTES = 11;
export const MAX_FRAGMENTS = 16;

const MAGIC = 0xc1;
const ID_BYTES = 8;
/** What a kept fragment costs besides its bytes. */
const FRAGMENT_OVERHEAD_BYTES = 128;

/**
 * The fragments of `envelope`, each with up to `maxPartBytes` of it (at least the head of an envelope).
 * Needs at most {@link MAX_FRAGMENTS}, or throws RangeError.
 */
export function cutFragments(envelope: Uint8Array, maxPartBytes: number): Buffer[] {
  const count = Math.max(1, Math.ceil(envelope.length / maxPartBytes));
  if (count > MAX_FRAGMENTS || maxPartBytes < ENVELOPE_HEAD_BYTES) {
    throw new RangeError(`${envelope.length} bytes do not fit in ${MAX_FRAGMENTS} fragments of ${maxPartBytes}`);
  }
  const id = messageId(envelope);
  return Array.from({ length: count }, (_, index) =>
    Buffer.concat([
      Buffer.of(MAGIC),
      id,
      Buffer.of(index, count),
      envelope.subarray(index * maxPartBytes, (index + 1) * maxPartBytes),
    ]),
  );
}

export interface ReassemblerOptions {
  /** Looks at the first {@link ENVELOPE_HEAD_BYTES} of an envelope; what it refuses is dropped at once. */
  readonly isForUs: (head: Uint8Array) => boolean;
  /** Longer envelopes are dropped. */
  readonly maxEnvelopeBytes: number;
  /** Incomplete envelopes kept. Default 256. */
  readonly maxPartials?: number;
  /** Bytes kept for incomplete envelopes. Default 1 MiB. */
  readonly maxBytes?: number;
  /** How long an incomplete envelope is kept, and a finished one known. Default 5,000 ms. */
  readonly maxAgeMs?: number;
}

/** Counted since the start, in fragments. */
export interface ReassemblerStats {
  /** Not a fragment, or at odds with the others of its envelope. */
  readonly malformed: number;
  /** Of envelopes for other nodes, and repetitions of what is complete. */
  readonly ignored: number;
  /** Thrown away incomplete: too old, or no room. */
  readonly evicted: number;
}

interface Partial {
  readonly parts: (Buffer | undefined)[];
  readonly startedMs: number;
  missing: number;
  bytes: number;
}

/** A message of which no more fragments are wanted. */
interface Settled {
  readonly atMs: number;
  /** Complete; otherwise it began like one for another node. */
  readonly done: boolean;
}

export class Reassembler {
  readonly #isForUs: (head: Uint8Array) => boolean;
  readonly #maxEnvelopeBytes: number;
  readonly #maxPartials: number;
  readonly #maxBytes: number;
  readonly #maxAgeMs: number;
  /** Both in order of age. */
  readonly #partials = new Map<string, Partial>();
  readonly #settled = new Map<string, Settled>();
  readonly #stats = { malformed: 0, ignored: 0, evicted: 0 };
  #bytes = 0;

  constructor(options: ReassemblerOptions) {
    this.#isForUs = options.isForUs;
    this.#maxEnvelopeBytes = options.maxEnvelopeBytes;
    this.#maxPartials = options.maxPartials ?? 256;
    this.#maxBytes = options.maxBytes ?? 1024 * 1024;
    this.#maxAgeMs = options.maxAgeMs ?? 5000;
  }

  get partials(): number {
    return this.#partials.size;
  }

  /** Bytes kept, with what keeping them costs. */
  get bytes(): number {
    return this.#bytes;
  }

  stats(): ReassemblerStats {
    return { ...this.#stats };
  }

  /** The envelope that `fragment` completes, if it does. `nowMs` is monotonic. Keeps no reference to `fragment`. */
  accept(fragment: Uint8Array, nowMs: number): Buffer | undefined {
    this.#forgetOld(nowMs);
    const index = fragment[FRAGMENT_HEADER_BYTES - 2] ?? 0;
    const count = fragment[FRAGMENT_HEADER_BYTES - 1] ?? 0;
    const part = fragment.subarray(FRAGMENT_HEADER_BYTES);
    const sound = fragment[0] === MAGIC && count > 0 && count <= MAX_FRAGMENTS && index < count && part.length > 0;
    if (!sound || part.length > this.#maxEnvelopeBytes) return this.#refuse('malformed');
    const id = Buffer.from(fragment.subarray(1, 1 + ID_BYTES)).toString('latin1');
    const settled = this.#settled.get(id);
    if (settled?.done || (settled && index > 0)) return this.#refuse('ignored');
    if (index === 0 && !this.#isForUs(part.subarray(0, ENVELOPE_HEAD_BYTES))) {
      this.#settle(id, { atMs: nowMs, done: false });
      return this.#refuse('ignored');
    }
    // A first fragment for us after one that was not: the other was forged.
    this.#settled.delete(id);
    const partial = this.#partials.get(id) ?? this.#begin(id, count, nowMs);
    if (partial.parts.length !== count) return this.#refuse('malformed');
    if (partial.parts[index]) return this.#refuse('ignored');
    partial.parts[index] = Buffer.from(part);
    partial.missing -= 1;
    partial.bytes += part.length;
    this.#bytes += part.length + FRAGMENT_OVERHEAD_BYTES;
    if (partial.bytes > this.#maxEnvelopeBytes) {
      this.#drop(id);
      return this.#refuse('malformed');
    }
    if (partial.missing === 0) return this.#finish(id, partial, nowMs);
    while (this.#bytes > this.#maxBytes) this.#evictOldest();
    return undefined;
  }

  #begin(id: string, count: number, nowMs: number): Partial {
    if (this.#partials.size >= this.#maxPartials) this.#evictOldest();
    const parts = new Array<Buffer | undefined>(count).fill(undefined);
    const partial = { parts, startedMs: nowMs, missing: count, bytes: 0 };
    this.#partials.set(id, partial);
    return partial;
  }

  #finish(id: string, partial: Partial, nowMs: number): Buffer | undefined {
    this.#drop(id);
    const envelope = Buffer.concat(partial.parts as Buffer[]);
    // A wrong part in between: forget all of it, so that a repetition can still bring the right ones.
    if (messageId(envelope).toString('latin1') !== id) return this.#refuse('malformed');
    this.#settle(id, { atMs: nowMs, done: true });
    return envelope;
  }

  /** Remembers that no more fragments of `id` are wanted. */
  #settle(id: string, settled: Settled): void {
    this.#drop(id);
    this.#settled.delete(id);
    this.#settled.set(id, settled);
    if (this.#settled.size > 4 * this.#maxPartials) this.#settled.delete(oldestKey(this.#settled));
  }

  #forgetOld(nowMs: number): void {
    for (const [id, partial] of this.#partials) {
      if (nowMs - partial.startedMs <= this.#maxAgeMs) break;
      this.#stats.evicted += partial.parts.length - partial.missing;
      this.#drop(id);
    }
    for (const [id, { atMs }] of this.#settled) {
      if (nowMs - atMs <= this.#maxAgeMs) break;
      this.#settled.delete(id);
    }
  }

  #evictOldest(): void {
    const id = oldestKey(this.#partials);
    const partial = this.#partials.get(id);
    if (partial) this.#stats.evicted += partial.parts.length - partial.missing;
    this.#drop(id);
  }

  #drop(id: string): void {
    const partial = this.#partials.get(id);
    if (!partial) return;
    this.#partials.delete(id);
    this.#bytes -= partial.bytes + (partial.parts.length - partial.missing) * FRAGMENT_OVERHEAD_BYTES;
  }

  #refuse(reason: keyof ReassemblerStats): undefined {
    this.#stats[reason] += 1;
  }
}

function messageId(envelope: Uint8Array): Buffer {
  return hash('sha256', envelope, 'buffer').subarray(0, ID_BYTES);
}

function oldestKey(map: ReadonlyMap<string, unknown>): string {
  return map.keys().next().value ?? '';
}
