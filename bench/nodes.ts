/** Two real nodes, daemons and all, paired over a relay on loopback. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const CLAW = fileURLToPath(new URL('../apps/claw/bin/claw.js', import.meta.url));
const run = promisify(execFile);

export interface NodeStatus {
  readonly pid: number;
  readonly key: { readonly pid: number };
  readonly peers: readonly { readonly state: string }[];
}

export class Nodes implements AsyncDisposable {
  readonly #folder: string;
  readonly #relay: ChildProcess;
  readonly #relayUrl: string;

  private constructor(folder: string, relay: ChildProcess, relayUrl: string) {
    this.#folder = folder;
    this.#relay = relay;
    this.#relayUrl = relayUrl;
  }

  static async open(): Promise<Nodes> {
    const folder = await mkdtemp(join(tmpdir(), 'claw-bench-'));
    const relay = spawn(process.execPath, [CLAW, 'relay', '--json', '--listen', '127.0.0.1:0'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let text = '';
    for await (const chunk of relay.stdout) {
      text += String(chunk);
      if (text.includes('}')) break;
    }
    const nodes = new Nodes(folder, relay, (JSON.parse(text) as { url: string }).url);
    for (const name of ['a', 'b'] as const) {
      await mkdir(join(folder, name), { mode: 0o700 });
      await writeFile(join(folder, name, 'claw.json'), '{ lan: false }\n', { mode: 0o600 });
      await nodes.claw(name, ['up']);
    }
    return nodes;
  }

  async claw<T>(node: 'a' | 'b', args: readonly string[]): Promise<T> {
    const { stdout } = await run(process.execPath, [CLAW, ...args, '--json', '--home', join(this.#folder, node)]);
    return JSON.parse(stdout) as T;
  }

  /** A calls B "b", B calls A "a". Resolves when they are linked. */
  async pair(): Promise<void> {
    const { invite } = await this.claw<{ invite: string }>('a', [
      'pair',
      '--new',
      '--name',
      'b',
      '--relay',
      this.#relayUrl,
    ]);
    await this.claw('b', ['pair', invite, '--name', 'a']);
    await this.claw('b', ['ping', 'a', '--count', '3']);
  }

  status(node: 'a' | 'b'): Promise<NodeStatus> {
    return this.claw<NodeStatus>(node, ['status']);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of ['a', 'b'] as const) await this.claw(name, ['down']);
    this.#relay.kill('SIGTERM');
    await rm(this.#folder, { recursive: true, force: true });
  }
}
