/** A channel that the peer opened and this side has not answered yet. */

import { toWireCode } from '../errors.ts';
import { LinkStream } from './link-stream.ts';
import type { MessageChannel, MessageHandler } from './message-channel.ts';

export type RefusalCode = 'STREAM_REFUSED' | 'STREAM_NOT_GRANTED' | 'STREAM_UNKNOWN_SERVICE' | 'STREAM_TARGET_FAILED';

export class IncomingChannel {
  readonly service: string;
  /** What the opener sent along; foreign bytes, at most 4 KiB. */
  readonly meta: Buffer;
  readonly kind: 'stream' | 'message';
  readonly #channel: LinkStream | MessageChannel;
  readonly #sendAccept: (meta: Buffer) => void;

  constructor(channel: LinkStream | MessageChannel, meta: Buffer, sendAccept: (meta: Buffer) => void) {
    this.service = channel.service;
    this.meta = meta;
    this.kind = channel instanceof LinkStream ? 'stream' : 'message';
    this.#channel = channel;
    this.#sendAccept = sendAccept;
  }

  /** @throws TypeError when the peer opened a message channel. */
  acceptStream(meta: Uint8Array = Buffer.alloc(0)): LinkStream {
    if (!(this.#channel instanceof LinkStream)) throw new TypeError('the peer opened a message channel');
    this.#sendAccept(Buffer.from(meta));
    return this.#channel;
  }

  /** @throws TypeError when the peer opened a stream. */
  acceptMessages(onMessage: MessageHandler, meta: Uint8Array = Buffer.alloc(0)): MessageChannel {
    if (this.#channel instanceof LinkStream) throw new TypeError('the peer opened a stream');
    this.#sendAccept(Buffer.from(meta));
    this.#channel.start(onMessage);
    return this.#channel;
  }

  refuse(code: RefusalCode, reason: string): void {
    this.#channel.refuse(toWireCode(code, 'STREAM_REFUSED'), reason);
  }
}
