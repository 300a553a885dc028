/**
 * The graceful end (RFC 9260 §9.2): what was handed in is delivered first, then
 * SHUTDOWN, SHUTDOWN ACK and SHUTDOWN COMPLETE, each repeated until answered; also
 * when both ends begin at once.
 */

import { encodeChunk, encodeU32s } from './chunk-codec.ts';
import { ChunkType } from './chunk-types.ts';

export interface ShutdownHost {
  sendNext(chunk: Buffer): void;
  sendAlone(chunk: Buffer): void;
  /** Whether all that was handed in has been sent and acknowledged. */
  isDrained(): boolean;
  cumulativeTsn(): number;
  rtoMs(): number;
  /** The association is at its end. */
  finished(): void;
}

type Step = 'none' | 'pending' | 'sent' | 'received' | 'ackSent';

const NEVER = Number.POSITIVE_INFINITY;

export class Shutdown {
  timeoutAtMs = NEVER;
  readonly #host: ShutdownHost;
  readonly #maxTimeouts: number;
  #step: Step = 'none';
  #timeouts = 0;

  constructor(host: ShutdownHost, maxTimeouts: number) {
    this.#host = host;
    this.#maxTimeouts = maxTimeouts;
  }

  get isUnderWay(): boolean {
    return this.#step !== 'none';
  }

  /** The peer has said that it sends no more. */
  get isPeerSilent(): boolean {
    return this.#step === 'received' || this.#step === 'ackSent';
  }

  begin(): void {
    if (this.#step === 'none') this.#step = 'pending';
  }

  reset(): void {
    this.#step = 'none';
    this.#timeouts = 0;
    this.timeoutAtMs = NEVER;
  }

  stop(): void {
    this.timeoutAtMs = NEVER;
  }

  /** Takes the next step once everything has been delivered. */
  proceed(nowMs: number): void {
    if ((this.#step !== 'pending' && this.#step !== 'received') || !this.#host.isDrained()) return;
    if (this.#step === 'pending') this.#sendShutdown(nowMs);
    else this.#sendAck(nowMs);
  }

  /** Data came after our SHUTDOWN: tell the peer how far it got. */
  onData(nowMs: number): void {
    if (this.#step === 'sent') this.#sendShutdown(nowMs);
  }

  onShutdown(nowMs: number): void {
    if (this.#step === 'sent') this.#sendAck(nowMs);
    else if (this.#step !== 'ackSent') this.#step = 'received';
  }

  onAck(): void {
    if (this.#step !== 'sent' && this.#step !== 'ackSent') return;
    this.#host.sendAlone(encodeChunk(ChunkType.shutdownComplete, 0));
    this.#host.finished();
  }

  onComplete(): void {
    if (this.#step === 'ackSent') this.#host.finished();
  }

  onTimeout(nowMs: number): void {
    // Without an answer to the last steps both ends have nothing to lose.
    if (++this.#timeouts > this.#maxTimeouts) this.#host.finished();
    else if (this.#step === 'sent') this.#sendShutdown(nowMs);
    else this.#sendAck(nowMs);
  }

  #sendShutdown(nowMs: number): void {
    this.#step = 'sent';
    this.#arm(nowMs);
    this.#host.sendNext(encodeChunk(ChunkType.shutdown, 0, encodeU32s(this.#host.cumulativeTsn())));
  }

  #sendAck(nowMs: number): void {
    this.#step = 'ackSent';
    this.#arm(nowMs);
    this.#host.sendNext(encodeChunk(ChunkType.shutdownAck, 0));
  }

  #arm(nowMs: number): void {
    this.timeoutAtMs = nowMs + this.#host.rtoMs() * 2 ** Math.min(this.#timeouts, 6);
  }
}
