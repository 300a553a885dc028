/**
 * Messages with boundaries inside a link. Reliability is a property of each
 * moment, not of the channel: {@link MessageChannel.reliability} may be changed
 * at any time and holds for the messages sent from then on. Order holds among
 * messages of one ordered setting, not across a change.
 *
 * A message begins only when channel and link have credit for all of it, so
 * what has begun can always end, and half-sent messages never hold each other up.
 */

import type { ClawError } from '@claw/base';
import { fromWireCode, linkError, toWireCode } from '../errors.ts';
import type { BulkFrame, BulkSender } from './bulk-queue.ts';
import { payloadHead } from './frames.ts';
import { BULK_LANE, laneFor, laneReliability, type Reliability } from './lanes.ts';
import type { ChannelHost } from './link-stream.ts';
import { FRAME_COST_BYTES, ReceiveWindow, SendWindow } from './receive-window.ts';

/** Called for each message. Until the returned promise settles, its bytes count as unread. */
export type MessageHandler = (message: Buffer) => void | Promise<void>;

export interface MessageHost extends ChannelHost {
  /** Sends now or never; false when the lane is full. */
  sendLossy(lane: number, head: Buffer, payload: Uint8Array): boolean;
  /** Makes room for a lossy message until {@link lossyHandled}; false when too many wait for their handlers. */
  holdLossy(count: number): boolean;
  lossyHandled(count: number): void;
  /** Link credit that was charged for what will not be sent. */
  refund(count: number): void;
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
  /** The peer opened it: what comes before {@link MessageChannel.start} is kept. */
  readonly incoming: boolean;
}

interface Outgoing {
  readonly lane: number;
  bytes: Uint8Array;
  /** Its credit is spent, perhaps some of it sent. */
  begun: boolean;
  done: PromiseWithResolvers<true> | undefined;
}

interface Arrived {
  readonly message: Buffer;
  readonly charged: number;
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
  /** Reliable messages that came before this side accepted; undefined afterwards. */
  #waiting: Arrived[] | undefined;
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
    this.#waiting = options.incoming ? [] : undefined;
    this.#acceptance.promise.catch(() => {});
  }

  get accepted(): Promise<Buffer> {
    return this.#acceptance.promise;
  }

  /** Sets the handler of a channel that the peer opened and hands over what has come. */
  start(onMessage: MessageHandler): void {
    this.onMessage = onMessage;
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const arrived of waiting) this.#deliverCounted(arrived);
  }

  /**
   * Sends one message, whose bytes must not change until it left. A lossy one
   * leaves now or is dropped (the result says). A reliable one always goes; `true`
   * means that it left already, a promise resolves when it has, which is the moment
   * to send the next, and rejects when the channel ends before.
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
    const item: Outgoing = { lane, bytes: message, begun: false, done: undefined };
    this.#queue.push(item);
    host.ready(this, (this.#queue[0] as Outgoing).lane);
    if (this.#queue.at(-1) !== item) return true;
    item.done = Promise.withResolvers();
    item.done.promise.catch(() => {}); // a sender that does not wait learns the end from onClose
    return item.done.promise;
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

  pull(linkRoom: number, lane: number): BulkFrame | 'later' | undefined {
    const item = this.#queue[0];
    if (!item) return undefined;
    const { host, maxFrameBytes } = this.#options;
    if (item.lane !== lane) {
      host.ready(this, item.lane);
      return undefined;
    }
    const charged = item.begun ? 0 : this.#chargeOf(item.bytes.length);
    if (charged > this.#sendWindow.room) return undefined;
    if (charged > linkRoom) return 'later';
    this.#sendWindow.spend(charged);
    item.begun = true;
    const payload = item.bytes.subarray(0, maxFrameBytes);
    item.bytes = item.bytes.subarray(payload.length);
    const last = item.bytes.length === 0;
    if (last) {
      this.#queue.shift();
      item.done?.resolve(true);
    }
    return {
      head: last ? this.#wholeHead : this.#partHead,
      parts: [payload],
      length: payload.length,
      charged,
      more: this.#queue.length > 0,
    };
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
      this.#deliverLossy(payload);
      return true;
    }
    if (!this.#receiveWindow.receive(payload.length + FRAME_COST_BYTES)) return false;
    if (last && (lane !== BULK_LANE || this.#parts.length === 0)) {
      this.#take({ message: payload, charged: payload.length + FRAME_COST_BYTES });
      return true;
    }
    this.#parts.push(payload);
    this.#partsBytes += payload.length;
    if (this.#partsBytes > this.#options.maxMessageBytes) return false;
    if (last) {
      const arrived = { message: Buffer.concat(this.#parts, this.#partsBytes), charged: this.#partsCharge() };
      this.#dropParts();
      this.#take(arrived);
    }
    return true;
  }

  onReset(code: number, reason: string): void {
    this.#end(linkError(fromWireCode(code, 'STREAM_RESET'), reason || 'the peer closed the channel'));
  }

  onLinkClosed(error: ClawError): void {
    this.#end(error);
  }

  #take(arrived: Arrived): void {
    if (this.#waiting) this.#waiting.push(arrived);
    else this.#deliverCounted(arrived);
  }

  #deliverCounted({ message, charged }: Arrived): void {
    const handled = this.#deliver(message);
    if (handled) void handled.then(() => this.#consume(charged));
    else this.#consume(charged);
  }

  #deliverLossy(message: Buffer): void {
    const { host } = this.#options;
    const charged = message.length + FRAME_COST_BYTES;
    if (this.#waiting || !host.holdLossy(charged)) return;
    const handled = this.#deliver(message);
    if (handled) void handled.then(() => host.lossyHandled(charged));
    else host.lossyHandled(charged);
  }

  /** A handler that fails is the application's fault and ends this channel only. */
  #deliver(message: Buffer): Promise<void> | undefined {
    if (this.#closed) return undefined;
    try {
      return this.onMessage?.(message)?.catch((error: unknown) => this.#handlerFailed(error));
    } catch (error) {
      this.#handlerFailed(error);
      return undefined;
    }
  }

  #handlerFailed(cause: unknown): void {
    if (this.#closed) return;
    this.#options.host.sendReset(this.channel, toWireCode('STREAM_RESET', 'STREAM_RESET'), 'the receiver failed');
    this.#end(linkError('STREAM_RESET', 'the message handler failed', { cause }));
  }

  #consume(count: number): void {
    this.#options.host.consumed(count);
    const limit = this.#receiveWindow.consume(count);
    if (limit !== undefined && !this.#closed) this.#options.host.grant(this.channel, limit);
  }

  #end(error: ClawError): void {
    if (this.#closed) return;
    this.#closed = error;
    const { host } = this.#options;
    const unread = (this.#waiting ?? []).reduce((sum, { charged }) => sum + charged, this.#partsCharge());
    this.#waiting = undefined;
    this.#dropParts();
    host.consumed(unread);
    for (const item of this.#queue.splice(0)) {
      if (item.begun) host.refund(this.#chargeOf(item.bytes.length));
      item.done?.reject(error);
    }
    this.#acceptance.reject(error);
    host.released(this.channel);
    this.onClose?.(error);
  }

  /** Credit that `length` bytes of message take, cut into as few frames as they need. */
  #chargeOf(length: number): number {
    return length + Math.max(1, Math.ceil(length / this.#options.maxFrameBytes)) * FRAME_COST_BYTES;
  }

  #partsCharge(): number {
    return this.#partsBytes + this.#parts.length * FRAME_COST_BYTES;
  }

  #dropParts(): void {
    this.#parts = [];
    this.#partsBytes = 0;
  }
}

function tooLarge(length: number, max: number, what: string) {
  return linkError('MESSAGE_TOO_LARGE', `${what} has ${length} bytes, at most ${max} can be sent`);
}
