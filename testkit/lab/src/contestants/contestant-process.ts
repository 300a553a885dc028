/**
 * A contestant's process as the runner sees it: commands in, events out, both
 * bounded. However the process ends, or what it prints, becomes an error with a
 * reason; at the close nothing of it is left.
 */

import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type ClawError, Emitter, sleep, withDeadline } from '@claw/base';
import type { HarnessCommand, HarnessEvent, Measured } from './contract.ts';
import { type ContestantErrorCode, contestantError } from './errors.ts';
import { parseEvent } from './harness-messages.ts';
import { LineReader } from './line-reader.ts';
import { longestMeasureMs, type MeasureOrder } from './measure.ts';
import { sharedClock } from './shared-clock.ts';

/** Starts a program where the contestant is to run: in a namespace, or here. */
export type SpawnContestant = (command: readonly [string, ...string[]], options: SpawnOptions) => ChildProcess;

type EventOf<Name extends HarnessEvent['event']> = Extract<HarnessEvent, { event: Name }>;
type ProcessEvents = { [Name in HarnessEvent['event']]: EventOf<Name> } & {
  /** The process ended, or is being ended for what it printed. */
  lost: ClawError<ContestantErrorCode>;
};

const HARNESS = fileURLToPath(new URL('./harness.ts', import.meta.url));
const STDERR_CHARACTERS = 4000;
/** More events than this in a row are not of our harness. */
const MAX_SIGNALS = 10_000;
const CLOSE_MS = 5000;
const KILL_MS = 2000;
const MEASURE_SLACK_MS = 5000;

export interface ContestantProcessOptions {
  /** For people: `werift a`. */
  readonly label: string;
  readonly spawn: SpawnContestant;
  /** The program, see {@link harnessCommand}. */
  readonly command: readonly [string, ...string[]];
  /** Beside this process's environment. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** The harness of `name`, run by this Node.js with the young generation that our daemon has (docs/adr/0012). */
export function harnessCommand(name: string): readonly [string, ...string[]] {
  return [process.execPath, '--max-semi-space-size=2', HARNESS, name];
}

export class ContestantProcess implements AsyncDisposable {
  readonly label: string;
  readonly #child: ChildProcess;
  readonly #events = new Emitter<ProcessEvents>((error) => {
    throw error;
  });
  /** What came last of each kind, for those who ask later. */
  readonly #last = new Map<HarnessEvent['event'], HarnessEvent>();
  readonly #exited: Promise<unknown>;
  #stderr = '';
  #signals = 0;
  #lost: ClawError<ContestantErrorCode> | undefined;
  #closing: Promise<void> | undefined;

  constructor({ label, spawn, command, environment }: ContestantProcessOptions) {
    this.label = label;
    this.#child = spawn(command, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
    const child = this.#child;
    const reader = new LineReader(
      (line) => this.#receive(line),
      () => this.#garbled('a line without end'),
    );
    child.stdout?.on('data', (chunk: Buffer) => reader.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-STDERR_CHARACTERS);
    });
    child.stdin?.on('error', () => {}); // the end of the process tells it better
    this.#exited = new Promise((resolve) => {
      child.once('error', (cause) => {
        this.#lose(contestantError('CONTESTANT_ENDED', `${label} cannot be started: ${cause.message}`, { cause }));
        resolve(undefined);
      });
      child.once('close', (code, signal) => {
        const how = signal ? `was ended by ${signal}` : `ended with code ${code}`;
        const told = (this.last('failed') ?? this.last('closed'))?.reason;
        this.#lose(contestantError('CONTESTANT_ENDED', `${label} ${how}${told ? `: ${told}` : this.#lastWords()}`));
        resolve(undefined);
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The end of what it wrote to stderr. */
  get stderr(): string {
    return this.#stderr;
  }

  on<Name extends keyof ProcessEvents>(name: Name, listener: (event: ProcessEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /** The last event of a kind, when there was one. */
  last<Name extends HarnessEvent['event']>(name: Name): EventOf<Name> | undefined {
    return this.#last.get(name) as EventOf<Name> | undefined;
  }

  send(command: HarnessCommand): void {
    if (this.#lost || this.#closing) return;
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  /**
   * The next event of this kind, or the one that came already unless `fresh`.
   * @throws ClawError `CONTESTANT_FAILED` with the contestant's reason, `CONTESTANT_SILENT` after `limitMs`,
   * `CONTESTANT_ENDED`, `CONTESTANT_GARBLED`.
   */
  async expect<Name extends HarnessEvent['event']>(name: Name, limitMs: number, fresh = false): Promise<EventOf<Name>> {
    const known = fresh ? undefined : this.last(name);
    if (known) return known;
    const { promise, resolve, reject } = Promise.withResolvers<EventOf<Name>>();
    const off = [
      this.#events.on(name, resolve as unknown as (event: ProcessEvents[Name]) => void),
      this.#events.on('lost', reject),
    ];
    // A session that ended has its measurement still to tell; anything else it will not do.
    if (name !== 'measured' && name !== 'closed') {
      const fail = ({ reason }: { reason: string }) => reject(contestantError('CONTESTANT_FAILED', reason));
      const over = this.last('failed') ?? this.last('closed');
      if (over) fail(over);
      off.push(this.#events.on('failed', fail), this.#events.on('closed', fail));
    }
    if (this.#lost) reject(this.#lost);
    try {
      return await withDeadline(sharedClock, promise, limitMs, () =>
        contestantError('CONTESTANT_SILENT', `${this.label} did not say ${name} in ${limitMs} ms${this.#lastWords()}`),
      );
    } finally {
      for (const unsubscribe of off) unsubscribe();
    }
  }

  /** Only at a. What is known is returned also when the session dies; a process that dies throws. */
  async measure(order: MeasureOrder): Promise<Measured> {
    const measured = this.expect('measured', longestMeasureMs(order) + MEASURE_SLACK_MS, true);
    this.send({ do: 'measure', ...order });
    return (await measured).measured;
  }

  /** Asks it to close, then ends it. Takes at most 7 s. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      child.stdin?.write(`${JSON.stringify({ do: 'close' } satisfies HarnessCommand)}\n`);
      child.stdin?.end();
      await Promise.race([this.#exited, sleep(sharedClock, CLOSE_MS)]);
    }
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) child.kill('SIGKILL');
    // Grandchildren may hold the pipes; the process itself is what is waited for.
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      await Promise.race([once(child, 'exit'), sleep(sharedClock, KILL_MS)]);
    }
    child.stdout?.destroy();
    child.stderr?.destroy();
  }

  #receive(line: string): void {
    if (this.#lost) return;
    const event = parseEvent(line);
    if (!event) return this.#garbled(line.slice(0, 200));
    if (event.event === 'signal' && ++this.#signals > MAX_SIGNALS) return this.#garbled('signals without end');
    this.#last.set(event.event, event);
    this.#events.emit(event.event, event);
  }

  #garbled(text: string): void {
    this.#lose(contestantError('CONTESTANT_GARBLED', `${this.label} wrote what is no event: ${text}`));
    this.#child.kill('SIGKILL');
  }

  #lose(error: ClawError<ContestantErrorCode>): void {
    if (this.#lost) return;
    this.#lost = error;
    this.#events.emit('lost', error);
  }

  #lastWords(): string {
    const words = this.#stderr.trim().split('\n').slice(-6).join(' | ').slice(-600);
    return words === '' ? '' : `; last on stderr: ${words}`;
  }
}
