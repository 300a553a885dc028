/** What every verb gets: the home, the way to print, and the daemon when it needs one. */

import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { isClawError } from '@claw/base';
import { readSession } from '@claw/gateway';
import { startDaemon } from './daemon/start.ts';
import { NodeClient } from './node-client.ts';
import { Output } from './output.ts';

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
      return new NodeClient(await readSession(this.home));
    } catch (error) {
      if (isClawError(error, 'GATEWAY_UNREACHABLE')) return undefined;
      throw error;
    }
  }

  /** The daemon, started when it does not run. */
  async daemon(): Promise<NodeClient> {
    const running = await this.running();
    if (running) return running;
    const started = await startDaemon({ home: this.home });
    this.out.note(`Started the node (process ${started.pid}); "claw down" stops it.`);
    return new NodeClient(await readSession(this.home));
  }
}
