/** An MCP server of this machine: a process of its own for each stream, its stdio joined to the stream, and both end together. */

import { finished, pipeline } from 'node:stream/promises';
import { type Clock, sleep, systemClock } from '@claw/base';
import type { LinkStream } from '@claw/link';
import { McpProcess } from './mcp-process.ts';
import type { Share, ShareContext } from './share.ts';

/** Servers of one share at once: a process costs more than a stream. */
const MAX_SERVERS = 32;
/** How long the peer gets to take the last answer before the stream is cut. */
const LINGER_MS = 5_000;

export class McpShare implements Share {
  readonly #command: readonly string[];
  readonly #clock: Clock;
  readonly #servers = new Set<McpProcess>();
  #starting = 0;
  #closed = false;

  /** @param command program and arguments; no shell is involved */
  constructor(command: readonly string[], clock: Clock = systemClock) {
    this.#command = command;
    this.#clock = clock;
  }

  async serve(accept: () => LinkStream, context: ShareContext): Promise<void> {
    const server = await this.#start(context);
    try {
      const stream = accept();
      const peerDone = finished(stream, { writable: false }).catch(() => {});
      void peerDone.then(() => server.end());
      // No pipeline: when the server dies, what it said last must still reach the peer.
      stream.pipe(server.stdin);
      server.stdin.once('close', () => stream.resume());
      await pipeline(server.stdout, stream).catch(() => {});
      await server.end();
      await Promise.race([peerDone, sleep(this.#clock, LINGER_MS)]);
      stream.destroy();
    } finally {
      await server.end();
      this.#servers.delete(server);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#servers].map((server) => server.end({ now: true })));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start({ name, peer, logger }: ShareContext): Promise<McpProcess> {
    if (this.#servers.size + this.#starting >= MAX_SERVERS)
      throw new Error(`${MAX_SERVERS} servers are running already`);
    this.#starting += 1;
    try {
      const onStderr = (line: string) => logger.info('share.mcp-stderr', { share: name, peer, line });
      const server = await McpProcess.start({ command: this.#command, clock: this.#clock, onStderr });
      this.#servers.add(server);
      if (this.#closed) void server.end({ now: true });
      return server;
    } finally {
      this.#starting -= 1;
    }
  }
}
