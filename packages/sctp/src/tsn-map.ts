/**
 * Which TSNs have arrived, as a ring of bits above the cumulative TSN: O(1) to add,
 * a word at a time to list the gaps. Grows with the gap it has to span, to 65,536
 * TSNs, the reach of a gap block; what lies beyond is refused.
 */

import { writeU16 } from './byte-order.ts';
import { distance, isAfter } from './serial.ts';

const INITIAL_BITS = 256;
const MAX_BITS = 65_536;

export type Arrival = 'next' | 'gap' | 'fill' | 'duplicate' | 'outside';

export class TsnMap {
  /** Every TSN up to here has arrived or was skipped. */
  cumulativeTsn: number;
  /** Highest TSN that has arrived. */
  highestTsn: number;
  #words = new Uint32Array(INITIAL_BITS / 32);

  constructor(initialTsn: number) {
    this.cumulativeTsn = (initialTsn - 1) >>> 0;
    this.highestTsn = this.cumulativeTsn;
  }

  get hasGaps(): boolean {
    return this.highestTsn !== this.cumulativeTsn;
  }

  /** What the arrival of `tsn` would be; changes nothing. */
  judge(tsn: number): Arrival {
    if (!isAfter(tsn, this.cumulativeTsn)) return 'duplicate';
    if (distance(tsn, this.cumulativeTsn) >= MAX_BITS) return 'outside';
    if (isAfter(tsn, this.highestTsn)) return tsn === (this.highestTsn + 1) >>> 0 ? 'next' : 'gap';
    return this.#has(tsn) ? 'duplicate' : 'fill';
  }

  /** Notes the arrival of a TSN judged neither duplicate nor outside. */
  add(tsn: number): void {
    if (isAfter(tsn, this.highestTsn)) this.highestTsn = tsn;
    if (tsn === (this.cumulativeTsn + 1) >>> 0) {
      this.cumulativeTsn = tsn;
      if (tsn !== this.highestTsn) this.#absorb();
      return;
    }
    const span = distance(tsn, this.cumulativeTsn);
    if (span >= this.#words.length * 32) this.#grow(span);
    const bit = tsn & (this.#words.length * 32 - 1);
    this.#words[bit >>> 5] = (this.#words[bit >>> 5] as number) | (1 << (bit & 31));
  }

  /** The peer gave up everything to `tsn` (RFC 3758 §3.6). */
  skipTo(tsn: number): void {
    if (!isAfter(tsn, this.cumulativeTsn)) return;
    if (!isAfter(this.highestTsn, tsn)) {
      this.#words.fill(0);
      this.cumulativeTsn = tsn;
      this.highestTsn = tsn;
      return;
    }
    while (this.cumulativeTsn !== tsn) {
      this.cumulativeTsn = (this.cumulativeTsn + 1) >>> 0;
      this.#clear(this.cumulativeTsn);
    }
    this.#absorb();
  }

  /** Writes up to `maxBlocks` gap blocks of a SACK at `at`; returns how many. */
  writeGaps(bytes: Uint8Array, at: number, maxBlocks: number): number {
    let count = 0;
    let end = this.cumulativeTsn;
    while (count < maxBlocks && isAfter(this.highestTsn, end)) {
      const start = this.#find(true, (end + 1) >>> 0);
      if (isAfter(start, this.highestTsn)) break;
      end = (this.#find(false, start) - 1) >>> 0;
      writeU16(bytes, at + 4 * count, distance(start, this.cumulativeTsn));
      writeU16(bytes, at + 4 * count + 2, distance(end, this.cumulativeTsn));
      count++;
    }
    return count;
  }

  #has(tsn: number): boolean {
    const bit = tsn & (this.#words.length * 32 - 1);
    return (((this.#words[bit >>> 5] as number) >>> (bit & 31)) & 1) === 1;
  }

  #clear(tsn: number): void {
    const bit = tsn & (this.#words.length * 32 - 1);
    this.#words[bit >>> 5] = (this.#words[bit >>> 5] as number) & ~(1 << (bit & 31));
  }

  /** Moves the cumulative TSN over what has arrived above it. */
  #absorb(): void {
    for (let next = (this.cumulativeTsn + 1) >>> 0; this.cumulativeTsn !== this.highestTsn && this.#has(next); ) {
      this.#clear(next);
      this.cumulativeTsn = next;
      next = (next + 1) >>> 0;
    }
  }

  /** The first TSN from `from` on that has arrived, or has not; at most one past the highest. */
  #find(hasArrived: boolean, from: number): number {
    const end = (this.highestTsn + 1) >>> 0;
    const skippable = hasArrived ? 0 : 0xffffffff;
    let tsn = from;
    while (tsn !== end) {
      if ((tsn & 31) === 0 && distance(end, tsn) >= 32) {
        const word = this.#words[(tsn & (this.#words.length * 32 - 1)) >>> 5];
        if (word === skippable) {
          tsn = (tsn + 32) >>> 0;
          continue;
        }
      }
      if (this.#has(tsn) === hasArrived) break;
      tsn = (tsn + 1) >>> 0;
    }
    return tsn;
  }

  #grow(span: number): void {
    let bits = this.#words.length * 32;
    while (bits <= span) bits *= 2;
    const old = this.#words;
    const oldMask = old.length * 32 - 1;
    this.#words = new Uint32Array(bits / 32);
    for (let offset = 2; offset <= oldMask; offset++) {
      const tsn = (this.cumulativeTsn + offset) >>> 0;
      const bit = tsn & oldMask;
      if (((old[bit >>> 5] as number) >>> (bit & 31)) & 1) {
        const place = tsn & (bits - 1);
        this.#words[place >>> 5] = (this.#words[place >>> 5] as number) | (1 << (place & 31));
      }
    }
  }
}
