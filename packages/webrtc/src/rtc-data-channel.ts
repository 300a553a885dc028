/** `RTCDataChannel` (W3C WebRTC §6.2): a channel of ours with the W3C's names and events. */

import type { DataChannel } from '@claw/sctp';
import { EventHandlers } from './event-handlers.ts';
import type { PeerSession } from './peer-session.ts';

export type BinaryType = 'arraybuffer' | 'blob';

/** Handlers are called with the event; null takes one away. */
type Handler<E extends Event = Event> = ((event: E) => unknown) | null;

export class RTCDataChannel extends EventTarget {
  readonly #handlers = new EventHandlers(this);
  readonly #channel: DataChannel;
  readonly #session: PeerSession;
  /** The W3C's default is `arraybuffer`, browsers' older one `blob`. */
  binaryType: BinaryType = 'arraybuffer';
  #isEnded = false;

  /** @internal Made by {@link RTCPeerConnection}. */
  constructor(channel: DataChannel, session: PeerSession) {
    super();
    this.#channel = channel;
    this.#session = session;
    // Whoever is told of the channel must be able to listen first: events come with a later turn.
    channel.onOpen = () => queueMicrotask(() => this.#emit(new Event('open')));
    channel.onMessage = (data, isText) => this.#emit(new MessageEvent('message', { data: this.#toData(data, isText) }));
    channel.onBufferedAmountLow = () => this.#emit(new Event('bufferedamountlow'));
    channel.onClosing = () => this.#emit(new Event('closing'));
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
  get id(): number | null {
    return this.#channel.id ?? null;
  }
  get readyState(): DataChannel['state'] {
    return this.#isEnded ? 'closed' : this.#channel.state;
  }
  get bufferedAmount(): number {
    return this.#channel.bufferedAmount;
  }
  get bufferedAmountLowThreshold(): number {
    return this.#channel.bufferedAmountLowThreshold;
  }
  set bufferedAmountLowThreshold(bytes: number) {
    this.#channel.bufferedAmountLowThreshold = bytes;
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
  get onerror(): Handler {
    return this.#handlers.get('error');
  }
  set onerror(handler: Handler) {
    this.#handlers.set('error', handler);
  }

  /** Queues a message; bytes are copied. @throws DOMException `InvalidStateError`; TypeError when it is larger than the peer takes. */
  send(data: string | ArrayBuffer | ArrayBufferView): void {
    if (this.readyState !== 'open') throw new DOMException(`the channel is ${this.readyState}`, 'InvalidStateError');
    const { transport, maxMessageBytes } = this.#session;
    const bytes = typeof data === 'string' ? Buffer.from(data) : Buffer.from(bytesOf(data));
    if (bytes.length > maxMessageBytes)
      throw new TypeError(`${bytes.length} bytes, and the peer takes ${maxMessageBytes}`);
    this.#channel.send(typeof data === 'string' ? data : bytes, transport.nowMs);
    transport.touch();
  }

  close(): void {
    const { transport } = this.#session;
    this.#channel.close(transport.nowMs);
    transport.touch();
  }

  /** @internal The connection ended. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#emit(new Event('close'));
  }

  #emit(event: Event): void {
    this.dispatchEvent(event);
  }

  #toData(data: Buffer, isText: boolean): string | ArrayBuffer | Blob {
    if (isText) return data.toString('utf8');
    const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer;
    return this.binaryType === 'blob' ? new Blob([bytes]) : bytes;
  }
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  return data instanceof ArrayBuffer
    ? new Uint8Array(data)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
