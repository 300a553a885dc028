/**
 * Data chunks in pieces: the way out when a path begins to carry smaller packets
 * than those that chunks already sent were cut for. SCTP itself cannot cut them
 * anew (RFC 9260 §6.9 leaves that to IP). Only between two that list the chunk type
 * among their extensions (RFC 5061 §4.2.7); its highest bits tell others to skip it.
 *
 *   type 161 │ flags of the data chunk │ length u16 │ TSN u32 │ index u16 │ count u16 │ bytes
 *
 * The bytes are the body of the DATA or I-DATA chunk after its TSN, 224 to a piece and
 * the rest in the last, so that the smallest packet takes two. Together they are that
 * chunk and nothing else: the same checks, windows and acknowledgements.
 */

import { readU16, readU32, writeU16, writeU32 } from './byte-order.ts';
import { CHUNK_HEADER_BYTES, ChunkType } from './chunk-types.ts';
import type { PacketWriter } from './packet-writer.ts';
import { isAfter } from './serial.ts';

const PIECE_BYTES = 224;
const HEADER_BYTES = 8;
const TSN_BYTES = 4;
const MAX_PIECES = Math.ceil((0xffff - CHUNK_HEADER_BYTES - TSN_BYTES) / PIECE_BYTES);
/** Four greatest chunks, or many small ones: a sender cuts one after the other, but packets overtake each other. */
const MAX_HELD_BYTES = 4 * (TSN_BYTES + MAX_PIECES * PIECE_BYTES);
const NO_BYTES = Buffer.alloc(0);

/** Cuts one chunk at a time. */
export class PieceCutter {
  /** The chunk that is being cut, undefined when none is. */
  tsn: number | undefined = undefined;
  /** The largest packet that was filled with its pieces. */
  largestPacketBytes = 0;
  #flags = 0;
  /** As it is on the wire, TSN first. */
  #body: Buffer = NO_BYTES;
  #index = 0;

  begin(flags: number, body: Buffer): void {
    this.tsn = readU32(body, 0);
    this.largestPacketBytes = 0;
    this.#flags = flags;
    this.#body = body;
    this.#index = 0;
  }

  /** Adds the next pieces while there is room; true once the last one is in. */
  write(writer: PacketWriter): boolean {
    const body = this.#body;
    for (let at = TSN_BYTES + this.#index * PIECE_BYTES; at < body.length; at += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, body.length - at);
      if (CHUNK_HEADER_BYTES + HEADER_BYTES + length > writer.roomBytes) {
        this.largestPacketBytes = Math.max(this.largestPacketBytes, writer.length);
        return false;
      }
      const pieceAt = writer.addChunk(ChunkType.piece, this.#flags, HEADER_BYTES + length);
      body.copy(writer.bytes, pieceAt, 0, TSN_BYTES);
      writeU16(writer.bytes, pieceAt + 4, this.#index++);
      writeU16(writer.bytes, pieceAt + 6, Math.ceil((body.length - TSN_BYTES) / PIECE_BYTES));
      body.copy(writer.bytes, pieceAt + HEADER_BYTES, at, at + length);
    }
    this.tsn = undefined;
    this.#body = NO_BYTES;
    return true;
  }
}

export interface Piece {
  readonly tsn: number;
  readonly index: number;
  /** Of the pieces that the chunk was cut into. */
  readonly count: number;
  readonly bytes: Buffer;
}

/** Reads the body of a piece; `undefined` when it is malformed. A view, not a copy. */
export function readPiece(body: Buffer): Piece | undefined {
  if (body.length <= HEADER_BYTES) return undefined;
  const [tsn, index, count] = [readU32(body, 0), readU16(body, 4), readU16(body, 6)];
  const bytes = body.subarray(HEADER_BYTES);
  if (index >= count || count > MAX_PIECES) return undefined;
  const isRightSize = index < count - 1 ? bytes.length === PIECE_BYTES : bytes.length <= PIECE_BYTES;
  return isRightSize ? { tsn, index, count, bytes } : undefined;
}

interface Pieces {
  /** The body to be, TSN first. */
  readonly body: Buffer;
  readonly has: Uint8Array;
  missing: number;
  lastBytes: number;
}

/** Joins pieces to chunks, holding the newest ones within a bound. */
export class PieceJoiner {
  readonly #chunks = new Map<number, Pieces>();
  #heldBytes = 0;

  /** Returns the body of the data chunk once it is whole. */
  add({ tsn, index, count, bytes }: Piece): Buffer | undefined {
    const known = this.#chunks.get(tsn);
    const chunk = known?.has.length === count ? known : this.#begin(tsn, count);
    if (chunk.has[index]) return undefined;
    chunk.has[index] = 1;
    chunk.body.set(bytes, TSN_BYTES + index * PIECE_BYTES);
    if (index === count - 1) chunk.lastBytes = bytes.length;
    if (--chunk.missing > 0) return undefined;
    this.#drop(tsn, chunk);
    return chunk.body.subarray(0, chunk.body.length - PIECE_BYTES + chunk.lastBytes);
  }

  /** Everything up to `cumulativeTsn` has arrived, or will not be sent any more. */
  dropThrough(cumulativeTsn: number): void {
    if (this.#chunks.size === 0) return;
    for (const [tsn, chunk] of this.#chunks) if (!isAfter(tsn, cumulativeTsn)) this.#drop(tsn, chunk);
  }

  #begin(tsn: number, count: number): Pieces {
    const body = Buffer.allocUnsafeSlow(TSN_BYTES + count * PIECE_BYTES);
    writeU32(body, 0, tsn);
    const old = this.#chunks.get(tsn);
    if (old) this.#drop(tsn, old);
    for (const [oldest, each] of this.#chunks) {
      if (this.#heldBytes + body.length <= MAX_HELD_BYTES) break;
      this.#drop(oldest, each);
    }
    const chunk = { body, has: new Uint8Array(count), missing: count, lastBytes: 0 };
    this.#chunks.set(tsn, chunk);
    this.#heldBytes += body.length;
    return chunk;
  }

  #drop(tsn: number, chunk: Pieces): void {
    this.#chunks.delete(tsn);
    this.#heldBytes -= chunk.body.length;
  }
}
