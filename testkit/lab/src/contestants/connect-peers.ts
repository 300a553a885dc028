/**
 * Two peers of one contestant, and its server where it brings one: started,
 * loaded, and only then told to open, so that the clock runs for the contestant
 * and not for its modules. Signals are carried from one to the other with delay.
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ClawError, errorText } from '@claw/base';
import { contestantEntry } from './adapters/index.ts';
import { ContestantProcess, harnessCommand, type SpawnContestant } from './contestant-process.ts';
import type { LabServices, PathFacts, Role } from './contract.ts';
import { contestantError } from './errors.ts';
import { sharedClock } from './shared-clock.ts';

export interface PeerPlace {
  readonly services: LabServices;
  readonly peerAddresses: readonly string[];
  readonly proxyOnly: boolean;
  readonly seed: number;
  /** Exists, belongs to this peer alone; whoever made it removes it. */
  readonly folder: string;
}

export interface ConnectPeersOptions {
  readonly name: string;
  readonly spawnA: SpawnContestant;
  readonly spawnB: SpawnContestant;
  /** On the public host; without it, or without `services.publicHost`, a contestant's own server does not run. */
  readonly spawnServer?: SpawnContestant | undefined;
  readonly contextA: PeerPlace;
  readonly contextB: PeerPlace;
  /** One way. */
  readonly signalDelayMs: number;
  /** From `open` to connected. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface ConnectedPeers extends AsyncDisposable {
  readonly connected: boolean;
  /** From `open` to the moment when both sides could send. */
  readonly connectMs: number | undefined;
  /** As a saw it when it connected. */
  readonly path: PathFacts | undefined;
  readonly version: string;
  /** Why a side did not connect, in the contestant's words. */
  readonly reasons: { readonly a?: string; readonly b?: string };
  readonly a: ContestantProcess;
  readonly b: ContestantProcess;
  readonly server: ContestantProcess | undefined;
  close(): Promise<void>;
}

/** Loading modules and making keys, on a busy machine. */
const LOAD_MS = 60_000;
const SERVE_MS = 60_000;
/** For a side to say itself that its time is over, and why. */
const SLACK_MS = 2000;
const LAST_WORDS_MS = 300;

/** @throws the signal's reason once aborted; ClawError when a process cannot be loaded or the server does not start; a contestant that fails to connect is a result. */
export async function connectPeers(options: ConnectPeersOptions): Promise<ConnectedPeers> {
  const { name, spawnA, spawnB, contextA, contextB, timeoutMs, signal } = options;
  signal?.throwIfAborted();
  const processes: ContestantProcess[] = [];
  const close = async () => {
    signal?.removeEventListener('abort', onAbort);
    await Promise.all(processes.map((one) => one.close()));
  };
  const onAbort = () => void close();
  signal?.addEventListener('abort', onAbort, { once: true });
  // A TURN server of the real world has a certificate that everybody trusts.
  const { caFile } = contextA.services.turn ?? {};
  const environment = caFile === undefined ? {} : { NODE_EXTRA_CA_CERTS: caFile };
  const start = (label: string, spawn: SpawnContestant) => {
    const command = harnessCommand(name);
    const started = new ContestantProcess({ label: `${name} ${label}`, spawn, command, environment });
    processes.push(started);
    return started;
  };
  try {
    const server = await startServer(options, start);
    const [a, b] = [start('a', spawnA), start('b', spawnB)];
    carrySignals(a, b, options.signalDelayMs);
    const [readyA, readyB] = await Promise.all([load(a, 'a', contextA), load(b, 'b', contextB)]);
    const facts = server?.last('serving')?.facts ?? null;
    const connectedA = a.expect('connected', timeoutMs + SLACK_MS);
    const connectedB = b.expect('connected', timeoutMs + SLACK_MS);
    const openMs = sharedClock.monotonicMs();
    open(b, contextB, { server: facts, peerFacts: readyA.facts, timeoutMs });
    open(a, contextA, { server: facts, peerFacts: readyB.facts, timeoutMs });
    const [outcomeA, outcomeB] = await settleBoth(connectedA, connectedB);
    signal?.throwIfAborted();
    const connected = outcomeA.status === 'fulfilled' && outcomeB.status === 'fulfilled';
    const connectMs = connected ? Math.max(outcomeA.value.atMs, outcomeB.value.atMs) - openMs : undefined;
    return {
      connected,
      connectMs,
      path: outcomeA.status === 'fulfilled' ? outcomeA.value.path : undefined,
      version: readyA.version,
      reasons: {
        ...(outcomeA.status === 'rejected' && { a: errorText(outcomeA.reason) }),
        ...(outcomeB.status === 'rejected' && { b: errorText(outcomeB.reason) }),
      },
      ...{ a, b, server, close },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    signal?.throwIfAborted();
    throw error;
  }
}

async function startServer(
  { name, spawnServer, contextA }: ConnectPeersOptions,
  start: (label: string, spawn: SpawnContestant) => ContestantProcess,
): Promise<ContestantProcess | undefined> {
  const host = contextA.services.publicHost;
  if (!contestantEntry(name).server || !spawnServer || host === undefined) return undefined;
  const folder = join(contextA.folder, 'server');
  await mkdir(folder, { recursive: true });
  const server = start('server', spawnServer);
  server.send({ do: 'serve', host, folder });
  await server.expect('serving', SERVE_MS);
  return server;
}

function load(peer: ContestantProcess, role: Role, { seed, folder }: PeerPlace) {
  peer.send({ do: 'load', role, seed, folder });
  return peer.expect('ready', LOAD_MS);
}

interface Known {
  readonly server: unknown;
  readonly peerFacts: unknown;
  readonly timeoutMs: number;
}

function open(peer: ContestantProcess, { services, peerAddresses, proxyOnly }: PeerPlace, known: Known): void {
  peer.send({ do: 'open', services, peerAddresses, proxyOnly, ...known });
}

function carrySignals(a: ContestantProcess, b: ContestantProcess, delayMs: number): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on('signal', ({ data }) => {
      if (delayMs <= 0) to.send({ do: 'signal', data });
      else sharedClock.setTimer(delayMs, () => to.send({ do: 'signal', data }));
    });
  }
}

/** Waits for both. When one failed, the other has nothing to wait for, and a moment to say its own reason. */
function settleBoth<T>(a: Promise<T>, b: Promise<T>): Promise<[PromiseSettledResult<T>, PromiseSettledResult<T>]> {
  const other = Promise.withResolvers<never>();
  other.promise.catch(() => {}); // each side tells its own
  const tellOf = (side: Role) => (error: ClawError) =>
    void sharedClock.setTimer(LAST_WORDS_MS, () =>
      other.reject(contestantError('CONTESTANT_FAILED', `${side} failed: ${error.message}`)),
    );
  a.catch(tellOf('a'));
  b.catch(tellOf('b'));
  return Promise.allSettled([Promise.race([a, other.promise]), Promise.race([b, other.promise])]);
}
