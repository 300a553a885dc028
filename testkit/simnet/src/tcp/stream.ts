/** A TCP connection as programs see it: bytes in order each way, with back-pressure and half-close. */

import { simnetError } from '../errors.ts';
import type { Endpoint } from '../nat/flow.ts';
import type { Connection } from './connection.ts';

export interface TcpStreamOptions {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly sendBufferBytes: number;
  /** To be called before a promise is settled. */
  readonly touch: () => void;
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

export class TcpStream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Resolves when both sides said all they had; rejects when the connection breaks. Nobody needs to listen. */
  readonly closed: Promise<void>;
  readonly #connection: Connection;
  readonly #options: TcpStreamOptions;
  readonly #close = Promise.withResolvers<void>();
  #reader: Waiter<Buffer | undefined> | undefined;
  #writers: Waiter<void>[] = [];
  #isEnded = false;
  #error: Error | undefined;

  constructor(connection: Connection, options: TcpStreamOptions) {
    this.#connection = connection;
    this.#options = options;
    this.local = options.local;
    this.remote = options.remote;
    this.closed = this.#close.promise;
    this.closed.catch(() => {});
  }

  /** Bytes that were written and are not yet acknowledged. */
  get bufferedBytes(): number {
    return this.#connection.bufferedBytes;
  }

  /** Copies `bytes`; resolves when there is room for more. Rejects once the connection broke. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#isEnded) return Promise.reject(new TypeError('write after end'));
    if (this.#error) return Promise.reject(this.#error);
    this.#connection.write(bytes);
    if (this.#hasRoom) return Promise.resolve();
    return new Promise((resolve, reject) => this.#writers.push({ resolve, reject }));
  }

  /** The next bytes, or undefined at the end of what the peer had to say. One read at a time. */
  read(): Promise<Buffer | undefined> {
    if (this.#reader) return Promise.reject(new TypeError('another read is waiting'));
    const bytes = this.#connection.read();
    if (bytes || this.#connection.isAtEnd) return Promise.resolve(bytes);
    if (this.#error) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  /** Says that nothing more will be written; reading goes on. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (!this.#error) this.#connection.end();
  }

  /** Breaks the connection at once; the peer sees SIMNET_RESET. */
  reset(): void {
    this.#connection.reset();
  }

  /** @internal Called by the stack. */
  progress(): void {
    if (this.#reader) {
      const bytes = this.#connection.read();
      if (bytes || this.#connection.isAtEnd) {
        const reader = this.#reader;
        this.#reader = undefined;
        this.#options.touch();
        reader.resolve(bytes);
      }
    }
    if (this.#writers.length > 0 && this.#hasRoom) {
      this.#options.touch();
      for (const writer of this.#writers.splice(0)) writer.resolve();
    }
    if (this.#connection.isFinished && !this.#error) this.#settleClose();
  }

  /** @internal Called by the stack. */
  finish(error: Error | undefined): void {
    this.#options.touch();
    if (!error) return this.#settleClose();
    this.#error = error;
    this.#reader?.reject(error);
    this.#reader = undefined;
    for (const writer of this.#writers.splice(0)) writer.reject(error);
    this.#close.reject(error);
  }

  get #hasRoom(): boolean {
    return this.#connection.bufferedBytes < this.#options.sendBufferBytes;
  }

  #settleClose(): void {
    this.#options.touch();
    // What is written from now on would never leave.
    this.#isEnded = true;
    this.#error ??= simnetError('SIMNET_CLOSED', 'the connection is closed');
    this.#close.resolve();
  }
}
