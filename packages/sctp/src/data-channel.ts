/**
 * One data channel (RFC 8831): a pair of streams of the same id. Made by
 * {@link DataChannels}. Set the `on…` properties to listen; they are called from
 * within the association's `receive`, `flush` and `handleTimeout`.
 */

import type { SctpAssociation } from './association.ts';
import { Ppid } from './chunk-types.ts';
import type { OpenMessage } from './dcep.ts';
import { sctpError } from './errors.ts';
import type { MessageOptions } from './outbound-stream.ts';
import { RingQueue } from './ring-queue.ts';

export type DataChannelState = 'connecting' | 'open' | 'closing' | 'closed';

interface UnreadMessage {
  readonly data: Buffer;
  readonly isText: boolean;
}

const ONE_ZERO = Buffer.alloc(1);
const NO_DATA = Buffer.alloc(0);

export class DataChannel {
  readonly label: string;
  readonly protocol: string;
  readonly isOrdered: boolean;
  readonly maxRetransmits: number | undefined;
  readonly maxPacketLifeTimeMs: number | undefined;
  readonly isNegotiated: boolean;
  readonly priority: number;
  /** Known once the association is up, or at once if given. */
  id: number | undefined;
  state: DataChannelState = 'connecting';
  /** Why it closed, if not because an end wished it. */
  error: Error | undefined = undefined;
  /** `onBufferedAmountLow` is called when `bufferedAmount` falls to this. Default 0. */
  bufferedAmountLowThreshold = 0;
  onOpen: (() => void) | undefined = undefined;
  /** `data` is the listener's. Text is UTF-8. */
  onMessage: ((data: Buffer, isText: boolean) => void) | undefined = undefined;
  onBufferedAmountLow: (() => void) | undefined = undefined;
  onClosing: (() => void) | undefined = undefined;
  onClose: (() => void) | undefined = undefined;
  readonly #association: SctpAssociation;
  readonly #messageOptions: MessageOptions;
  readonly #maxSendBytes: () => number;
  readonly #unread = new RingQueue<UnreadMessage>();
  #isPaused = false;
  #isAboveThreshold = false;
  /** DCEP: until the peer has acknowledged, all goes in order behind the OPEN (RFC 8832 §6). */
  isAcknowledged: boolean;
  isPeerReset = false;
  isResetDone = false;

  constructor(
    association: SctpAssociation,
    open: OpenMessage,
    id: number | undefined,
    isNegotiated: boolean,
    isAcknowledged: boolean,
    maxSendBytes: () => number,
  ) {
    this.#association = association;
    this.label = open.label;
    this.protocol = open.protocol;
    this.isOrdered = open.isOrdered;
    this.maxRetransmits = open.maxRetransmits;
    this.maxPacketLifeTimeMs = open.maxPacketLifeTimeMs;
    this.priority = open.priority;
    this.isNegotiated = isNegotiated;
    this.isAcknowledged = isAcknowledged;
    this.id = id;
    this.#maxSendBytes = maxSendBytes;
    this.#messageOptions = {
      isUnordered: !open.isOrdered,
      maxRetransmits: open.maxRetransmits,
      ...(open.maxPacketLifeTimeMs === undefined ? {} : { lifetimeMs: open.maxPacketLifeTimeMs }),
    };
  }

  /** The application's bytes that have not yet been sent once. */
  get bufferedAmount(): number {
    return this.id === undefined ? 0 : this.#association.bufferedBytes(this.id);
  }

  /**
   * Queues a message: a string as text, bytes as binary. Bytes are not copied: leave
   * them unchanged until they have arrived. Goes out with the association's next
   * `flush`, which the driver may call once for many messages.
   * @throws SCTP_CHANNEL_CLOSED, SCTP_MESSAGE_TOO_LARGE
   */
  send(data: string | Uint8Array, nowMs: number): void {
    if (this.state !== 'open' || this.id === undefined) {
      throw sctpError('SCTP_CHANNEL_CLOSED', `send: channel "${this.label}" is ${this.state}`);
    }
    const isText = typeof data === 'string';
    const bytes = isText ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const limitBytes = this.#maxSendBytes();
    if (bytes.length > limitBytes) {
      throw sctpError('SCTP_MESSAGE_TOO_LARGE', `send: ${bytes.length} bytes, and the peer takes ${limitBytes}`);
    }
    let options = this.#messageOptions;
    if (!this.isAcknowledged && !this.isOrdered) options = { ...options, isUnordered: false };
    if (bytes.length === 0) {
      // SCTP knows no empty messages: one byte under a PPID that says "empty" (RFC 8831 §6.6).
      const ppid = isText ? Ppid.stringEmpty : Ppid.binaryEmpty;
      this.#association.sendMessage(this.id, ppid, ONE_ZERO, nowMs, { ...options, isCounted: false });
      return;
    }
    this.#association.sendMessage(this.id, isText ? Ppid.string : Ppid.binary, bytes, nowMs, options);
    this.#isAboveThreshold = this.bufferedAmount > this.bufferedAmountLowThreshold;
  }

  /** Sends what is queued, then closes both directions. Idempotent. */
  close(nowMs: number): void {
    if (this.state === 'closing' || this.state === 'closed') return;
    const hasBegun = this.state === 'open';
    this.state = 'closing';
    if (this.id === undefined || !hasBegun) this.finish();
    else {
      this.#association.resetStream(this.id);
      this.#association.flush(nowMs);
    }
  }

  /** Holds messages back; the peer may send until the receive window is full. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Hands the messages over that were held back. */
  resume(nowMs: number): void {
    this.#isPaused = false;
    for (let next = this.#unread.peek(); next && !this.#isPaused; next = this.#unread.peek()) {
      this.#unread.shift();
      this.#association.release(next.data.length, nowMs);
      this.onMessage?.(isPlaceholder(next) ? NO_DATA : next.data, next.isText);
    }
    this.#association.flush(nowMs);
  }

  // The rest is called by DataChannels.

  deliver(ppid: number, data: Buffer, nowMs: number): void {
    const isText = ppid === Ppid.string || ppid === Ppid.stringEmpty;
    const isEmpty = ppid === Ppid.stringEmpty || ppid === Ppid.binaryEmpty;
    if (this.state === 'closed' || (!isText && !isEmpty && ppid !== Ppid.binary)) {
      this.#association.release(data.length, nowMs);
    } else if (this.#isPaused || this.#unread.length > 0) {
      this.#unread.push({ data: isEmpty ? PLACEHOLDER : data, isText });
    } else {
      this.#association.release(data.length, nowMs);
      this.onMessage?.(isEmpty ? NO_DATA : data, isText);
    }
  }

  noteDrained(): void {
    if (!this.#isAboveThreshold || this.bufferedAmount > this.bufferedAmountLowThreshold) return;
    this.#isAboveThreshold = false;
    this.onBufferedAmountLow?.();
  }

  markOpen(): void {
    if (this.state !== 'connecting') return;
    this.state = 'open';
    this.onOpen?.();
  }

  markClosing(): void {
    if (this.state === 'closing' || this.state === 'closed') return;
    this.state = 'closing';
    this.onClosing?.();
  }

  /** `error` when the association ended under it. */
  finish(error?: Error): void {
    if (this.isFinished) return;
    this.isFinished = true;
    this.state = 'closed';
    this.error = error;
    this.onClose?.();
  }
  isFinished = false;
}

/** Stands for an empty message in the queue, and counts as the one byte that came. */
const PLACEHOLDER = Buffer.alloc(1);

function isPlaceholder(message: UnreadMessage): boolean {
  return message.data === PLACEHOLDER;
}
