/**
 * Which sequence numbers were seen (RFC 4303 §3.4.3), over the last 65,536: more
 * than a full SCTP receive window of the smallest records, so a reliable record
 * that comes late is never mistaken for an old one.
 */

const SIZE = 65_536;

export class SequenceWindow {
  readonly #bits = new Uint32Array(SIZE / 32);
  #highest = -1;

  /** True when `sequence` was not added yet and is not older than the window. */
  isNew(sequence: number): boolean {
    if (sequence > this.#highest) return true;
    if (sequence <= this.#highest - SIZE) return false;
    return !this.#has(sequence);
  }

  /** Records `sequence`, which {@link isNew} admitted. */
  add(sequence: number): void {
    if (sequence > this.#highest) {
      const cleared = Math.min(sequence - this.#highest, SIZE);
      for (let index = 1; index <= cleared; index += 1) this.#clear(sequence - cleared + index);
      this.#highest = sequence;
    }
    const slot = sequence % SIZE;
    this.#bits[slot >>> 5] = (this.#bits[slot >>> 5] as number) | (1 << (slot & 31));
  }

  #has(sequence: number): boolean {
    const slot = sequence % SIZE;
    return ((this.#bits[slot >>> 5] as number) & (1 << (slot & 31))) !== 0;
  }

  #clear(sequence: number): void {
    const slot = sequence % SIZE;
    this.#bits[slot >>> 5] = (this.#bits[slot >>> 5] as number) & ~(1 << (slot & 31));
  }
}
