/** Bytes written and not yet acknowledged, addressed by their offset in the stream. */

interface Chunk {
  readonly start: number;
  readonly bytes: Buffer;
}

export class SendBuffer {
  #chunks: Chunk[] = [];
  #released = 0;
  #end = 0;

  /** Offset after the last byte written. */
  get end(): number {
    return this.#end;
  }

  get bytes(): number {
    return this.#end - this.#released;
  }

  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.push({ start: this.#end, bytes: Buffer.from(bytes) });
    this.#end += bytes.length;
  }

  /** At most `length` bytes from `offset`, which has not been released. */
  slice(offset: number, length: number): Buffer {
    const until = Math.min(offset + length, this.#end);
    let index = this.#indexOf(offset);
    const parts: Buffer[] = [];
    for (let at = offset; at < until; index += 1) {
      const chunk = this.#chunks[index] as Chunk;
      const part = chunk.bytes.subarray(at - chunk.start, until - chunk.start);
      parts.push(part);
      at += part.length;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  /** Forgets what lies before `offset`. */
  release(offset: number): void {
    this.#released = Math.min(Math.max(this.#released, offset), this.#end);
    let gone = 0;
    for (const { start, bytes } of this.#chunks) {
      if (start + bytes.length > this.#released) break;
      gone += 1;
    }
    if (gone > 0) this.#chunks.splice(0, gone);
  }

  #indexOf(offset: number): number {
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#chunks[middle] as Chunk).start <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
