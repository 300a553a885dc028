/**
 * Messages with boundaries inside a link. Reliability is a property of each
 * moment, not of the channel: {@link MessageChannel.reliability} may be changed
 * at any time and holds for the messages sent from then on. Order holds among
 * messages of one ordered setting, not across a change.
 */

import type { ClawError } from '@claw/base';
import { fromWireCode, linkError, toWireCode } from '../errors.ts';
import type { BulkFrame, BulkSender } from './bulk-queue.ts';
import { payloadHead } from './frames.ts';
import { BULK_LANE, laneFor, laneReliability, type Reliability } from './lanes.ts';
import type { ChannelHost } from './link-stream.ts';
import { ReceiveWindow, SendWindow } from './receive-window.ts';

/** Called for each message. Until the returned promise settles, its bytes count as unread. */
export type MessageHandler = (message: Buffer) => void | Promise<void>;

export interface MessageHost extends ChannelHost {
  /** Sends now or never; false when the lane is full. */
  sendLossy(lane: number, head: Buffer, payload: Uint8Array): boolean;
  failed(error: ClawError): void;
}

export interface MessageChannelOptions {
  readonly host: MessageHost;
  readonly channel: number;
  readonly service: string;
  readonly windowBytes: number;
  readonly maxMessageBytes: number;
  /** Longest payload of one record. */
  readonly maxFrameBytes: number;
  readonly reliability: Reliability;
}

interface Outgoing {
  readonly lane: number;
  bytes: Uint8Array;
  readonly taken: (() => void) | undefined;
}

export class MessageChannel implements BulkSender {
  readonly channel: number;
  readonly service: string;
  /** Holds for every message sent from now on. */
  reliability: Reliability;
  /** Set before messages may arrive; a channel without a handler drops them. */
  onMessage: MessageHandler | undefined;
  /** Told once, with the reason, when the channel ends. */
  onClose: ((error: ClawError) => void) | undefined;
  readonly #options: MessageChannelOptions;
  readonly #receiveWindow: ReceiveWindow;
  readonly #sendWindow: SendWindow;
  readonly #acceptance = Promise.withResolvers<Buffer>();
  readonly #queue: Outgoing[] = [];
  readonly #wholeHead: Buffer;
  readonly #partHead: Buffer;
  /** Parts of the long message under way; only the bulk lane carries parts. */
  #parts: Buffer[] = [];
  #partsBytes = 0;
  #closed: ClawError | undefined;
  /** Lossy messages that were dropped here because the lane was full. */
  dropped = 0;

  constructor(options: MessageChannelOptions) {
    this.channel = options.channel;
    this.service = options.service;
    this.reliability = options.reliability;
    this.#options = options;
    this.#receiveWindow = new ReceiveWindow(options.windowBytes);
    this.#sendWindow = new SendWindow(options.windowBytes);
    this.#wholeHead = payloadHead('message', options.channel);
    this.#partHead = payloadHead('messagePart', options.channel);
    this.#acceptance.promise.catch(() => {});
  }

  get accepted(): Promise<Buffer> {
    return this.#acceptance.promise;
  }

  /**
   * Sends one message. A lossy one leaves now or is dropped (the result says).
   * A reliable one always goes; `true` means that it left already, a promise
   * resolves when it has, which is the moment to send the next.
   * @throws ClawError `MESSAGE_TOO_LARGE`, or the reason for which the channel ended.
   */
  send(message: Uint8Array): boolean | Promise<true> {
    if (this.#closed) throw this.#closed;
    const { maxFrameBytes, maxMessageBytes, host } = this.#options;
    if (!this.reliability.reliable) {
      if (message.length > maxFrameBytes) throw tooLarge(message.length, maxFrameBytes, 'a lossy message');
      const sent = host.sendLossy(laneFor(this.reliability), this.#wholeHead, message);
      if (!sent) this.dropped += 1;
      return sent;
    }
    if (message.length > maxMessageBytes) throw tooLarge(message.length, maxMessageBytes, 'a message');
    // Cut messages need order, so a long one takes the ordered lane whatever the setting.
    const lane = message.length > maxFrameBytes ? BULK_LANE : laneFor(this.reliability);
    const item: { lane: number; bytes: Uint8Array; taken: (() => void) | undefined } = { lane, bytes: message, taken: undefined };
    this.#queue.push(item);
    host.ready(this, (this.#queue[0] as Outgoing).lane);
    if (this.#queue.at(-1) !== item) return true;
    return new Promise((resolve) => {
      item.taken = () => resolve(true);
    });
  }

  close(reason = 'the channel was closed'): void {
    this.refuse(toWireCode('STREAM_RESET', 'STREAM_RESET'), reason);
  }

  /** Ends the channel with a code of the wire table. */
  refuse(code: number, reason: string): void {
    if (this.#closed) return;
    this.#options.host.sendReset(this.channel, code, reason);
    this.#end(linkError(fromWireCode(code, 'STREAM_RESET'), reason));
  }

  pull(maxPayload: number, lane: number): BulkFrame | undefined {
    const item = this.#queue[0];
    if (!item) return undefined;
    if (item.lane !== lane) {
      this.#options.host.ready(this, item.lane);
      return undefined;
    }
    const room = Math.min(maxPayload, this.#sendWindow.room, this.#options.maxFrameBytes);
    const last = item.bytes.length <= room;
    if (room <= 0 || (!last && item.lane !== BULK_LANE)) return undefined;
    const payload = last ? item.bytes : item.bytes.subarray(0, room);
    this.#sendWindow.spend(payload.length);
    if (last) {
      this.#queue.shift();
      item.taken?.();
    } else {
      item.bytes = item.bytes.subarray(room);
    }
    return { head: last ? this.#wholeHead : this.#partHead, parts: [payload], length: payload.length, charged: payload.length };
  }

  onAccepted(meta: Buffer): void {
    this.#acceptance.resolve(meta);
  }

  onCredit(limit: number): void {
    this.#sendWindow.raise(limit);
    const next = this.#queue[0];
    if (next) this.#options.host.ready(this, next.lane);
  }

  /** Takes a frame in; false when the peer broke a limit. */
  onFrame(lane: number, last: boolean, payload: Buffer): boolean {
    if (!laneReliability(lane).reliable) {
      if (last) void this.#deliver(payload);
      return last;
    }
    if (!this.#receiveWindow.receive(payload.length)) return false;
    if (last && (lane !== BULK_LANE || this.#partsBytes === 0)) {
      this.#deliverCounted(payload);
      return true;
    }
    if (lane !== BULK_LANE) return false;
    this.#parts.push(payload);
    this.#partsBytes += payload.length;
    if (this.#partsBytes > this.#options.maxMessageBytes) return false;
    if (last) {
      const whole = Buffer.concat(this.#parts, this.#partsBytes);
      this.#parts = [];
      this.#partsBytes = 0;
      this.#deliverCounted(whole);
    }
    return true;
  }

  onReset(code: number, reason: string): void {
    this.#end(linkError(fromWireCode(code, 'STREAM_RESET'), reason || 'the peer closed the channel'));
  }

  onLinkClosed(error: ClawError): void {
    this.#end(error);
  }

  #deliverCounted(message: Buffer): void {
    const handled = this.#deliver(message);
    if (handled) void handled.then(() => this.#consume(message.length));
    else this.#consume(message.length);
  }

  /** A handler that fails is the application's fault and ends this channel only. */
  #deliver(message: Buffer): Promise<void> | undefined {
    try {
      return this.onMessage?.(message)?.catch((error: unknown) => this.#handlerFailed(error));
    } catch (error) {
      this.#handlerFailed(error);
      return undefined;
    }
  }

  #handlerFailed(cause: unknown): void {
    this.close('the receiver failed');
    this.onClose?.(linkError('STREAM_RESET', 'the message handler failed', { cause }));
  }

  #consume(count: number): void {
    this.#options.host.consumed(count);
    const limit = this.#receiveWindow.consume(count);
    if (limit !== undefined && !this.#closed) this.#options.host.grant(this.channel, limit);
  }

  #end(error: ClawError): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#options.host.consumed(this.#partsBytes);
    this.#parts = [];
    this.#partsBytes = 0;
    for (const item of this.#queue.splice(0)) item.taken?.();
    this.#acceptance.reject(error);
    this.#options.host.released(this.channel);
    this.onClose?.(error);
  }
}

function tooLarge(length: number, max: number, what: string) {
  return linkError('MESSAGE_TOO_LARGE', `${what} has ${length} bytes, at most ${max} can be sent`);
}
