/** Bytes that came, put in order. What was read makes room in the window; what came out of order counts when the gap closes. */

interface Piece {
  readonly start: number;
  readonly bytes: Buffer;
}

export class ReceiveBuffer {
  readonly #capacity: number;
  readonly #ready: Buffer[] = [];
  #early: Piece[] = [];
  #readyBytes = 0;
  #next = 0;

  constructor(capacityBytes: number) {
    this.#capacity = capacityBytes;
  }

  /** Offset of the first byte that is missing. */
  get next(): number {
    return this.#next;
  }

  get window(): number {
    return this.#capacity - this.#readyBytes;
  }

  get hasGap(): boolean {
    return this.#early.length > 0;
  }

  /** True when `bytes` at `start` were the next ones missing. */
  insert(start: number, bytes: Buffer): boolean {
    const skip = Math.max(0, this.#next - start);
    const room = this.#next + this.window - start;
    const piece = { start: start + skip, bytes: bytes.subarray(skip, Math.max(skip, room)) };
    if (piece.bytes.length === 0) return false;
    if (piece.start > this.#next) {
      this.#keepEarly(piece);
      return false;
    }
    this.#accept(piece.bytes);
    this.#closeGaps();
    return true;
  }

  read(): Buffer | undefined {
    const bytes = this.#ready.shift();
    this.#readyBytes -= bytes?.length ?? 0;
    return bytes;
  }

  #keepEarly(piece: Piece): void {
    const at = this.#early.findIndex((other) => other.start >= piece.start);
    if (at < 0) this.#early.push(piece);
    else if ((this.#early[at] as Piece).start > piece.start) this.#early.splice(at, 0, piece);
    else if ((this.#early[at] as Piece).bytes.length < piece.bytes.length) this.#early[at] = piece;
  }

  #closeGaps(): void {
    let used = 0;
    for (const { start, bytes } of this.#early) {
      if (start > this.#next) break;
      used += 1;
      if (start + bytes.length > this.#next) this.#accept(bytes.subarray(this.#next - start));
    }
    if (used > 0) this.#early = this.#early.slice(used);
  }

  #accept(bytes: Buffer): void {
    this.#ready.push(bytes);
    this.#readyBytes += bytes.length;
    this.#next += bytes.length;
  }
}
