/**
 * The sending half of a connection. Offsets count from the SYN: it has offset
 * 0, the first byte 1, the FIN the one after the last byte. Everything before
 * `acknowledged` has arrived; a timeout sends again from there (RFC 9293, 6298).
 */

import type { Timer } from '@claw/base';
import { CongestionWindow } from './congestion-window.ts';
import { RetransmissionTimeout } from './retransmission-timeout.ts';
import { SendBuffer } from './send-buffer.ts';

export interface SenderPort {
  nowMs(): number;
  setTimer(delayMs: number, fire: () => void): Timer;
  /** Data, empty for a SYN or a lone FIN. */
  transmit(
    offset: number,
    data: Buffer,
    flags: { readonly syn: boolean; readonly fin: boolean; readonly push: boolean },
  ): void;
  /** Nothing was acknowledged for too long. */
  giveUp(): void;
}

interface SentSegment {
  readonly end: number;
  readonly sentAtMs: number;
}

const DUPLICATE_ACKS = 3;
const ROUNDING_MS = 1e-6;
const EMPTY = Buffer.alloc(0);

export class Sender {
  readonly #port: SenderPort;
  readonly #buffer = new SendBuffer();
  readonly #timeout = new RetransmissionTimeout();
  readonly #giveUpAfterMs: { readonly syn: number; readonly data: number };
  #congestion: CongestionWindow;
  #segmentBytes: number;
  #timer: Timer | undefined;
  #sent: SentSegment[] = [];
  #acknowledged = 0;
  #next = 0;
  #sentUpTo = 0;
  #peerWindow = 1;
  #duplicates = 0;
  #noRecoveryBefore = 0;
  #waitingSinceMs = 0;
  #isOpen = false;
  #isEnded = false;

  constructor(port: SenderPort, segmentBytes: number, giveUpAfterMs: { readonly syn: number; readonly data: number }) {
    this.#port = port;
    this.#segmentBytes = segmentBytes;
    this.#giveUpAfterMs = giveUpAfterMs;
    this.#congestion = new CongestionWindow(segmentBytes);
  }

  get acknowledgedUpTo(): number {
    return this.#acknowledged;
  }

  get sentUpTo(): number {
    return this.#sentUpTo;
  }

  get next(): number {
    return this.#next;
  }

  get bufferedBytes(): number {
    return this.#buffer.bytes;
  }

  get isFinAcknowledged(): boolean {
    return this.#isEnded && this.#acknowledged > this.#finOffset;
  }

  get #finOffset(): number {
    return 1 + this.#buffer.end;
  }

  /** RFC 3042: the first two duplicate acknowledgements let one new segment out each. */
  get #limitedTransmitBytes(): number {
    return this.#congestion.isRecovering ? 0 : Math.min(this.#duplicates, 2) * this.#segmentBytes;
  }

  get #hasMore(): boolean {
    return this.#next < this.#finOffset || (this.#isEnded && this.#next === this.#finOffset);
  }

  sendSyn(): void {
    this.#waitingSinceMs = this.#port.nowMs();
    this.#next = 0;
    this.#emit(0);
  }

  /** The handshake is done: data may flow. */
  open(): void {
    this.#isOpen = true;
    this.push();
  }

  write(bytes: Uint8Array): void {
    this.#buffer.append(bytes);
    this.push();
  }

  /** A FIN follows the last byte. */
  end(): void {
    this.#isEnded = true;
    this.push();
  }

  setSegmentBytes(segmentBytes: number): void {
    this.#segmentBytes = segmentBytes;
    this.#congestion.setSegmentBytes(segmentBytes);
  }

  /** Before anything was sent but the SYN. */
  limitSegmentBytes(segmentBytes: number): void {
    if (segmentBytes >= this.#segmentBytes) return;
    this.#segmentBytes = segmentBytes;
    this.#congestion = new CongestionWindow(segmentBytes);
  }

  /** Sends again all that is on its way, after the path turned out to take smaller packets only. */
  resend(): void {
    this.#sent = [];
    this.#next = this.#acknowledged;
    this.push();
  }

  setPeerWindow(bytes: number): void {
    const wasClosed = this.#peerWindow === 0;
    this.#peerWindow = bytes;
    if (wasClosed && bytes > 0) {
      this.#stopTimer();
      this.#next = this.#acknowledged;
    }
    this.push();
  }

  /** `offset` is what the peer wants next; `isBare` means that the segment said nothing else. */
  acknowledge(offset: number, isBare: boolean): void {
    if (offset > this.#acknowledged) this.#advance(offset);
    else if (offset === this.#acknowledged && isBare && this.#sentUpTo > this.#acknowledged) this.#noteDuplicate();
  }

  stop(): void {
    this.#stopTimer();
    this.#sent = [];
  }

  push(): void {
    if (!this.#isOpen) return;
    while (this.#hasMore) {
      const flight = this.#next - this.#acknowledged;
      const room = Math.min(this.#congestion.bytes + this.#limitedTransmitBytes, this.#peerWindow) - flight;
      const left = this.#finOffset - this.#next;
      const length = Math.min(this.#segmentBytes, left, room);
      // A lone FIN needs no room; a short segment goes only when it is the rest or nothing is on its way.
      if (left > 0 && (length <= 0 || (length < this.#segmentBytes && length < left && flight > 0))) break;
      this.#emit(Math.max(0, length));
    }
    if (!this.#timer && this.#hasMore) this.#startTimer();
  }

  #advance(offset: number): void {
    const acked = offset - this.#acknowledged;
    const { nowMs } = this.#port;
    this.#measure(offset, nowMs());
    this.#acknowledged = offset;
    this.#next = Math.max(this.#next, offset);
    this.#buffer.release(offset - 1);
    this.#duplicates = 0;
    this.#waitingSinceMs = nowMs();
    const isHole = this.#congestion.acknowledged(offset, acked, this.#next - offset);
    this.#stopTimer();
    if (isHole) this.#repeatFirst();
    if (!this.#timer && this.#acknowledged < this.#sentUpTo) this.#startTimer();
    this.push();
  }

  #noteDuplicate(): void {
    this.#duplicates += 1;
    if (this.#congestion.isRecovering) {
      this.#congestion.inflate();
    } else if (this.#duplicates === DUPLICATE_ACKS && this.#acknowledged >= this.#noRecoveryBefore) {
      this.#congestion.enterRecovery(this.#next - this.#acknowledged, this.#sentUpTo);
      this.#repeatFirst();
    }
    this.push();
  }

  /** The round trip of the last segment acknowledged, unless it was sent twice (Karn). */
  #measure(offset: number, nowMs: number): void {
    let gone = 0;
    while (gone < this.#sent.length && (this.#sent[gone] as SentSegment).end <= offset) gone += 1;
    const last = this.#sent[gone - 1];
    if (!last) return;
    this.#timeout.sample(nowMs - last.sentAtMs);
    this.#congestion.roundTripMeasured(nowMs - last.sentAtMs, this.#timeout.minRoundTripMs);
    this.#sent.splice(0, gone);
  }

  #repeatFirst(): void {
    this.#sent = [];
    const next = this.#next;
    this.#next = this.#acknowledged;
    this.#emit(Math.min(this.#segmentBytes, this.#finOffset - this.#next));
    this.#next = Math.max(next, this.#next);
  }

  /** Sends `length` bytes from `next`, with SYN or FIN where they belong. */
  #emit(length: number): void {
    const offset = this.#next;
    const syn = offset === 0;
    const data = syn || length === 0 ? EMPTY : this.#buffer.slice(offset - 1, length);
    const dataEnd = offset + data.length;
    const fin = !syn && this.#isEnded && dataEnd === this.#finOffset;
    this.#next = dataEnd + (syn || fin ? 1 : 0);
    if (this.#next > this.#sentUpTo) {
      if (offset >= this.#sentUpTo) this.#sent.push({ end: this.#next, sentAtMs: this.#port.nowMs() });
      if (this.#acknowledged === this.#sentUpTo) this.#waitingSinceMs = this.#port.nowMs();
      this.#sentUpTo = this.#next;
    }
    if (!this.#timer) this.#startTimer();
    this.#port.transmit(offset, data, { syn, fin, push: dataEnd === this.#finOffset });
  }

  #startTimer(): void {
    const leftMs = this.#waitingSinceMs + this.#giveUpAfterMs.syn - this.#port.nowMs();
    const delayMs = this.#isOpen ? this.#timeout.ms : Math.min(this.#timeout.ms, leftMs);
    this.#timer = this.#port.setTimer(delayMs, () => {
      this.#timer = undefined;
      this.#timedOut();
    });
  }

  #timedOut(): void {
    const limitMs = this.#isOpen ? this.#giveUpAfterMs.data : this.#giveUpAfterMs.syn;
    const isProbe = this.#isOpen && this.#peerWindow === 0;
    if (this.#acknowledged === this.#sentUpTo && !isProbe) return this.push();
    if (!isProbe && this.#port.nowMs() - this.#waitingSinceMs >= limitMs - ROUNDING_MS) return this.#port.giveUp();
    this.#timeout.backOff();
    this.#sent = [];
    if (!isProbe) this.#congestion.timedOut(this.#sentUpTo - this.#acknowledged);
    this.#duplicates = 0;
    this.#noRecoveryBefore = this.#sentUpTo;
    this.#next = this.#acknowledged;
    // A closed window is probed with one byte, which the peer answers with its window.
    if (this.#acknowledged === 0) this.#emit(0);
    else this.#emit(Math.min(isProbe ? 1 : this.#segmentBytes, this.#finOffset - this.#next));
    this.push();
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
