/**
 * Sends a flight until it is answered (RFC 6347 §4.2.4, RFC 9147 §5.8): cuts it
 * into fragments, packs encrypted ones into one record and records into datagrams, repeats what is not acknowledged with
 * a timeout that doubles, and stops where the amplification limit does.
 */

import type { RecordNumber } from './acknowledgement.ts';
import type { AmplificationLimit } from './amplification.ts';
import { FRAGMENT_HEADER_BYTES, type HandshakeMessage, writeFragmentHeader } from './handshake-message.ts';
import type { RecordLayer } from './record-layer.ts';
import { contentType } from './registry.ts';

export interface FlightItem {
  readonly epoch: number;
  /** Nothing stands for a ChangeCipherSpec. */
  readonly message: HandshakeMessage | undefined;
}

export interface FlightSenderOptions {
  readonly records: RecordLayer;
  readonly limit: AmplificationLimit;
  readonly sendFlight: (datagrams: readonly Buffer[]) => void;
  /** Largest datagram. */
  readonly mtuBytes: number;
  /** First timeout of a flight. */
  readonly initialTimeoutMs: number;
}

interface Piece {
  readonly epoch: number;
  readonly type: number;
  readonly content: Buffer;
  acknowledged: boolean;
  /** Numbers of the records that carried it. */
  readonly sequences: number[];
}

const MAX_TIMEOUT_MS = 60_000;
/** A fragment that carries fewer bytes than this is not worth its headers. */
const MIN_FRAGMENT_BYTES = 32;
/** Of a piece's records only the last few can still be acknowledged in time. */
const MAX_SEQUENCES = 16;
const CHANGE_CIPHER_SPEC = Buffer.from([1]);

export class FlightSender {
  readonly #options: FlightSenderOptions;
  #pieces: Piece[] = [];
  /** Where sending goes on; at the end all has been sent. */
  #cursor = 0;
  #initialTimeoutMs: number;
  #timeoutMs: number;
  #repeated = false;
  #sentAtMs = 0;
  /** When the flight is due again. */
  deadlineMs: number | undefined;

  constructor(options: FlightSenderOptions) {
    this.#options = options;
    this.#initialTimeoutMs = options.initialTimeoutMs;
    this.#timeoutMs = options.initialTimeoutMs;
  }

  /** For the flights to come. */
  set initialTimeoutMs(timeoutMs: number) {
    this.#initialTimeoutMs = timeoutMs;
  }

  /** True while a part of the flight is neither acknowledged nor answered. */
  get isOutstanding(): boolean {
    return this.#pieces.some((piece) => !piece.acknowledged);
  }

  get timeoutMs(): number {
    return this.#timeoutMs;
  }

  /** Sends a flight in place of the one before. `awaitsReply` is false for the last one of DTLS 1.2. */
  begin(items: readonly FlightItem[], nowMs: number, awaitsReply: boolean): void {
    // RFC 9147 §5.8.2: a timeout that was doubled stays, until a flight needs no repetition.
    if (!this.#repeated) this.#timeoutMs = this.#initialTimeoutMs;
    this.#repeated = false;
    this.#pieces = this.#join(items.flatMap((item) => this.#cut(item)));
    this.#cursor = 0;
    this.deadlineMs = awaitsReply ? nowMs + this.#timeoutMs : undefined;
    this.resume(nowMs);
  }

  /** Forgets the flight: it was answered, or the connection is over. */
  clear(): void {
    this.#pieces = [];
    this.#cursor = 0;
    this.deadlineMs = undefined;
  }

  /** Sends what the amplification limit held back, when it now allows. */
  resume(nowMs: number): void {
    const datagrams: Buffer[] = [];
    while (this.#cursor < this.#pieces.length) {
      const datagram = this.#fillDatagram();
      if (!datagram) break;
      datagrams.push(datagram);
    }
    if (datagrams.length === 0) return;
    this.#sentAtMs = nowMs;
    this.#options.sendFlight(datagrams);
  }

  onTimeout(nowMs: number): void {
    if (this.deadlineMs === undefined || nowMs < this.deadlineMs) return;
    this.#timeoutMs = Math.min(this.#timeoutMs * 2, MAX_TIMEOUT_MS);
    this.deadlineMs = nowMs + this.#timeoutMs;
    this.#repeat(nowMs);
  }

  /** The peer repeats its own flight, so ours was lost. Too soon after the last time it was just slow. */
  onPeerRepeats(nowMs: number): void {
    if (nowMs - this.#sentAtMs >= this.#initialTimeoutMs / 2) this.#repeat(nowMs);
  }

  /** Takes note of an ACK and repeats what it leaves out. True when it was the whole flight's last. */
  acknowledge(numbers: readonly RecordNumber[], nowMs: number): boolean {
    if (!this.isOutstanding) return false;
    let progress = false;
    for (const piece of this.#pieces) {
      if (
        piece.acknowledged ||
        !numbers.some((one) => one.epoch === piece.epoch && piece.sequences.includes(one.sequence))
      )
        continue;
      piece.acknowledged = true;
      progress = true;
    }
    // An ACK names the record that arrived, so the path is known to work: there is nothing left to be careful about.
    if (progress) this.#timeoutMs = this.#initialTimeoutMs;
    if (!this.isOutstanding) {
      this.clear();
      return true;
    }
    if (progress && nowMs - this.#sentAtMs >= this.#initialTimeoutMs / 4) this.#repeat(nowMs);
    return false;
  }

  #repeat(nowMs: number): void {
    this.#repeated = true;
    if (this.#cursor >= this.#pieces.length) this.#cursor = 0;
    this.resume(nowMs);
  }

  /** One datagram from the cursor on; none when the limit does not allow it. */
  #fillDatagram(): Buffer | undefined {
    const { records, limit, mtuBytes } = this.#options;
    const room = Math.min(mtuBytes, limit.allowance);
    const out = Buffer.allocUnsafeSlow(mtuBytes); // it may be kept for a while
    let end = 0;
    for (; this.#cursor < this.#pieces.length; this.#cursor++) {
      const piece = this.#pieces[this.#cursor] as Piece;
      if (piece.acknowledged) continue;
      if (end + piece.content.length + records.overheadBytes(piece.epoch) > room) break;
      if (piece.sequences.length >= MAX_SEQUENCES) piece.sequences.shift();
      piece.sequences.push(records.nextSequence(piece.epoch));
      end = records.write(piece.epoch, piece.type, piece.content, out, end);
    }
    if (end === 0) return undefined;
    limit.sent(end);
    return out.subarray(0, end);
  }

  /** Messages that share a datagram share its record (RFC 9147 §5.5): each record costs both sides two ciphers. */
  #join(pieces: readonly Piece[]): Piece[] {
    const { records, mtuBytes } = this.#options;
    const joined: Piece[] = [];
    let datagramBytes = 0;
    for (const piece of pieces) {
      const last = joined.at(-1);
      const fits = datagramBytes + piece.content.length <= mtuBytes;
      if (last && last.epoch > 0 && last.epoch === piece.epoch && last.type === piece.type && fits) {
        joined[joined.length - 1] = { ...last, content: Buffer.concat([last.content, piece.content]) };
        datagramBytes += piece.content.length;
        continue;
      }
      const bytes = piece.content.length + records.overheadBytes(piece.epoch);
      datagramBytes = datagramBytes + bytes <= mtuBytes ? datagramBytes + bytes : bytes;
      joined.push(piece);
    }
    return joined;
  }

  #cut({ epoch, message }: FlightItem): Piece[] {
    const piece = (type: number, content: Buffer): Piece => ({
      epoch,
      type,
      content,
      acknowledged: false,
      sequences: [],
    });
    if (!message) return [piece(contentType.changeCipherSpec, CHANGE_CIPHER_SPEC)];
    const overhead = this.#options.records.overheadBytes(epoch) + FRAGMENT_HEADER_BYTES;
    const most = Math.max(this.#options.mtuBytes - overhead, MIN_FRAGMENT_BYTES);
    const pieces: Piece[] = [];
    let offset = 0;
    do {
      const length = Math.min(most, message.body.length - offset);
      const content = Buffer.allocUnsafe(FRAGMENT_HEADER_BYTES + length);
      writeFragmentHeader(content, message, offset, length);
      message.body.copy(content, FRAGMENT_HEADER_BYTES, offset, offset + length);
      pieces.push(piece(contentType.handshake, content));
      offset += length;
    } while (offset < message.body.length);
    return pieces;
  }
}
