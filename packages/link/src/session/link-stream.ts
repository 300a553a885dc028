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
import { FRAME_COST_BYTES, ReceiveWindow, SendWindow } from './receive-window.ts';

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
  /** Longest payload of one record. */
  readonly maxFrameBytes: number;
}

const BUFFER_BYTES = 256 * 1024;

export class LinkStream extends Duplex implements BulkSender {
  readonly channel: number;
  /** The service that this stream was opened for. */
  readonly service: string;
  readonly #host: ChannelHost;
  readonly #lane: number;
  readonly #maxFrameBytes: number;
  readonly #head: Buffer;
  readonly #receiveWindow: ReceiveWindow;
  readonly #sendWindow: SendWindow;
  readonly #acceptance = Promise.withResolvers<Buffer>();
  #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  #onTaken: ((error?: Error) => void) | undefined;
  #onEnded: ((error?: Error) => void) | undefined;
  #received = 0;
  #consumed = 0;
  /** Frames of which something may be unread. */
  #unreadFrames = 0;
  #peerEnded = false;
  #endSent = false;
  #released = false;

  constructor(options: LinkStreamOptions) {
    super({ readableHighWaterMark: BUFFER_BYTES, writableHighWaterMark: BUFFER_BYTES, allowHalfOpen: true });
    this.channel = options.channel;
    this.service = options.service;
    this.#host = options.host;
    this.#lane = options.lane;
    this.#maxFrameBytes = options.maxFrameBytes;
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

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error) => void): void {
    this.#send([chunk], chunk.length, callback);
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error) => void): void {
    const parts = chunks.map(({ chunk }) => chunk);
    this.#send(
      parts,
      parts.reduce((sum, part) => sum + part.length, 0),
      callback,
    );
  }

  override _final(callback: (error?: Error) => void): void {
    this.#onEnded = callback;
    this.#host.ready(this, this.#lane);
  }

  pull(linkRoom: number): BulkFrame | 'later' | undefined {
    if (this.#outgoingBytes === 0) return this.#onEnded && !this.#endSent ? this.#endFrame() : undefined;
    const room = this.#sendWindow.room - FRAME_COST_BYTES;
    if (room <= 0) return undefined;
    const length = Math.min(this.#maxFrameBytes, room, linkRoom - FRAME_COST_BYTES, this.#outgoingBytes);
    if (length <= 0) return 'later';
    const parts = this.#take(length);
    const charged = length + FRAME_COST_BYTES;
    this.#sendWindow.spend(charged);
    if (this.#outgoingBytes === 0) {
      const onTaken = this.#onTaken;
      this.#onTaken = undefined;
      queueMicrotask(() => onTaken?.());
    }
    // What a final write left behind is the end frame.
    const more = this.#outgoingBytes > 0 || this.#onEnded !== undefined;
    return { head: this.#head, parts, length, charged, more };
  }

  // --- from the peer, called by the session

  onAccepted(meta: Buffer): void {
    this.#acceptance.resolve(meta);
  }

  /** Takes payload in; false when the peer overran its credit. */
  onData(payload: Buffer): boolean {
    if (this.#peerEnded || !this.#receiveWindow.receive(payload.length + FRAME_COST_BYTES)) return false;
    this.#received += payload.length;
    this.#unreadFrames += 1;
    try {
      this.push(payload);
    } catch (error) {
      this.destroy(error as Error); // a listener of "data" threw: the fault of this stream's owner only
      return true;
    }
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
    // A reader that waits for more than has come must not wait for credit that small unread frames hold.
    const starving = chunk === null && size !== undefined && size > this.readableLength;
    if (chunk || starving) this.#noteConsumed(starving || this.readableLength === 0);
    return chunk;
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#outgoing = [];
    this.#outgoingBytes = 0;
    const unread = this.#received - this.#consumed + this.#unreadFrames * FRAME_COST_BYTES;
    this.#consumed = this.#received;
    this.#unreadFrames = 0;
    if (unread > 0) this.#host.consumed(unread);
    if (!this.#released) {
      const code = error ? toWireCode(errorCode(error), 'STREAM_RESET') : toWireCode('STREAM_RESET', 'STREAM_RESET');
      if (!(this.#peerEnded && this.#endSent)) this.#host.sendReset(this.channel, code, error ? errorText(error) : '');
      this.#release();
    }
    const reason = error ?? linkError('STREAM_RESET', 'the stream was closed');
    this.#acceptance.reject(reason);
    this.#onTaken?.(reason);
    this.#onTaken = undefined;
    if (!this.#endSent) this.#onEnded?.(reason);
    this.#onEnded = undefined;
    callback(error);
  }

  #send(parts: Uint8Array[], length: number, callback: (error?: Error) => void): void {
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
    return { head: encodeFrame({ type: 'end', channel: this.channel }), parts: [], length: 0, charged: 0, more: false };
  }

  #noteConsumed(everyFrame = this.readableLength === 0): void {
    const bytes = Math.max(0, this.#received - this.readableLength - this.#consumed);
    const count = bytes + (everyFrame ? this.#unreadFrames * FRAME_COST_BYTES : 0);
    if (count === 0) return;
    this.#consumed += bytes;
    if (everyFrame) this.#unreadFrames = 0;
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
