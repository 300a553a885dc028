/** A TCP service of this machine: one connection to the target for each stream. */

import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { LinkStream } from '@claw/link';
import type { Share } from './share.ts';

const CONNECT_TIMEOUT_MS = 10_000;

export class TcpShare implements Share {
  readonly #host: string;
  readonly #port: number;
  readonly #sockets = new Set<Socket>();

  /** @param target `HOST:PORT`, an IPv6 host in brackets */
  constructor(target: string) {
    const colon = target.lastIndexOf(':');
    this.#host = target.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
    this.#port = Number(target.slice(colon + 1));
  }

  async serve(accept: () => LinkStream): Promise<void> {
    const socket = await this.#connect();
    this.#sockets.add(socket);
    try {
      await relay(accept(), socket);
    } finally {
      this.#sockets.delete(socket);
      socket.destroy();
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #connect(): Promise<Socket> {
    const socket = connect({
      host: this.#host,
      port: this.#port,
      noDelay: true,
      allowHalfOpen: true,
      timeout: CONNECT_TIMEOUT_MS,
    });
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.once('timeout', () =>
        socket.destroy(new Error(`no answer from the target within ${CONNECT_TIMEOUT_MS} ms`)),
      );
      socket.once('connect', () => {
        socket.setTimeout(0);
        socket.off('error', reject);
        resolve(socket);
      });
    });
  }
}

/**
 * Joins a stream of the link and a socket, both directions, half-close included. A break of one is a reset of the
 * other, never an orderly end: half a file must not pass for a whole one. Never rejects: either end may vanish.
 */
export async function relay(stream: LinkStream, socket: Socket): Promise<void> {
  stream.once('error', () => socket.resetAndDestroy()); // before the pipelines, which would close it in order
  const ended = await Promise.allSettled([pipeline(stream, socket), pipeline(socket, stream)]);
  if (ended.some((result) => result.status === 'rejected')) {
    stream.destroy();
    socket.destroy();
  }
}
