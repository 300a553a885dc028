/**
 * Starts the key-holder process and speaks to it. The node key stays over there;
 * what crosses the channel is what {@link KeyHolder} lists. When the process
 * dies, every call fails with `KEY_HOLDER_CLOSED` and `onExit` is told.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ClawError, type Clock, systemClock, withDeadline } from '@claw/base';
import {
  type KeyHolder,
  type NodeId,
  nodeIdOf,
  type Proof,
  type ProofRequest,
  type RuntimeFacts,
  type SealingKey,
  type SignPurpose,
} from '@claw/contracts';
import type { Confinement } from './confine.ts';
import type { IdentityErrorCode } from './errors.ts';
import type { HolderReply, HolderRequest, OpenReply } from './holder-channel.ts';
import type { KeyProtection, KeyUnlock } from './key-file.ts';

export interface KeyHolderOptions {
  /** The node's home; the key file is `node-key.json` in it. */
  readonly home: string;
  /** Default: `{ protection: 'none' }`, which opens what needs no secret or the keyring's. */
  readonly unlock?: KeyUnlock;
  /** Told once when the process ends without having been closed. */
  readonly onExit?: (error: Error) => void;
  readonly clock?: Clock;
}

/** How long the process may take to open the key; scrypt alone takes about 0.3 s. */
const OPEN_DEADLINE_MS = 15_000;
const CLOSE_DEADLINE_MS = 1_000;
/** A small heap: the process holds one key and signs. */
const EXEC_ARGV = ['--max-semi-space-size=1', '--max-old-space-size=64', '--single-threaded-gc', '--v8-pool-size=0'];

type Pending = { resolve: (result: Buffer[]) => void; reject: (error: Error) => void };
type DistributeOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** Opens the node key of `home` in a process of its own, making it on first start. */
export async function openKeyHolder(options: KeyHolderOptions): Promise<KeyHolderProcess> {
  const clock = options.clock ?? systemClock;
  const entry = fileURLToPath(new URL('./key-holder-process.ts', import.meta.url));
  const child = fork(entry, {
    execArgv: EXEC_ARGV,
    serialization: 'json',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: holderEnvironment(),
  });
  const reply = new Promise<OpenReply>((resolve, reject) => {
    child.once('message', (message) => resolve(message as OpenReply));
    child.once('error', (cause) => reject(failed('the key holder did not start', cause)));
    child.once('exit', (code) => reject(failed(`the key holder ended with code ${code} before it opened the key`)));
  });
  try {
    child.send({ op: 'open', home: options.home, unlock: options.unlock ?? { protection: 'none' } });
    const answer = await withDeadline(clock, reply, OPEN_DEADLINE_MS, () =>
      failed(`the key holder did not open the key within ${OPEN_DEADLINE_MS} ms`),
    );
    if ('failed' in answer) {
      const { code, message, hint } = answer.failed;
      throw new ClawError(code as IdentityErrorCode, message, hint === undefined ? {} : { hint });
    }
    return new KeyHolderProcess(child, answer.opened, clock, options.onExit);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/** Made by {@link openKeyHolder}. */
export class KeyHolderProcess implements KeyHolder {
  readonly nodeId: NodeId;
  readonly facts: RuntimeFacts;
  readonly protection: KeyProtection;
  /** True when this start made the key. */
  readonly created: boolean;
  readonly confinement: Confinement;
  readonly #child: ChildProcess;
  readonly #clock: Clock;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #nextId = 1;
  #closed = false;

  constructor(
    child: ChildProcess,
    opened: Extract<OpenReply, { opened: unknown }>['opened'],
    clock: Clock,
    onExit: ((error: Error) => void) | undefined,
  ) {
    this.#child = child;
    this.#clock = clock;
    this.nodeId = nodeIdOf(Buffer.from(opened.publicKey, 'base64'));
    this.facts = { integrity: opened.integrity, version: opened.version };
    this.protection = opened.protection;
    this.created = opened.created;
    this.confinement = opened.confinement;
    child.on('message', (message) => this.#onReply(message as HolderReply));
    child.on('error', () => {}); // a failed send is reported by its own callback, the end by 'exit'
    this.#exited = new Promise((resolve) =>
      child.once('exit', (code, signal) => {
        const error = new ClawError<IdentityErrorCode>(
          'KEY_HOLDER_CLOSED',
          `the key holder ended (${signal ?? `code ${code}`})`,
        );
        for (const { reject } of this.#pending.values()) reject(error);
        this.#pending.clear();
        if (!this.#closed) onExit?.(error);
        this.#closed = true;
        resolve();
      }),
    );
  }

  /** Process id of the holder. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  async sign(purpose: SignPurpose, message: Uint8Array): Promise<Uint8Array> {
    return this.#one({ op: 'sign', purpose, message: base64(message) });
  }

  async issueLeaf(publicKey: Uint8Array, lifetimeMs: number): Promise<Uint8Array> {
    return this.#one({ op: 'issue-leaf', publicKey: base64(publicKey), lifetimeMs });
  }

  async issueSealingKey(): Promise<SealingKey> {
    const [publicKey, privateKey] = await this.#ask({ op: 'issue-sealing-key' });
    if (!publicKey || !privateKey) throw failed('the key holder answered with too little');
    return { publicKey, privateKey };
  }

  async prove(request: ProofRequest): Promise<Proof> {
    const { channelBinding, role, peer, nonce, timeMs } = request;
    const signature = await this.#one({
      op: 'prove',
      channelBinding: base64(channelBinding),
      role,
      peer,
      nonce: base64(nonce),
      timeMs,
    });
    return { facts: this.facts, signature };
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      if (this.#child.connected) this.#child.disconnect();
    }
    const giveUp = this.#clock.setTimer(CLOSE_DEADLINE_MS, () => this.#child.kill('SIGKILL'));
    await this.#exited;
    giveUp.cancel();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #one(request: DistributeOmit<HolderRequest, 'id'>): Promise<Buffer> {
    const [result] = await this.#ask(request);
    if (!result) throw failed('the key holder answered with too little');
    return result;
  }

  #ask(request: DistributeOmit<HolderRequest, 'id'>): Promise<Buffer[]> {
    if (this.#closed) {
      return Promise.reject(new ClawError<IdentityErrorCode>('KEY_HOLDER_CLOSED', 'the key holder was closed'));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#child.send({ ...request, id }, (cause) => {
        if (cause && this.#pending.delete(id)) reject(failed('the key holder does not listen', cause));
      });
    });
  }

  #onReply(reply: HolderReply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (reply.error) pending?.reject(new ClawError(reply.error.code, reply.error.message));
    else pending?.resolve((reply.result ?? []).map((text) => Buffer.from(text, 'base64')));
  }
}

/** The holder needs no more of the environment than Node.js and a keyring do. */
function holderEnvironment(): NodeJS.ProcessEnv {
  const kept = [
    'PATH',
    'HOME',
    'LANG',
    'NODE_COMPILE_CACHE',
    'DBUS_SESSION_BUS_ADDRESS',
    'XDG_RUNTIME_DIR',
    'SystemRoot',
    'APPDATA',
  ];
  return { ...Object.fromEntries(kept.map((name) => [name, process.env[name]])), UV_THREADPOOL_SIZE: '1' };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function failed(message: string, cause?: unknown): ClawError<IdentityErrorCode> {
  return new ClawError('KEY_HOLDER_FAILED', message, { cause });
}
