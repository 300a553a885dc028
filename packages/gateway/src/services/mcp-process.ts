/**
 * One MCP server as a process that leads a group of its own, so that it ends with
 * everything it started (MCP, lifecycle: shutdown over stdio).
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { homedir } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { type Clock, sleep } from '@claw/base';

export interface McpProcessOptions {
  /** Program and arguments; no shell is involved. */
  readonly command: readonly string[];
  readonly clock: Clock;
  /** A line of its stderr, cut at 500 characters; at most 20 a second. */
  readonly onStderr: (line: string) => void;
}

/** Between closing stdin, SIGTERM and SIGKILL. */
const GRACE_MS = 2_000;
const POLL_MS = 25;
const MAX_LINE = 500;
const MAX_LINES_A_SECOND = 20;

export class McpProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #clock: Clock;
  readonly #exited: Promise<unknown>;
  #ending: Promise<void> | undefined;

  private constructor({ command, clock, onStderr }: McpProcessOptions) {
    const [program = '', ...args] = command;
    // The daemon's own folder says nothing to the person who typed the command; the home folder does.
    this.#child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: homedir(),
      detached: process.platform !== 'win32',
    });
    this.#clock = clock;
    this.stdin = this.#child.stdin;
    this.stdout = this.#child.stdout;
    this.#exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.stdin.on('error', () => {}); // it may stop reading before it exits
    this.stdout.on('error', () => {});
    readLines(this.#child.stderr, clock, onStderr);
    this.#child.once('exit', () => void this.end()); // what it left behind goes too
  }

  /** Rejects with the system's error when the program cannot be started. */
  static async start(options: McpProcessOptions): Promise<McpProcess> {
    const started = new McpProcess(options);
    await once(started.#child, 'spawn');
    started.#child.on('error', () => {}); // a signal that was not delivered
    return started;
  }

  /** Closes stdin and waits a little, or not when `now`; then SIGTERM, then SIGKILL, until nothing of the group is left. */
  end(options: { readonly now?: boolean } = {}): Promise<void> {
    this.#ending ??= this.#end(options.now ?? false);
    return this.#ending;
  }

  async #end(now: boolean): Promise<void> {
    this.stdin.end();
    if (!now) await Promise.race([this.#exited, sleep(this.#clock, GRACE_MS)]);
    this.#signal('SIGTERM');
    const giveUpAt = this.#clock.monotonicMs() + GRACE_MS;
    while (this.#signal(0) && this.#clock.monotonicMs() < giveUpAt) await sleep(this.#clock, POLL_MS);
    this.#signal('SIGKILL');
    await this.#exited;
    // Who left the group may hold stdout still: its last word has been read by then.
    await Promise.race([once(this.#child, 'close'), sleep(this.#clock, POLL_MS)]);
    this.stdin.destroy();
    this.stdout.destroy();
    this.#child.stderr.destroy();
  }

  /** False when nobody is left to get it. */
  #signal(signal: NodeJS.Signals | 0): boolean {
    try {
      if (process.platform === 'win32' || this.#child.pid === undefined) return this.#child.kill(signal);
      return process.kill(-this.#child.pid, signal);
    } catch {
      return false;
    }
  }
}

/** Lines of at most {@link MAX_LINE} characters, whatever is written and however fast; the rest is counted and dropped. */
function readLines(input: Readable, clock: Clock, onLine: (line: string) => void): void {
  let line = '';
  let second = 0;
  let told = 0;
  let dropped = 0;
  const tell = (text: string) => {
    const now = Math.floor(clock.monotonicMs() / 1000);
    if (now !== second) [second, told] = [now, 0];
    if (told >= MAX_LINES_A_SECOND) dropped += 1;
    else {
      told += 1;
      if (dropped > 0) onLine(`(${dropped} lines dropped)`);
      dropped = 0;
      onLine(text);
    }
  };
  input.setEncoding('utf8');
  input.on('error', () => {});
  input.on('data', (chunk: string) => {
    const parts = chunk.split('\n');
    for (const [index, part] of parts.entries()) {
      line += part.slice(0, MAX_LINE - line.length);
      if (index === parts.length - 1) break;
      if (line.trim() !== '') tell(line);
      line = '';
    }
  });
  input.on('end', () => line.trim() !== '' && tell(line));
}
