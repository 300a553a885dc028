/**
 * The process that carries all frames of one lab (`native/netd.c`), as an object.
 * Commands are answered in the order they were given, so many may be in flight.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { LinkSpec } from '@claw/scenarios';
import { labError } from './errors.ts';
import { formatLink } from './link-line.ts';
import { nativeProgram } from './native.ts';

export interface LinkCounts {
  /** IP packets that came to the link. */
  readonly packets: number;
  readonly lost: number;
  /** Dropped for `dropAboveBytes`. */
  readonly above: number;
  /** Dropped for want of room in the queue. */
  readonly queue: number;
  readonly corrupted: number;
  readonly duplicated: number;
  readonly reordered: number;
}

export interface InterfaceCounts {
  readonly read: number;
  readonly written: number;
  /** Of the whole lab: frames dropped because too many were in flight. */
  readonly overflow: number;
  readonly up: LinkCounts;
  readonly down: LinkCounts;
}

interface Waiting {
  readonly line: string;
  readonly resolve: (answer: string) => void;
  readonly reject: (error: Error) => void;
}

export class Netd {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting: Waiting[] = [];
  readonly #ended: Promise<void>;
  #isOver = false;

  /**
   * netd joins the control group of which `groupFile` is the cgroup.procs. When this
   * process dies it joins that of `heirGroupFile` and becomes `heir`.
   */
  constructor(groupFile?: string, heirGroupFile?: string, heir: readonly string[] = []) {
    const args = [groupFile, heirGroupFile, ...heir].filter((each) => each !== undefined);
    // A session of its own, so that a terminal's interrupt reaches only the owner.
    this.#child = spawn(nativeProgram('netd'), args, { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#answered(line));
    this.#child.stdin.on('error', () => {});
    this.#ended = new Promise((resolve) => {
      const end = (why: string) => {
        this.#isOver = true;
        for (const { reject, line } of this.#waiting.splice(0)) reject(failed(line, why));
        resolve();
      };
      this.#child.once('error', (error) => end(error.message));
      this.#child.once('exit', (code, signal) => end(`netd ended with ${code ?? signal}`));
    });
  }

  /** What follows `ok`. Throws LAB_NETD_FAILED with netd's words. */
  command(line: string): Promise<string> {
    if (this.#isOver) return Promise.reject(failed(line, 'netd has ended'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line, resolve, reject });
      this.#child.stdin.write(`${line}\n`);
    });
  }

  async setLink(index: number, direction: 'up' | 'down', link: LinkSpec): Promise<void> {
    await this.command(`link ${index} ${direction} ${formatLink(link)}`.trimEnd());
  }

  async counts(index: number): Promise<InterfaceCounts> {
    return JSON.parse(await this.command(`stats ${index}`)) as InterfaceCounts;
  }

  /** Ends netd and with it every interface it made. */
  close(): Promise<void> {
    this.#child.stdin.end('quit\n');
    return this.#ended;
  }

  #answered(line: string): void {
    const waiting = this.#waiting.shift();
    if (line.startsWith('ok')) waiting?.resolve(line.slice(3));
    else waiting?.reject(failed(waiting.line, line));
  }
}

function failed(line: string, why: string) {
  return labError('LAB_NETD_FAILED', `"${line.slice(0, 80)}": ${why}`);
}
