/**
 * Puts handshake messages together from fragments that come lost, doubled, out of
 * order and overlapping (RFC 6347 §4.2.3, RFC 9147 §5.5). Memory is bounded: a few
 * messages ahead, each of bounded length, each of a bounded number of pieces.
 */

import type { Fragment, HandshakeMessage } from './handshake-message.ts';

/** How many messages are held beside the next one. The longest flight has six. */
const WINDOW = 8;
const MAX_PIECES = 32;

interface Slot {
  readonly type: number;
  readonly epoch: number;
  readonly body: Buffer;
  /** Disjoint ranges that have come, in order; touching ones are one. */
  pieces: { start: number; end: number }[];
}

export type FragmentFate = 'kept' | 'duplicate' | 'dropped';

export class Reassembler {
  readonly #slots = new Map<number, Slot>();
  #next = 0;
  #minEpoch = 0;

  /** message_seq of the message that is due. */
  get next(): number {
    return this.#next;
  }

  /** True while any part of a message is held that cannot be taken yet. */
  get hasParts(): boolean {
    return this.#slots.size > 0;
  }

  /** From now on messages must be protected by `epoch` or a later one; parts that were not are dropped. */
  requireEpoch(epoch: number): void {
    this.#minEpoch = epoch;
    for (const [sequence, slot] of this.#slots) if (slot.epoch < epoch) this.#slots.delete(sequence);
  }

  /** Tells a fragment of a message that was taken already (`duplicate`) from one that makes no sense (`dropped`). */
  add(fragment: Fragment, epoch: number): FragmentFate {
    const { sequence, type, length } = fragment;
    if (sequence < this.#next) return 'duplicate';
    if (sequence >= this.#next + WINDOW || epoch < this.#minEpoch) return 'dropped';
    let slot = this.#slots.get(sequence);
    if (!slot) {
      slot = { type, epoch, body: Buffer.alloc(length), pieces: [] };
      this.#slots.set(sequence, slot);
    }
    if (slot.type !== type || slot.body.length !== length || slot.epoch !== epoch) return 'dropped';
    return insert(slot, fragment) ? 'kept' : 'dropped';
  }

  /** The message that is due, when it is whole. */
  take(): HandshakeMessage | undefined {
    const slot = this.#slots.get(this.#next);
    if (!slot || !isWhole(slot)) return undefined;
    const sequence = this.#next;
    this.#slots.delete(sequence);
    this.#next += 1;
    return { type: slot.type, sequence, body: slot.body };
  }

  clear(): void {
    this.#slots.clear();
  }
}

function isWhole({ pieces, body }: Slot): boolean {
  const [first] = pieces;
  return first !== undefined && first.start === 0 && first.end === body.length;
}

/** False when the fragment disagrees with what came before, or is one piece too many. */
function insert(slot: Slot, { offset, bytes }: Fragment): boolean {
  let start = offset;
  let end = offset + bytes.length;
  const apart: { start: number; end: number }[] = [];
  for (const piece of slot.pieces) {
    if (piece.end < start || piece.start > end) {
      apart.push(piece);
      continue;
    }
    const from = Math.max(piece.start, offset);
    const to = Math.min(piece.end, offset + bytes.length);
    if (to > from && !slot.body.subarray(from, to).equals(bytes.subarray(from - offset, to - offset))) return false;
    start = Math.min(start, piece.start);
    end = Math.max(end, piece.end);
  }
  if (apart.length >= MAX_PIECES) return false;
  bytes.copy(slot.body, offset);
  slot.pieces = [...apart, { start, end }].toSorted((a, b) => a.start - b.start);
  return true;
}
