/**
 * `RTCDataChannel` (W3C WebRTC §6.2): a channel of ours with the W3C's names, states and events.
 *
 * Invariant: `open` comes first, in a later turn than the channel; no message comes before it or after `close`.
 */

import { errorText } from '@claw/base';
import type { RtcPriority } from '@claw/contracts';
import type { DataChannel } from '@claw/sctp';
import { EventHandlers } from './event-handlers.ts';
import type { PeerSession } from './peer-session.ts';
import { priorityOf } from './priority-weights.ts';
import { RTCError, RTCErrorEvent } from './rtc-error.ts';

export type BinaryType = 'arraybuffer' | 'blob';

/** Handlers are called with the event; null takes one away. */
type Handler<E extends Event = Event> = ((event: E) => unknown) | null;

/** What waits for a blob before it to be read. */
interface Pending {
  readonly bytes: number;
  data: string | Buffer | undefined;
}

export class RTCDataChannel extends EventTarget {
  readonly #handlers = new EventHandlers(this);
  readonly #channel: DataChannel;
  readonly #session: PeerSession;
  #binaryType: BinaryType = 'arraybuffer';
  #state: DataChannel['state'] = 'connecting';
  /** What came since the channel opened and before that was told. */
  #early: (() => void)[] | undefined;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  /** `bufferedAmount` when the channel closed. */
  #lastAmount = 0;
  #isCloseDue = false;
  #messagesSent = 0;
  #bytesSent = 0;
  #messagesReceived = 0;
  #bytesReceived = 0;
  /** @internal Once, when it has closed, however that came. */
  onEnd: (() => void) | undefined;

  /** @internal Made by {@link RTCPeerConnection}; `isIncoming` when the peer opened it. */
  constructor(channel: DataChannel, session: PeerSession, isIncoming = false) {
    super();
    this.#channel = channel;
    this.#session = session;
    // Whoever is told of the peer's channel may send on it at once.
    if (isIncoming) this.#state = 'open';
    if (channel.state === 'open') this.#opens();
    else channel.onOpen = () => this.#opens();
    channel.onMessage = (data, isText) => {
      // As `inTurn`, without a function for each message.
      if (this.#early) this.#early.push(() => this.#receive(data, isText));
      else this.#receive(data, isText);
    };
    channel.onBufferedAmountLow = () => {
      if (this.bufferedAmount <= this.bufferedAmountLowThreshold) this.#emit(new Event('bufferedamountlow'));
    };
    channel.onClosing = () => this.#inTurn(() => this.#closing());
    channel.onClose = () => this.end();
  }

  get label(): string {
    return this.#channel.label;
  }
  get protocol(): string {
    return this.#channel.protocol;
  }
  get ordered(): boolean {
    return this.#channel.isOrdered;
  }
  get maxRetransmits(): number | null {
    return this.#channel.maxRetransmits ?? null;
  }
  get maxPacketLifeTime(): number | null {
    return this.#channel.maxPacketLifeTimeMs ?? null;
  }
  get negotiated(): boolean {
    return this.#channel.isNegotiated;
  }
  /** W3C WebRTC Priority §4. */
  get priority(): RtcPriority {
    return priorityOf(this.#channel.priority);
  }
  get id(): number | null {
    return this.#channel.id ?? null;
  }
  get readyState(): DataChannel['state'] {
    return this.#state;
  }
  /** The application's bytes that have not yet left; keeps its value when the channel closes. */
  get bufferedAmount(): number {
    return this.#state === 'closed' ? this.#lastAmount : this.#channel.bufferedAmount + this.#pendingBytes;
  }
  get bufferedAmountLowThreshold(): number {
    return this.#channel.bufferedAmountLowThreshold;
  }
  set bufferedAmountLowThreshold(bytes: number) {
    this.#channel.bufferedAmountLowThreshold = bytes;
  }
  /** What bytes come as. Default `arraybuffer`; anything but the two is ignored, as the W3C says. */
  get binaryType(): BinaryType {
    return this.#binaryType;
  }
  set binaryType(type: BinaryType) {
    if (type === 'arraybuffer' || type === 'blob') this.#binaryType = type;
  }

  get onopen(): Handler {
    return this.#handlers.get('open');
  }
  set onopen(handler: Handler) {
    this.#handlers.set('open', handler);
  }
  get onmessage(): Handler<MessageEvent> {
    return this.#handlers.get('message');
  }
  set onmessage(handler: Handler<MessageEvent>) {
    this.#handlers.set('message', handler);
  }
  get onbufferedamountlow(): Handler {
    return this.#handlers.get('bufferedamountlow');
  }
  set onbufferedamountlow(handler: Handler) {
    this.#handlers.set('bufferedamountlow', handler);
  }
  get onclosing(): Handler {
    return this.#handlers.get('closing');
  }
  set onclosing(handler: Handler) {
    this.#handlers.set('closing', handler);
  }
  get onclose(): Handler {
    return this.#handlers.get('close');
  }
  set onclose(handler: Handler) {
    this.#handlers.set('close', handler);
  }
  get onerror(): Handler<RTCErrorEvent> {
    return this.#handlers.get('error');
  }
  set onerror(handler: Handler<RTCErrorEvent>) {
    this.#handlers.set('error', handler);
  }

  /** Queues a message; bytes are copied. @throws DOMException `InvalidStateError`; TypeError when it is larger than the peer takes. */
  send(data: string | Blob | ArrayBuffer | ArrayBufferView): void {
    if (this.#state !== 'open') throw new DOMException(`the channel is ${this.#state}`, 'InvalidStateError');
    const { maxMessageBytes } = this.#session;
    const content = data instanceof Blob || typeof data === 'string' ? data : Buffer.from(bytesOf(data));
    const bytes = sizeOf(content);
    if (bytes > maxMessageBytes) throw new TypeError(`${bytes} bytes, and the peer takes ${maxMessageBytes}`);
    this.#messagesSent += 1;
    this.#bytesSent += bytes;
    if (content instanceof Blob) void this.#sendBlob(content);
    else if (this.#pending.length > 0) this.#hold({ bytes, data: content });
    else this.#sendNow(content);
  }

  /** Sends what is queued, then closes. */
  close(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#state = 'closing';
    if (this.#pending.length > 0) this.#isCloseDue = true;
    else this.#closeNow();
  }

  /** @internal The connection was closed by its owner, who is told nothing (W3C WebRTC §4.4.3). */
  abandon(): void {
    if (this.#state === 'closed') return;
    this.#lastAmount = this.bufferedAmount;
    this.#state = 'closed';
    this.onEnd?.();
  }

  /** @internal The connection ended by itself, or the peer closed it. */
  end(error?: Error): void {
    // Also out of our own `close`, which no event may come out of.
    queueMicrotask(() => this.#inTurn(() => this.#closed(error)));
  }

  /** @internal */
  get traffic(): Readonly<Record<'messagesSent' | 'bytesSent' | 'messagesReceived' | 'bytesReceived', number>> {
    const [messagesSent, bytesSent] = [this.#messagesSent, this.#bytesSent];
    return { messagesSent, bytesSent, messagesReceived: this.#messagesReceived, bytesReceived: this.#bytesReceived };
  }

  #opens(): void {
    this.#early = [];
    queueMicrotask(() => {
      if (this.#state === 'connecting') this.#state = 'open';
      if (this.#state === 'open') this.#emit(new Event('open'));
      const early = this.#early ?? [];
      this.#early = undefined;
      for (const event of early) event();
    });
  }

  /** Behind `open`, if that is still to be told. */
  #inTurn(event: () => void): void {
    if (this.#early) this.#early.push(event);
    else event();
  }

  #receive(data: Buffer, isText: boolean): void {
    if (this.#state !== 'open') return;
    this.#messagesReceived += 1;
    this.#bytesReceived += data.length;
    this.#emit(new MessageEvent('message', { data: this.#toData(data, isText) }));
  }

  /** The peer closes the channel. */
  #closing(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#state = 'closing';
    this.#emit(new Event('closing'));
  }

  #closed(error: Error | undefined = this.#channel.error): void {
    if (this.#state === 'closed') return;
    this.#lastAmount = this.bufferedAmount;
    this.#state = 'closed';
    this.onEnd?.();
    if (error) {
      const told = new RTCError({ errorDetail: 'sctp-failure', cause: error }, errorText(error));
      this.#emit(new RTCErrorEvent('error', { error: told }));
    }
    this.#emit(new Event('close'));
  }

  #sendNow(data: string | Buffer): void {
    const { transport } = this.#session;
    this.#channel.send(data, transport.nowMs);
    transport.touch();
  }

  #hold(pending: Pending): void {
    this.#pending.push(pending);
    this.#pendingBytes += pending.bytes;
  }

  /** What is sent behind a blob waits until the blob is read. */
  async #sendBlob(blob: Blob): Promise<void> {
    const pending: Pending = { bytes: blob.size, data: undefined };
    this.#hold(pending);
    pending.data = Buffer.from(await blob.arrayBuffer());
    while (this.#pending[0]?.data !== undefined && this.#channel.state === 'open') {
      const { data, bytes } = this.#pending.shift() as Pending;
      this.#pendingBytes -= bytes;
      this.#sendNow(data as string | Buffer);
    }
    if (this.#isCloseDue && this.#pending.length === 0) this.#closeNow();
  }

  #closeNow(): void {
    const { transport } = this.#session;
    this.#isCloseDue = false;
    this.#channel.close(transport.nowMs);
    transport.touch();
  }

  #emit(event: Event): void {
    this.dispatchEvent(event);
  }

  #toData(data: Buffer, isText: boolean): string | ArrayBuffer | Blob {
    if (isText) return data.toString('utf8');
    const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer;
    return this.#binaryType === 'blob' ? new Blob([bytes]) : bytes;
  }
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

function sizeOf(content: string | Blob | Buffer): number {
  if (typeof content === 'string') return Buffer.byteLength(content);
  return content instanceof Blob ? content.size : content.length;
}
