/**
 * The process of one contestant: `node harness.ts NAME`. Commands come on stdin,
 * events leave on stdout, one JSON document a line; whatever libraries print goes
 * to stderr. It ends with the parent, and nothing that escapes a contestant ends
 * it without an event that says why. Exit codes: 0 closed, 1 failed by itself, 2 misuse.
 */

import { errorText, sleep, withDeadline } from '@claw/base';
import { loadAdapter } from './adapters/index.ts';
import type { Adapter, HarnessCommand, HarnessEvent, PeerContext, Session } from './contract.ts';
import { parseCommand } from './harness-messages.ts';
import { LineReader } from './line-reader.ts';
import { Measurer } from './measure.ts';
import { answerMeasurements } from './measure-answer.ts';
import { sharedClock } from './shared-clock.ts';

const CLOSE_LIMIT_MS = 3000;

type Load = Extract<HarnessCommand, { do: 'load' }>;
type Open = Extract<HarnessCommand, { do: 'open' }>;

const toParent = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

function emit(event: HarnessEvent): void {
  toParent(`${JSON.stringify(event)}\n`);
}

class Harness {
  readonly #name: string;
  readonly #end = new AbortController();
  readonly #signals: unknown[] = [];
  #adapter: Adapter | undefined;
  #load: Load | undefined;
  #session: Session | undefined;
  #measurer: Measurer | undefined;
  #onSignal: ((data: unknown) => void) | undefined;
  #trouble = '';
  /** `failed` or `closed` was told. */
  #over = false;
  #closing = false;

  constructor(name: string) {
    this.#name = name;
  }

  async follow(command: HarnessCommand): Promise<void> {
    switch (command.do) {
      case 'load':
        return this.#prepare(command);
      case 'open':
        return this.#open(command);
      case 'serve':
        return this.#serve(command);
      case 'signal':
        if (this.#onSignal) this.#onSignal(command.data);
        else this.#signals.push(command.data);
        return;
      case 'measure': {
        if (!this.#measurer) throw new Error('measure: this side is not a, or not connected');
        return emit({ event: 'measured', measured: await this.#measurer.measure(command) });
      }
      case 'close':
        return this.close('closed by the runner', 0);
    }
  }

  /** Tells why, lets the contestant end itself, and ends the process. */
  async close(reason: string, exitCode: number): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const stopped = Promise.resolve(this.#session?.close()).catch(() => {}); // it is being thrown away
    await Promise.race([stopped, sleep(sharedClock, CLOSE_LIMIT_MS)]);
    this.#end.abort(new Error(reason));
    this.#tellEnd(reason);
    process.exit(exitCode);
  }

  /** The contestant threw where nobody listens. */
  escaped(error: unknown): void {
    console.error(error);
    if (this.#closing) return;
    this.#tellEnd(errorText(error));
    void this.close(errorText(error), 1);
  }

  async #prepare(command: Load): Promise<void> {
    this.#load = command;
    this.#adapter = await loadAdapter(this.#name);
    const { role, seed, folder } = command;
    const facts = (await this.#adapter.prepare?.({ role, seed, folder, signal: this.#end.signal })) ?? null;
    emit({ event: 'ready', version: await this.#adapter.version(), facts });
  }

  async #open(command: Open): Promise<void> {
    if (!this.#adapter || !this.#load) throw new Error('open: load comes first');
    try {
      const opening = this.#adapter.open(this.#context(this.#load, command));
      const session = await withDeadline(
        sharedClock,
        opening,
        command.timeoutMs,
        () => new Error(this.#tooLate(command)),
      );
      this.#session = session;
      session.onClose((reason) => this.#tellEnd(reason));
      if (this.#load.role === 'a') this.#measurer = new Measurer(session, sharedClock);
      else answerMeasurements(session, sharedClock);
      const atMs = sharedClock.monotonicMs();
      emit({ event: 'connected', atMs, path: await session.path() });
    } catch (error) {
      this.#tellEnd(errorText(error));
    }
  }

  async #serve({ host, folder }: Extract<HarnessCommand, { do: 'serve' }>): Promise<void> {
    const adapter = await loadAdapter(this.#name);
    if (!adapter.server) throw new Error(`${this.#name} brings no server`);
    const ready = (facts: unknown) => emit({ event: 'serving', facts });
    await adapter.server({ host, folder, signal: this.#end.signal, ready });
  }

  #context({ role, seed, folder }: Load, command: Open): PeerContext {
    const { services, server, peerFacts, peerAddresses, proxyOnly } = command;
    return {
      ...{ role, seed, folder, services, server, peerFacts, peerAddresses, proxyOnly, signal: this.#end.signal },
      note: (trouble) => {
        this.#trouble = trouble;
      },
      sendSignal: (data) => emit({ event: 'signal', data }),
      onSignal: (handler) => {
        this.#onSignal = handler;
        for (const data of this.#signals.splice(0)) handler(data);
      },
    };
  }

  #tooLate({ timeoutMs }: Open): string {
    return `not connected in ${timeoutMs} ms${this.#trouble && `: ${this.#trouble}`}`;
  }

  #tellEnd(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    emit({ event: this.#session ? 'closed' : 'failed', atMs: sharedClock.monotonicMs(), reason });
  }
}

const name = process.argv[2];
if (name === undefined) {
  console.error('usage: node harness.ts NAME');
  process.exit(2);
}
const harness = new Harness(name);
process.on('uncaughtException', (error) => harness.escaped(error));
process.on('unhandledRejection', (error) => harness.escaped(error));
process.on('SIGTERM', () => void harness.close('ended by SIGTERM', 0));
const reader = new LineReader(
  (line) => {
    const command = parseCommand(line);
    if (!command) return misuse(`not a command: ${line.slice(0, 200)}`);
    harness.follow(command).catch((error: unknown) => harness.escaped(error));
  },
  () => misuse('a line without end on stdin'),
);
process.stdin.on('data', (chunk: Buffer) => reader.push(chunk));
process.stdin.on('end', () => void harness.close('the runner went away', 0));

function misuse(message: string): void {
  console.error(`harness: ${message}`);
  process.exit(2);
}
