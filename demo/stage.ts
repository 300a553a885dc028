/** The processes of the main job: two nodes, a relay, a service; started at their places, ended whatever happens. */

import { type ChildProcess, execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openWorld, type Place, start, type World } from './world.ts';

const CLAW = fileURLToPath(new URL('../apps/claw/bin/claw.js', import.meta.url));
const run = promisify(execFile);

/** What `claw relay` says when it stops. */
export interface RelaySeen {
  readonly envelopes: string;
  readonly bytes: string;
}

export class Stage {
  readonly world: World;
  readonly folder: string;
  readonly home: { readonly a: string; readonly b: string };
  readonly #signal: AbortSignal;
  readonly #processes: ChildProcess[] = [];
  readonly #up = new Set<'a' | 'b'>();
  #relay: ChildProcess | undefined;
  #relayNote = '';

  private constructor(world: World, folder: string, signal: AbortSignal) {
    this.world = world;
    this.folder = folder;
    this.home = { a: join(folder, 'home-a'), b: join(folder, 'home-b') };
    this.#signal = signal;
  }

  static async open(signal: AbortSignal): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), 'claw-main-job-'));
    return new Stage(openWorld(), folder, signal);
  }

  /** The command line of one verb of the node at `place`. */
  commandLine(place: 'a' | 'b', args: readonly string[]): string[] {
    return this.world.at(place, [process.execPath, CLAW, ...args, '--home', this.home[place]]);
  }

  /** Runs one verb with --json and returns its document. */
  async claw<T>(place: 'a' | 'b', args: readonly string[], input?: string): Promise<T> {
    this.#signal.throwIfAborted();
    if (args[0] === 'up') this.#up.add(place);
    const [program = '', ...command] = this.commandLine(place, [...args, '--json']);
    const running = run(program, command, { signal: this.#signal, maxBuffer: 16 * 1024 * 1024 });
    running.child.stdin?.end(input);
    try {
      return JSON.parse((await running).stdout) as T;
    } catch (error) {
      this.#signal.throwIfAborted();
      throw new Error(`claw ${args[0]} at ${place}: ${reasonOf(error)}`);
    }
  }

  /** The relay's URL. */
  async startRelay(): Promise<string> {
    const child = this.#spawn('relay', [CLAW, 'relay', '--json', '--listen', `${this.world.relayHost}:0`], 'pipe');
    this.#relay = child;
    child.stderr?.on('data', (chunk) => {
      this.#relayNote += String(chunk);
    });
    let text = '';
    for await (const chunk of child.stdout ?? []) {
      text += String(chunk);
      if (text.includes('}')) break;
    }
    return (JSON.parse(text) as { url: string }).url;
  }

  /** Starts a script of this folder and gives its stdout by lines. */
  lines(place: Place, script: string, argument: string): AsyncIterable<string> {
    const child = this.#spawn(place, [fileURLToPath(new URL(script, import.meta.url)), argument], 'inherit');
    return createInterface({ input: child.stdout as NodeJS.ReadableStream });
  }

  async stopNodes(): Promise<void> {
    for (const place of this.#up) {
      this.#up.delete(place);
      const [program = '', ...command] = this.commandLine(place, ['down', '--json']);
      await run(program, command).catch((error: unknown) => console.error(`claw down at ${place}: ${reasonOf(error)}`));
    }
  }

  async stopRelay(): Promise<RelaySeen | undefined> {
    if (this.#relay) await end(this.#relay);
    const seen = /passed on (\d+) envelopes, (.+)\./.exec(this.#relayNote);
    return seen ? { envelopes: seen[1] as string, bytes: seen[2] as string } : undefined;
  }

  /** Ends every process and takes folder and namespaces away. */
  async close(): Promise<void> {
    await this.stopNodes();
    await Promise.all(this.#processes.map(end));
    this.world.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  #spawn(place: Place, args: readonly string[], stderr: 'pipe' | 'inherit'): ChildProcess {
    const child = start(this.world, place, [process.execPath, ...args], { stdio: ['ignore', 'pipe', stderr] });
    child.on('error', (error) => console.error(error.message));
    this.#processes.push(child);
    return child;
  }
}

/** Asks a process to end, and makes it after two seconds. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), 2000);
  await ended;
  clearTimeout(force);
}

function reasonOf(error: unknown): string {
  const { stdout, message } = error as { stdout?: string; message?: string };
  try {
    return (JSON.parse(stdout ?? '') as { error: { message: string } }).error.message;
  } catch {
    return message ?? String(error);
  }
}
