/**
 * Starts the daemon as a process of its own and waits until it is ready. The
 * daemon reports on a pipe; secrets go to it through its stdin, never through
 * arguments or the environment.
 */

import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { ClawError } from '@claw/base';
import { INSTALLATION_ROOT, type KeyUnlock } from '@claw/identity';
import { readPassphraseFile } from '../passphrase.ts';
import { openLogDescriptor } from './log-file.ts';

export interface StartOptions {
  readonly home: string;
  readonly unlock?: KeyUnlock;
}

export interface StartedDaemon {
  readonly pid: number;
  readonly port: number;
  readonly nodeId: string;
  /** From the start of the process to ready. */
  readonly readyMs: number;
}

type Report =
  | { readonly ready: Omit<StartedDaemon, 'readyMs'> }
  | { readonly failed: { code: string; message: string; hint?: string } };

const START_DEADLINE_MS = 20_000;

/**
 * Flags of the daemon's Node. With the small young generation, packets' memory is freed as it comes; with the default
 * one it counts against the whole heap, which is then collected twenty-five times a second (docs/adr/0012).
 */
const NODE_FLAGS = ['--max-semi-space-size=2'];

/** @throws ClawError with the reason that the daemon gave. */
export async function startDaemon(options: StartOptions): Promise<StartedDaemon> {
  const unlock = options.unlock ?? readPassphraseFile();
  const entry = fileURLToPath(new URL('./main.ts', import.meta.url));
  const log = openLogDescriptor(options.home);
  const startedMs = performance.now();
  const child = spawn(process.execPath, [...NODE_FLAGS, entry, options.home], {
    detached: true,
    cwd: options.home, // the caller's folder must not stay in use
    stdio: ['pipe', 'ignore', log, 'pipe'],
    // Compiled code is kept beside the packages: without it each start reads TypeScript anew (20 MB, 200 ms).
    env: { NODE_COMPILE_CACHE: join(INSTALLATION_ROOT, 'node_modules/.cache/claw'), ...process.env },
  });
  closeSync(log);
  const stdin = child.stdin as Writable;
  stdin.on('error', () => {}); // the exit below says more
  stdin.end(JSON.stringify(unlock ?? { protection: 'none' }));
  const report = await firstReport(
    child.stdio[3] as Readable,
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
  );
  child.unref();
  if ('failed' in report) {
    const { code, message, hint } = report.failed;
    throw new ClawError(code, message, hint === undefined ? {} : { hint });
  }
  return { ...report.ready, readyMs: performance.now() - startedMs };
}

async function firstReport(pipe: Readable, exited: Promise<number | null>): Promise<Report> {
  const deadline = AbortSignal.timeout(START_DEADLINE_MS);
  const late = new Promise<never>((_, reject) =>
    deadline.addEventListener('abort', () =>
      reject(notStarted(`it was not ready within ${START_DEADLINE_MS / 1000} s`)),
    ),
  );
  const read = async (): Promise<Report> => {
    let text = '';
    for await (const chunk of pipe) {
      text += String(chunk);
      if (text.includes('\n')) return JSON.parse(text) as Report;
    }
    throw notStarted(`its process ended with code ${await exited}`);
  };
  try {
    return await Promise.race([read(), late]);
  } finally {
    pipe.destroy();
  }
}

function notStarted(detail: string) {
  return new ClawError('NODE_NOT_STARTED', `the node did not start: ${detail}`, {
    hint: '"claw logs" and "claw doctor" tell more.',
  });
}
