/** A coturn on loopback for as long as a test needs it. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const TURNSERVER = 'turnserver';
const OPENSSL = 'openssl';
export const TURN_USER = 'user';
export const TURN_PASSWORD = 'secret';

export interface Coturn extends AsyncDisposable {
  readonly port: number;
  readonly tlsPort: number;
  /** PEM of its own certificate. */
  readonly ca: string;
}

/** Why there can be none here, or undefined. */
export function whyNoCoturn(): string | undefined {
  for (const program of [TURNSERVER, OPENSSL]) {
    try {
      execFileSync('sh', ['-c', `command -v ${program}`]);
    } catch {
      return `${program} is not installed`;
    }
  }
  return undefined;
}

/** Its relays are on `relayAddress`; who asks for them comes over loopback. */
export async function startCoturn(options: readonly string[] = [], relayAddress = '127.0.0.1'): Promise<Coturn> {
  const folder = mkdtempSync(join(tmpdir(), 'claw-coturn-'));
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync(
    OPENSSL,
    // prettier-ignore
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
      '-keyout',
      key,
      '-out',
      certificate,
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
    ],
    { stdio: 'ignore' },
  );
  const [port, tlsPort] = await Promise.all([freePort(), freePort()]);
  const process = spawn(
    TURNSERVER,
    // prettier-ignore
    [
      '-n',
      '--no-cli',
      '--lt-cred-mech',
      '--realm',
      'claw.test',
      '--user',
      `${TURN_USER}:${TURN_PASSWORD}`,
      '--listening-ip',
      '127.0.0.1',
      '--relay-ip',
      relayAddress,
      '--listening-port',
      `${port}`,
      '--tls-listening-port',
      `${tlsPort}`,
      '--cert',
      certificate,
      '--pkey',
      key,
      '--allow-loopback-peers',
      '--no-dtls',
      '--pidfile',
      join(folder, 'pid'),
      '--db',
      join(folder, 'db'),
      '--log-file',
      'stdout',
      '--simple-log',
      '--relay-threads',
      '1',
      ...options,
    ],
    { stdio: ['ignore', 'ignore', 'ignore'], cwd: folder },
  );
  const stop = async () => {
    await ended(process);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await untilListening(process, port);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, tlsPort, ca: readFileSync(certificate, 'utf8'), [Symbol.asyncDispose]: stop };
}

function ended(process: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (process.exitCode !== null || process.signalCode !== null) return resolve();
    process.once('exit', () => resolve());
    process.kill('SIGKILL');
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}

async function untilListening(process: ChildProcess, port: number): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (process.exitCode === null && performance.now() < endMs) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.end(() => resolve(true)));
      socket.once('error', () => resolve(false));
    });
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`turnserver did not start (exit code ${process.exitCode})`);
}
