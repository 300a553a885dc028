/** Messages over a byte stream: a length of four bytes, little-endian, before each. */

import type { Duplex } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import type { PathFacts } from '../contract.ts';
import { BaseSession } from './base-session.ts';
import { Gate } from './gate.ts';

const MAX_MESSAGE_BYTES = 1024 * 1024;
const CLOSE_MS = 200;

export class StreamSession extends BaseSession {
  readonly #stream: Duplex;
  readonly #path: () => PathFacts | Promise<PathFacts>;
  readonly #gate = new Gate();
  #rest: Buffer = Buffer.alloc(0);

  /** The stream belongs to the session from here on. */
  constructor(stream: Duplex, path: () => PathFacts | Promise<PathFacts>) {
    super();
    this.#stream = stream;
    this.#path = path;
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('drain', () => this.#gate.open());
    stream.on('error', (error) => this.#over(error.message));
    stream.on('end', () => this.#over('the other end closed'));
    stream.on('close', () => this.#over('closed'));
  }

  async send(message: Buffer): Promise<void> {
    if (this.endReason !== undefined) throw new Error(this.endReason);
    const head = Buffer.allocUnsafe(4);
    head.writeUInt32LE(message.length);
    // One write: not every stream can be corked.
    if (!this.#stream.write(Buffer.concat([head, message]))) await this.#gate.wait();
  }

  async path(): Promise<PathFacts> {
    return this.#path();
  }

  async close(): Promise<void> {
    this.#over('closed here');
    if (this.#stream.destroyed) return;
    const closed = new Promise<void>((resolve) => this.#stream.once('close', resolve));
    this.#stream.end();
    await Promise.race([closed, wait(CLOSE_MS, undefined, { ref: false })]);
    this.#stream.destroy();
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    while (bytes.length >= 4) {
      const length = bytes.readUInt32LE(0);
      if (length > MAX_MESSAGE_BYTES) return void this.#stream.destroy(new Error(`a message of ${length} bytes came`));
      if (bytes.length < 4 + length) break;
      this.deliver(bytes.subarray(4, 4 + length));
      bytes = bytes.subarray(4 + length);
    }
    this.#rest = bytes;
  }

  #over(reason: string): void {
    this.end(reason);
    this.#gate.fail(reason);
  }
}
