/** What every verb gets: the home, the way to print, and the daemon when it needs one. */

import { connect } from 'node:net';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { isClawError } from '@claw/base';
import { readSession } from '@claw/gateway';
import { startDaemon } from './daemon/start.ts';
import { NodeClient } from './node-client.ts';
import { Output } from './output.ts';

/** How long a daemon that another command starts may take. */
const OTHER_START_MS = 10_000;
const POLL_MS = 25;

export interface GlobalOptions {
  readonly home?: string;
  readonly json?: boolean;
}

export class Context {
  readonly home: string;
  readonly out: Output;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;

  constructor(options: GlobalOptions, signal: AbortSignal) {
    this.home = resolve(options.home ?? process.env['OPENCLAW_HOME'] ?? join(homedir(), '.openclaw'));
    this.out = new Output(options.json ?? false);
    this.signal = signal;
  }

  /** The running daemon, or `undefined`. */
  async running(): Promise<NodeClient | undefined> {
    try {
      const session = await readSession(this.home);
      // A session file outlives a power cut, and its process id may be another's by now.
      return (await isListening(session.port)) ? new NodeClient(session) : undefined;
    } catch (error) {
      if (isClawError(error, 'GATEWAY_UNREACHABLE')) return undefined;
      throw error;
    }
  }

  /** The daemon, started when it does not run. */
  async daemon(): Promise<NodeClient> {
    const running = await this.running();
    if (running) return running;
    try {
      const started = await startDaemon({ home: this.home });
      this.out.note(`Started the node (process ${started.pid}); "claw down" stops it.`);
    } catch (error) {
      return this.daemonOfAnother(error);
    }
    return new NodeClient(await readSession(this.home));
  }

  /** After a start that failed because another command was quicker: the daemon that one started. Throws `error` if it was not that. */
  async daemonOfAnother(error: unknown): Promise<NodeClient> {
    if (!isClawError(error, 'NODE_RUNNING')) throw error;
    const giveUpAt = performance.now() + OTHER_START_MS;
    while (performance.now() < giveUpAt) {
      const running = await this.running();
      if (running) return running;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw error;
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const answer = (is: boolean) => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}
