/**
 * Which record numbers of one epoch have come, as a ring of bits (RFC 6479; the
 * window of RFC 9147 §4.5.1). Only a record that proved authentic is marked.
 */

const WORDS = 32;
const BITS = 32;

export class ReplayWindow {
  /** A number this far below the highest, or farther, counts as seen. One word is always being cleared. */
  static readonly size = (WORDS - 1) * BITS;

  readonly #words = new Uint32Array(WORDS);
  #highest = -1;

  /** The highest number marked; -1 before the first. */
  get highest(): number {
    return this.#highest;
  }

  isNew(sequence: number): boolean {
    if (sequence > this.#highest) return true;
    if (this.#highest - sequence >= ReplayWindow.size) return false;
    const word = this.#words[Math.floor(sequence / BITS) % WORDS] as number;
    return ((word >>> (sequence % BITS)) & 1) === 0;
  }

  /** Call for a number that {@link isNew} accepted. */
  mark(sequence: number): void {
    const index = Math.floor(sequence / BITS);
    if (sequence > this.#highest) {
      const last = this.#highest < 0 ? -1 : Math.floor(this.#highest / BITS);
      const cleared = Math.min(index - last, WORDS);
      for (let i = 0; i < cleared; i++) this.#words[(index - i) % WORDS] = 0;
      this.#highest = sequence;
    }
    const slot = index % WORDS;
    this.#words[slot] = (this.#words[slot] as number) | (1 << (sequence % BITS));
  }
}
