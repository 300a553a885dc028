/**
 * A reliable, ordered byte stream inside a link, as a Node.js Duplex: piping,
 * half-close and back-pressure work as with a socket. What the reader does not
 * take, the peer may not send beyond the channel window.
 */

import { Duplex } from 'node:stream';
import { type ClawError, errorCode, errorText } from '@claw/base';
import { fromWireCode, linkError, toWireCode } from '../errors.ts';
import type { BulkFrame, BulkSender } from './bulk-queue.ts';
import { encodeFrame, payloadHead } from './frames.ts';
import { ReceiveWindow, SendWindow } from './receive-window.ts';

/** What a channel asks of the session that owns it. */
export interface ChannelHost {
  /** Something can be pulled now. */
  ready(channel: BulkSender, lane: number): void;
  grant(channel: number, limit: number): void;
  consumed(count: number): void;
  sendReset(channel: number, code: number, reason: string): void;
  released(channel: number): void;
}

export interface LinkStreamOptions {
  readonly host: ChannelHost;
  readonly channel: number;
  readonly service: string;
  readonly lane: number;
  readonly windowBytes: number;
}

const BUFFER_BYTES = 256 * 1024;

export class LinkStream extends Duplex implements BulkSender {
  readonly channel: number;
  /** The service that this stream was opened for. */
  readonly service: string;
  readonly #host: ChannelHost;
  readonly #lane: number;
  readonly #head: Buffer;
  readonly #receiveWindow: ReceiveWindow;
  readonly #sendWindow: SendWindow;
  readonly #acceptance = Promise.withResolvers<Buffer>();
  #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  #onTaken: (() => void) | undefined;
  #onEnded: (() => void) | undefined;
  #received = 0;
  #consumed = 0;
  #peerEnded = false;
  #endSent = false;
  #released = false;

  constructor(options: LinkStreamOptions) {
    super({ readableHighWaterMark: BUFFER_BYTES, writableHighWaterMark: BUFFER_BYTES, allowHalfOpen: true });
    this.channel = options.channel;
    this.service = options.service;
    this.#host = options.host;
    this.#lane = options.lane;
    this.#head = payloadHead('data', options.channel);
    this.#receiveWindow = new ReceiveWindow(options.windowBytes);
    this.#sendWindow = new SendWindow(options.windowBytes);
    // Whoever uses the stream learns its end from `accepted`, a pipeline or a listener of its own. A
    // stream that nobody watches must not end the process because a peer resets it.
    this.#acceptance.promise.catch(() => {});
    this.on('error', () => {});
  }

  /** Resolves with the peer's metadata once it accepted; rejects when it refused. */
  get accepted(): Promise<Buffer> {
    return this.#acceptance.promise;
  }

  // --- towards the peer

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.#send([chunk], chunk.length, callback);
  }

  override _writev(chunks: { chunk: Buffer }[], callback: () => void): void {
    const parts = chunks.map(({ chunk }) => chunk);
    this.#send(parts, parts.reduce((sum, part) => sum + part.length, 0), callback);
  }

  override _final(callback: () => void): void {
    this.#onEnded = callback;
    this.#host.ready(this, this.#lane);
  }

  pull(maxPayload: number): BulkFrame | undefined {
    if (this.#outgoingBytes === 0) return this.#onEnded && !this.#endSent ? this.#endFrame() : undefined;
    const length = Math.min(maxPayload, this.#sendWindow.room, this.#outgoingBytes);
    if (length <= 0) return undefined;
    const parts = this.#take(length);
    this.#sendWindow.spend(length);
    if (this.#outgoingBytes === 0) {
      const onTaken = this.#onTaken;
      this.#onTaken = undefined;
      queueMicrotask(() => onTaken?.());
    }
    return { head: this.#head, parts, length, charged: length };
  }

  // --- from the peer, called by the session

  onAccepted(meta: Buffer): void {
    this.#acceptance.resolve(meta);
  }

  /** Takes payload in; false when the peer overran its credit. */
  onData(payload: Buffer): boolean {
    if (this.#peerEnded || !this.#receiveWindow.receive(payload.length)) return false;
    this.#received += payload.length;
    if (!this.destroyed) this.push(payload);
    this.#noteConsumed();
    return true;
  }

  onEnd(): void {
    if (this.#peerEnded) return;
    this.#peerEnded = true;
    this.push(null);
    this.#releaseWhenDone();
  }

  onCredit(limit: number): void {
    this.#sendWindow.raise(limit);
    if (this.#outgoingBytes > 0) this.#host.ready(this, this.#lane);
  }

  onReset(code: number, reason: string): void {
    this.#release();
    const error = linkError(fromWireCode(code, 'STREAM_RESET'), reason || 'the peer reset the stream');
    this.#acceptance.reject(error);
    this.destroy(error);
  }

  /** Turns the peer's open down. */
  refuse(code: number, reason: string): void {
    this.#host.sendReset(this.channel, code, reason);
    this.#release();
    this.destroy();
  }

  /** The link is gone: ends the stream without telling the peer. */
  onLinkClosed(error: ClawError): void {
    this.#released = true;
    this.#acceptance.reject(error);
    this.destroy(error);
  }

  // --- Duplex plumbing

  override _read(): void {}

  override read(size?: number): Buffer | null {
    const chunk = super.read(size) as Buffer | null;
    if (chunk) this.#noteConsumed();
    return chunk;
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#outgoing = [];
    this.#outgoingBytes = 0;
    const unread = this.#received - this.#consumed;
    if (unread > 0) {
      this.#consumed = this.#received;
      this.#host.consumed(unread);
    }
    if (!this.#released) {
      const code = error ? toWireCode(errorCode(error), 'STREAM_RESET') : toWireCode('STREAM_RESET', 'STREAM_RESET');
      if (!(this.#peerEnded && this.#endSent)) this.#host.sendReset(this.channel, code, error ? errorText(error) : '');
      this.#release();
    }
    this.#acceptance.reject(error ?? linkError('STREAM_RESET', 'the stream was closed'));
    const onEnded = this.#onEnded;
    this.#onEnded = undefined;
    if (!this.#endSent) onEnded?.();
    callback(error);
  }

  #send(parts: Uint8Array[], length: number, callback: () => void): void {
    if (length === 0) return callback();
    this.#outgoing = parts;
    this.#outgoingBytes = length;
    this.#onTaken = callback;
    this.#host.ready(this, this.#lane);
  }

  /** Removes the first `length` outgoing bytes, without copying them. */
  #take(length: number): Uint8Array[] {
    this.#outgoingBytes -= length;
    const taken: Uint8Array[] = [];
    let left = length;
    let index = 0;
    while (left > 0) {
      const part = this.#outgoing[index] as Uint8Array;
      if (part.length <= left) {
        taken.push(part);
        left -= part.length;
        index += 1;
      } else {
        taken.push(part.subarray(0, left));
        this.#outgoing[index] = part.subarray(left);
        left = 0;
      }
    }
    this.#outgoing.splice(0, index);
    return taken;
  }

  #endFrame(): BulkFrame {
    this.#endSent = true;
    const onEnded = this.#onEnded as () => void;
    queueMicrotask(() => {
      onEnded();
      this.#releaseWhenDone();
    });
    return { head: encodeFrame({ type: 'end', channel: this.channel }), parts: [], length: 0, charged: 0 };
  }

  #noteConsumed(): void {
    const count = this.#received - this.readableLength - this.#consumed;
    if (count <= 0) return;
    this.#consumed += count;
    this.#host.consumed(count);
    const limit = this.#receiveWindow.consume(count);
    if (limit !== undefined && !this.#peerEnded && !this.#released) this.#host.grant(this.channel, limit);
  }

  #releaseWhenDone(): void {
    if (this.#peerEnded && this.#endSent) this.#release();
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#host.released(this.channel);
  }
}
