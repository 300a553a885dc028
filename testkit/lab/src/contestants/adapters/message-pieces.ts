/**
 * Messages in pieces that fit one packet, for contestants that have datagrams
 * only. A piece: mark u8, message u32, index u8, count u8, bytes. A message of
 * which a piece is lost never comes together.
 */

/** No STUN message and no traffic of the reference peer begins with it. */
export const PIECE_MARK = 0xd0;

const HEAD_BYTES = 7;
const PIECE_BYTES = 1150;
/** Messages that wait for pieces; beyond, the oldest is given up. */
const MAX_OPEN = 32;

export function* piecesOf(message: number, bytes: Buffer): Generator<Buffer> {
  const count = Math.max(1, Math.ceil(bytes.length / PIECE_BYTES));
  for (let index = 0; index < count; index += 1) {
    const head = Buffer.alloc(HEAD_BYTES);
    head[0] = PIECE_MARK;
    head.writeUInt32LE(message, 1);
    head[5] = index;
    head[6] = count;
    yield Buffer.concat([head, bytes.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES)]);
  }
}

export class MessagePieces {
  readonly #open = new Map<number, (Buffer | undefined)[]>();

  /** The message that this piece completes. */
  add(piece: Buffer): Buffer | undefined {
    const [index = 0, count = 0] = [piece[5], piece[6]];
    if (piece.length < HEAD_BYTES || index >= count) return undefined;
    const message = piece.readUInt32LE(1);
    const pieces = this.#open.get(message) ?? new Array<undefined>(count).fill(undefined);
    if (index < pieces.length) pieces[index] = piece.subarray(HEAD_BYTES);
    this.#open.set(message, pieces);
    if (pieces.every((one) => one !== undefined)) {
      this.#open.delete(message);
      return Buffer.concat(pieces);
    }
    const [oldest] = this.#open.keys();
    if (this.#open.size > MAX_OPEN && oldest !== undefined) this.#open.delete(oldest);
    return undefined;
  }
}
