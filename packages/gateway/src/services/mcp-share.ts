/**
 * An MCP server of this machine: a process of its own for each stream, stdio
 * joined to the stream. The process ends with the stream, with everything that it
 * started (it leads a process group).
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInterface } from 'node:readline';
import { type Clock, systemClock } from '@claw/base';
import type { LinkStream } from '@claw/link';
import type { Share, ShareContext } from './share.ts';

type Server = ChildProcessByStdio<Writable, Readable, Readable>;

/** Between closing a server's stdin, SIGTERM and SIGKILL (MCP, lifecycle: shutdown over stdio). */
const GRACE_MS = 2_000;
const MAX_LOGGED_LINE = 500;

export class McpShare implements Share {
  readonly #command: readonly string[];
  readonly #clock: Clock;
  readonly #servers = new Set<Server>();

  /** @param command program and arguments; no shell is involved */
  constructor(command: readonly string[], clock: Clock = systemClock) {
    this.#command = command;
    this.#clock = clock;
  }

  async serve(accept: () => LinkStream, context: ShareContext): Promise<void> {
    const server = await this.#start(context);
    const stream = accept();
    const exited = once(server, 'exit');
    await Promise.allSettled([
      pipeline(stream, server.stdin),
      pipeline(server.stdout, stream),
    ]);
    stream.destroy();
    this.#end(server);
    await exited;
  }

  async close(): Promise<void> {
    for (const server of this.#servers) this.#end(server);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start({ name, peer, logger }: ShareContext): Promise<Server> {
    const [program = '', ...args] = this.#command;
    const server = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: process.platform !== 'win32' });
    this.#servers.add(server);
    server.once('exit', () => this.#servers.delete(server));
    server.stdin.on('error', () => {}); // it may stop reading before it exits
    createInterface({ input: server.stderr }).on('line', (line) =>
      logger.info('share.mcp-stderr', { share: name, peer, line: line.slice(0, MAX_LOGGED_LINE) }),
    );
    try {
      await once(server, 'spawn');
    } catch (error) {
      this.#servers.delete(server);
      throw error;
    }
    return server;
  }

  /** Asks the server to end, then makes it. */
  #end(server: Server): void {
    server.stdin.destroy();
    const steps: NodeJS.Signals[] = ['SIGTERM', 'SIGKILL'];
    const next = () => {
      if (server.exitCode !== null || server.signalCode !== null) return;
      const signal = steps.shift();
      if (!signal) return;
      killGroup(server, signal);
      const timer = this.#clock.setTimer(GRACE_MS, next);
      server.once('exit', () => timer.cancel());
    };
    next();
  }
}

function killGroup(server: Server, signal: NodeJS.Signals): void {
  try {
    if (server.pid !== undefined && process.platform !== 'win32') process.kill(-server.pid, signal);
    else server.kill(signal);
  } catch {
    // it is gone already
  }
}
