/** Peers of an engine for Node.js, in one child process: a native engine that crashes takes no test with it. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Signal } from '../agent.ts';
import { type PeerHost, remotePeer } from '../peer.ts';
import { type ChildEngine, manifestOf } from './child-engines.ts';

export interface Request {
  readonly id: number;
  readonly peer: number;
  readonly method: string;
  readonly args: readonly unknown[];
}
/** The answer to a request, or what an agent has to tell. */
export type Reply =
  | { readonly id: number; readonly value?: unknown; readonly error?: string }
  | { readonly peer: number; readonly signal: Signal };

const MAIN = fileURLToPath(new URL('child-main.ts', import.meta.url));

/** `werift 0.25.2`, or why there is none. */
export function findEngine(engine: ChildEngine): { version: string; missing: string | undefined } {
  const { packageName, manifest, installedBy } = manifestOf(engine);
  try {
    const file = createRequire(manifest)
      .resolve.paths(packageName)
      ?.map((folder) => `${folder}/${packageName}`);
    for (const folder of file ?? []) {
      const text = readOrNothing(`${folder}/package.json`);
      if (text) return { version: (JSON.parse(text) as { version: string }).version, missing: undefined };
    }
  } catch {
    // As if it were not there.
  }
  return { version: '', missing: `${packageName} is not installed; ${installedBy}` };
}

export async function launchChild(engine: ChildEngine): Promise<PeerHost> {
  const child = fork(MAIN, [engine], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: ['--no-warnings'] });
  const requests = new Map<number, PromiseWithResolvers<unknown>>();
  const listeners = new Map<number, (signal: Signal) => void>();
  let lastId = 0;
  let lastPeer = 0;
  child.on('message', (reply: Reply) => {
    if ('signal' in reply) return listeners.get(reply.peer)?.(reply.signal);
    const request = requests.get(reply.id);
    requests.delete(reply.id);
    if (reply.error === undefined) request?.resolve(reply.value);
    else request?.reject(new Error(`${engine}: ${reply.error}`));
  });
  child.once('exit', (code, signal) => {
    for (const request of requests.values()) request.reject(new Error(`${engine} ended (${code ?? signal})`));
    requests.clear();
  });
  const call = (peer: number, method: string, args: readonly unknown[]) => {
    const request = Promise.withResolvers<unknown>();
    lastId += 1;
    requests.set(lastId, request);
    if (child.connected) child.send({ id: lastId, peer, method, args } satisfies Request);
    else request.reject(new Error(`${engine} is not running`));
    return request.promise;
  };
  return {
    async newPeer() {
      lastPeer += 1;
      const key = lastPeer;
      const peer = remotePeer(
        engine,
        (method, args) => call(key, method, args),
        async () => {
          listeners.delete(key);
          // Whatever state the cell has left it in.
          await call(key, 'forget peer', []).catch(() => {});
        },
      );
      listeners.set(key, (signal) => peer.onSignal(signal));
      return peer;
    },
    [Symbol.asyncDispose]: () => end(child),
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

function readOrNothing(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
