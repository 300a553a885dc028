/**
 * Machines for tests: each is a temporary home with a real daemon, driven by the
 * real command. Everything started here is ended by its process id.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createGatewayClient, readSession, type StatusView } from '@claw/gateway';
import { temporaryDirectory } from '@claw/testkit';
import { isAlive } from '../src/is-alive.ts';

export const CLAW = fileURLToPath(import.meta.resolve('../bin/claw.js'));
// oxlint-disable-next-line no-explicit-any -- what a document holds is for each test to expect
export type Json = any;

const COMMAND_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

export interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout as the one JSON document that it must be. */
  readonly json: Json;
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly stdin?: string;
  readonly cwd?: string;
}

/** A command that runs on while the test talks to it. */
export class RunningCommand {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly exited: Promise<number | null>;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], { env, cwd }: RunOptions) {
    this.process = spawn(process.execPath, [CLAW, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      cwd,
    });
    this.process.stdout.on('data', (chunk) => (this.stdout += String(chunk)));
    this.process.stderr.on('data', (chunk) => (this.stderr += String(chunk)));
    this.process.stdin.on('error', () => {});
    this.exited = new Promise((resolve) => this.process.once('close', resolve));
  }

  /** What `pattern` finds first in what the command said. */
  async said(pattern: RegExp, timeoutMs = 20_000): Promise<RegExpExecArray> {
    return eventually(
      () => pattern.exec(this.stdout) ?? pattern.exec(this.stderr) ?? undefined,
      () => `"${pattern}" in:\n${this.stdout}\n${this.stderr}`,
      timeoutMs,
    );
  }

  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    if (this.process.exitCode === null) this.process.kill(signal);
    return this.exited;
  }
}

export class Machine {
  readonly name: string;
  readonly home: string;
  readonly #commands: RunningCommand[] = [];

  constructor(folder: string, name: string, settings: object | undefined) {
    this.name = name;
    this.home = join(folder, name);
    mkdirSync(this.home, { mode: 0o700 });
    if (settings) this.settings({ name, lan: false, ...settings });
  }

  settings(settings: object): void {
    writeFileSync(join(this.home, 'claw.json'), JSON.stringify(settings), { mode: 0o600 });
  }

  /** A command of this machine, started and left to run. */
  start(args: readonly string[], options: RunOptions = {}): RunningCommand {
    const [verb = '', ...rest] = args;
    const command = new RunningCommand([verb, '--home', this.home, ...rest], options);
    this.#commands.push(command);
    return command;
  }

  /** Runs a command with --json to its end. */
  async claw(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    const [verb = '', ...rest] = args;
    const command = this.start([verb, '--json', ...rest], options);
    command.process.stdin.end(options.stdin ?? '');
    const timer = setTimeout(() => command.process.kill('SIGKILL'), COMMAND_TIMEOUT_MS);
    const code = await command.exited;
    clearTimeout(timer);
    const { stdout, stderr } = command;
    return {
      code,
      stdout,
      stderr,
      get json() {
        return JSON.parse(stdout) as unknown;
      },
    };
  }

  /** The document of a command that must succeed. */
  async ok(...args: string[]): Promise<Json> {
    const result = await this.claw(args);
    if (result.code !== 0)
      throw new Error(`claw ${args.join(' ')} ended with ${result.code}: ${result.stdout}${result.stderr}`);
    return result.json;
  }

  /** The daemon's API, without a process for each question. */
  async api<T = Json>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T> {
    const { port, token } = await readSession(this.home);
    return (await createGatewayClient({ port, token }).request(method, path, body === undefined ? {} : { body })) as T;
  }

  async peer(name: string): Promise<StatusView['peers'][number] | undefined> {
    return (await this.api<StatusView>('GET', '/v1/status')).peers.find((peer) => peer.name === name);
  }

  async linked(name: string, timeoutMs = 30_000): Promise<StatusView['peers'][number]> {
    return eventually(
      async () => ((await this.peer(name))?.state === 'linked' ? this.peer(name) : undefined),
      async () => `a link from ${this.name} to ${name}: ${JSON.stringify(await this.peer(name))}`,
      timeoutMs,
    );
  }

  /** Process id of the daemon; 0 when none runs. */
  get pid(): number {
    const path = join(this.home, 'run/gateway.json');
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { pid: number }).pid : 0;
  }

  log(): { event: string; level: string; detail?: string; code?: string }[] {
    const text = readFileSync(join(this.home, 'logs/claw.log'), 'utf8');
    return text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
  }

  async end(): Promise<void> {
    await Promise.all(this.#commands.splice(0).map((command) => command.end()));
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const pids = processesOf(this.home);
      for (const pid of pids) kill(pid, signal);
      await eventually(
        () => pids.every((pid) => !isAlive(pid)) || undefined,
        () => `${pids.join()} to end`,
        4000,
      ).catch(() => {});
    }
  }
}

/** The machines of one test file. */
export class Machines {
  readonly #directory = temporaryDirectory();
  readonly #machines: Machine[] = [];
  readonly #others: RunningCommand[] = [];
  #count = 0;

  /** `settings` are added to `lan: false`; `null` leaves the home empty. */
  make(name: string, settings: object | null = {}): Machine {
    const folder = join(this.#directory.path, String((this.#count += 1)));
    mkdirSync(folder);
    const machine = new Machine(folder, name, settings ?? undefined);
    this.#machines.push(machine);
    return machine;
  }

  /** Two machines, up and paired by a relay that `claw relay` runs. */
  async pair(): Promise<{ a: Machine; b: Machine; relay: RunningCommand; url: string }> {
    const { relay, url } = await this.relay();
    const [a, b] = [this.make('a', { relays: [url] }), this.make('b')];
    await Promise.all([a.ok('up'), b.ok('up')]);
    const { invite } = await a.api('POST', '/v1/invites', {});
    await b.api('POST', '/v1/pair', { invite });
    await Promise.all([a.linked('b'), b.linked('a')]);
    return { a, b, relay, url };
  }

  async relay(port = 0): Promise<{ relay: RunningCommand; url: string; port: number }> {
    const relay = new RunningCommand(['relay', '--json', '--listen', `127.0.0.1:${port}`], {});
    this.#others.push(relay);
    const [text] = await relay.said(/\{[^}]*\}/);
    const started = JSON.parse(text) as { url: string; port: number };
    return { relay, url: started.url, port: started.port };
  }

  async end(): Promise<void> {
    await Promise.all([
      ...this.#machines.splice(0).map((machine) => machine.end()),
      ...this.#others.splice(0).map((other) => other.end()),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    this.#directory[Symbol.dispose]();
  }
}

/** Asks until there is an answer; rejects, naming what was waited for. */
export async function eventually<T>(
  ask: () => T | undefined | Promise<T | undefined>,
  what: () => string | Promise<string>,
  timeoutMs = 20_000,
): Promise<T> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > giveUpAt) throw new Error(`waited ${timeoutMs} ms in vain for ${await what()}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    if (pid > 0) process.kill(pid, signal);
  } catch {
    // it is gone already
  }
}

/** Daemons name their home, a folder that only this test made, as their last argument. */
function processesOf(home: string): number[] {
  const pids = existsSync('/proc') ? readdirSync('/proc').filter((name) => /^\d+$/.test(name)) : [];
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(home);
    } catch {
      return false;
    }
  });
}
