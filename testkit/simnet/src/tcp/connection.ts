/**
 * One TCP connection, without a network: segments in, segments out by the port.
 * States follow RFC 9293, simultaneous open included; a connection ends when
 * both FINs are acknowledged, by a reset from either side, or by silence. The
 * end that closed first lingers for `TIME_WAIT_MS`, shorter than a real one.
 */

import type { Timer } from '@claw/base';
import { type SimnetErrorCode, simnetError } from '../errors.ts';
import { TCP_FLAG, type TcpBody } from '../net/packet.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import { Sender } from './sender.ts';

export interface ConnectionPort {
  nowMs(): number;
  setTimer(delayMs: number, fire: () => void): Timer;
  transmit(segment: Omit<TcpBody, 'protocol' | 'sourcePort' | 'destinationPort'>): void;
  /** Established. */
  onOpen(): void;
  /** Bytes or the end can be read, or there is room to write. */
  onProgress(): void;
  /** Over: no more segments will leave. Without an error both sides said all they had. */
  onEnd(error: Error | undefined): void;
}

export interface ConnectionLimits {
  /** The largest segment that the first hop takes. */
  readonly segmentBytes: number;
  readonly receiveBufferBytes: number;
  readonly connectTimeoutMs: number;
  /** Without an acknowledgement of what was sent, the connection ends with SIMNET_TIMEOUT. */
  readonly timeoutMs: number;
}

type State = 'syn-sent' | 'syn-received' | 'open' | 'time-wait' | 'ended';

const WINDOW_SHIFT = 7;
const DELAYED_ACK_MS = 40;
const TIME_WAIT_MS = 10_000;
const EMPTY = Buffer.alloc(0);

export class Connection {
  readonly #port: ConnectionPort;
  readonly #sender: Sender;
  readonly #received: ReceiveBuffer;
  readonly #limits: ConnectionLimits;
  readonly #ourStart: number;
  #peerStart = 0;
  #peerShift = 0;
  #state: State = 'syn-sent';
  #finAt: number | undefined;
  #isFinReceived = false;
  /** The peer closed first, so that nothing is left to do once our FIN is acknowledged. */
  #isLast = false;
  #segmentsUnacknowledged = 0;
  #delayedAck: Timer | undefined;
  #lingering: Timer | undefined;
  #windowFrom = { sequence: -1, acknowledgement: -1, window: 0 };
  #advertised = 0;

  /** `initialSequence`: 32 random bits. */
  constructor(port: ConnectionPort, limits: ConnectionLimits, initialSequence: number) {
    this.#port = port;
    this.#limits = limits;
    this.#ourStart = initialSequence;
    this.#received = new ReceiveBuffer(limits.receiveBufferBytes);
    const senderPort = {
      nowMs: () => port.nowMs(),
      setTimer: (delayMs: number, fire: () => void) => port.setTimer(delayMs, fire),
      transmit: this.#transmit.bind(this),
      giveUp: () => this.#fail('SIMNET_TIMEOUT', 'the peer acknowledged nothing for too long'),
    };
    this.#sender = new Sender(senderPort, limits.segmentBytes, {
      syn: limits.connectTimeoutMs,
      data: limits.timeoutMs,
    });
  }

  get isEnded(): boolean {
    return this.#state === 'ended';
  }

  /** Both sides said all they had, or it broke. */
  get isFinished(): boolean {
    return this.#state === 'time-wait' || this.#state === 'ended';
  }

  /** The peer will send nothing more. */
  get isAtEnd(): boolean {
    return this.#isFinReceived;
  }

  get bufferedBytes(): number {
    return this.#sender.bufferedBytes;
  }

  connect(): void {
    this.#sender.sendSyn();
  }

  /** Answers the SYN that made this connection. */
  accept(syn: TcpBody): void {
    this.#notePeer(syn);
    this.#state = 'syn-received';
    this.#sender.sendSyn();
  }

  write(bytes: Uint8Array): void {
    this.#sender.write(bytes);
  }

  end(): void {
    this.#isLast = this.#isFinReceived;
    this.#sender.end();
  }

  read(): Buffer | undefined {
    const bytes = this.#received.read();
    // A window that had closed is announced once it takes two segments again.
    const grown = this.#received.window - this.#advertised;
    const isNarrow = this.#advertised < 2 * this.#limits.segmentBytes;
    if (bytes && this.#state === 'open' && isNarrow && grown >= 2 * this.#limits.segmentBytes) this.#acknowledgeNow();
    return bytes;
  }

  reset(): void {
    if (this.#state === 'open' || this.#state === 'syn-received') this.#transmitBare(TCP_FLAG.rst | TCP_FLAG.ack);
    this.#finish(simnetError('SIMNET_RESET', 'the connection was reset by this side'));
  }

  /** The path takes packets of this many bytes of data at most. */
  limitSegments(segmentBytes: number): void {
    this.#sender.setSegmentBytes(segmentBytes);
    this.#sender.resend();
  }

  /** The network says that the peer is not there: believed only while connecting (RFC 5461). */
  unreachable(code: 'SIMNET_REFUSED' | 'SIMNET_UNREACHABLE'): void {
    if (this.#state === 'syn-sent') this.#fail(code, 'the network answered that the peer is not there');
  }

  handle(segment: TcpBody): void {
    if (this.#state === 'ended') return;
    if (this.#state === 'syn-sent') return this.#handleInSynSent(segment);
    const offset = this.#receiveNext + ((segment.sequence - this.#wireOf(this.#receiveNext)) | 0);
    this.#handleInOrder(segment, offset);
  }

  get #receiveNext(): number {
    return 1 + this.#received.next + (this.#isFinReceived ? 1 : 0);
  }

  #wireOf(receiveOffset: number): number {
    return (this.#peerStart + receiveOffset) >>> 0;
  }

  #handleInSynSent(segment: TcpBody): void {
    const hasAck = (segment.flags & TCP_FLAG.ack) !== 0;
    if (hasAck && segment.acknowledgement !== (this.#ourStart + 1) >>> 0) {
      if (!(segment.flags & TCP_FLAG.rst)) this.#transmitBare(TCP_FLAG.rst, segment.acknowledgement);
      return;
    }
    if (segment.flags & TCP_FLAG.rst) {
      if (hasAck) this.#fail('SIMNET_REFUSED', 'the peer refused the connection');
      return;
    }
    if (!(segment.flags & TCP_FLAG.syn)) return;
    this.#notePeer(segment);
    if (!hasAck) {
      // Both sides called at once.
      this.#state = 'syn-received';
      this.#sender.sendSyn();
      return;
    }
    this.#noteWindow(segment, 0, 1);
    this.#sender.acknowledge(1, false);
    this.#open();
    this.#acknowledgeNow();
  }

  #handleInOrder(segment: TcpBody, offset: number): void {
    const length = segment.data.length + (segment.flags & TCP_FLAG.fin ? 1 : 0);
    const isInWindow = offset <= this.#receiveNext + this.#received.window && offset + length >= this.#receiveNext;
    if (segment.flags & TCP_FLAG.rst) {
      if (isInWindow && this.#state === 'time-wait') this.#finish(undefined);
      else if (isInWindow) this.#fail('SIMNET_RESET', 'the peer reset the connection');
      return;
    }
    if (!(segment.flags & TCP_FLAG.ack)) {
      if (segment.flags & TCP_FLAG.syn && this.#state === 'syn-received') this.#sender.sendSyn();
      return;
    }
    const acknowledgement =
      this.#sender.acknowledgedUpTo +
      ((segment.acknowledgement - (this.#ourStart + this.#sender.acknowledgedUpTo)) | 0);
    if (acknowledgement > this.#sender.sentUpTo) return this.#acknowledgeNow();
    this.#handleAcknowledgement(segment, offset, acknowledgement, length);
    // The acknowledgement may have ended it.
    if (this.isEnded) return;
    if (!isInWindow || segment.flags & TCP_FLAG.syn) this.#acknowledgeNow();
    else if (length > 0) this.#handleData(segment, offset);
    this.#checkEnd();
  }

  #handleAcknowledgement(segment: TcpBody, offset: number, acknowledgement: number, length: number): void {
    const isWindowSame = this.#windowFrom.window === segment.window;
    this.#noteWindow(segment, offset, acknowledgement);
    const isBare = length === 0 && isWindowSame && !(segment.flags & TCP_FLAG.syn);
    const buffered = this.#sender.bufferedBytes;
    this.#sender.acknowledge(acknowledgement, isBare);
    if (this.#state === 'syn-received' && acknowledgement >= 1) this.#open();
    if (this.#sender.bufferedBytes < buffered) this.#port.onProgress();
  }

  #handleData(segment: TcpBody, offset: number): void {
    if (this.#isFinReceived) return this.#acknowledgeNow();
    const isNext = this.#received.insert(offset - 1, segment.data);
    if (segment.flags & TCP_FLAG.fin) this.#finAt = offset - 1 + segment.data.length;
    if (this.#finAt === this.#received.next) {
      this.#isFinReceived = true;
      this.#port.onProgress();
      return this.#acknowledgeNow();
    }
    if (!isNext || this.#received.hasGap) return isNext ? this.#progressNow() : this.#acknowledgeNow();
    this.#segmentsUnacknowledged += 1;
    if (this.#segmentsUnacknowledged >= 2) this.#acknowledgeNow();
    else this.#delayedAck ??= this.#port.setTimer(DELAYED_ACK_MS, () => this.#acknowledgeNow());
    this.#port.onProgress();
  }

  #progressNow(): void {
    this.#acknowledgeNow();
    this.#port.onProgress();
  }

  #checkEnd(): void {
    if (!this.#isFinReceived || !this.#sender.isFinAcknowledged || this.#state !== 'open') return;
    if (this.#isLast) return this.#finish(undefined);
    this.#state = 'time-wait';
    this.#sender.stop();
    this.#port.onProgress();
    this.#lingering = this.#port.setTimer(TIME_WAIT_MS, () => this.#finish(undefined));
  }

  #open(): void {
    this.#state = 'open';
    this.#port.onOpen();
    this.#sender.open();
  }

  #notePeer(syn: TcpBody): void {
    this.#peerStart = syn.sequence;
    this.#peerShift = syn.options?.windowShift ?? 0;
    if (syn.options) this.#sender.limitSegmentBytes(syn.options.maxSegmentBytes);
  }

  /** Takes the window of a segment unless a later one said otherwise (RFC 9293, SND.WL1 and WL2). */
  #noteWindow(segment: TcpBody, offset: number, acknowledgement: number): void {
    const { sequence, acknowledgement: before } = this.#windowFrom;
    if (offset < sequence || (offset === sequence && acknowledgement < before)) return;
    this.#windowFrom = { sequence: offset, acknowledgement, window: segment.window };
    const shift = segment.flags & TCP_FLAG.syn ? 0 : this.#peerShift;
    this.#sender.setPeerWindow(segment.window * 2 ** shift);
  }

  #transmit(
    offset: number,
    data: Buffer,
    what: { readonly syn: boolean; readonly fin: boolean; readonly push: boolean },
  ): void {
    const isFirst = this.#state === 'syn-sent';
    const flags =
      (what.syn ? TCP_FLAG.syn : 0) |
      (what.fin ? TCP_FLAG.fin : 0) |
      (what.push && data.length > 0 ? TCP_FLAG.psh : 0) |
      (isFirst ? 0 : TCP_FLAG.ack);
    this.#noteAcknowledged();
    this.#port.transmit({
      sequence: (this.#ourStart + offset) >>> 0,
      acknowledgement: isFirst ? 0 : this.#wireOf(this.#receiveNext),
      flags,
      window: this.#windowField(what.syn),
      options: what.syn ? { maxSegmentBytes: this.#limits.segmentBytes, windowShift: WINDOW_SHIFT } : undefined,
      data,
    });
  }

  #acknowledgeNow(): void {
    this.#noteAcknowledged();
    this.#transmitBare(TCP_FLAG.ack);
  }

  #transmitBare(flags: number, sequence = (this.#ourStart + this.#sender.next) >>> 0): void {
    const acknowledgement = flags & TCP_FLAG.ack ? this.#wireOf(this.#receiveNext) : 0;
    this.#port.transmit({
      sequence,
      acknowledgement,
      flags,
      window: this.#windowField(false),
      options: undefined,
      data: EMPTY,
    });
  }

  #noteAcknowledged(): void {
    this.#segmentsUnacknowledged = 0;
    this.#delayedAck?.cancel();
    this.#delayedAck = undefined;
    this.#advertised = this.#received.window;
  }

  #windowField(isSyn: boolean): number {
    const { window } = this.#received;
    return Math.min(65_535, isSyn ? window : window >> WINDOW_SHIFT);
  }

  #fail(code: SimnetErrorCode, message: string): void {
    this.#finish(simnetError(code, message));
  }

  #finish(error: Error | undefined): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#sender.stop();
    this.#delayedAck?.cancel();
    this.#lingering?.cancel();
    this.#port.onEnd(error);
  }
}
