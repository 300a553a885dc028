/**
 * OpenSSH: an sshd of our own on b, and on a `ssh -W` to a port that only b's
 * host reaches. Keys of this run alone; no agent, no files of the user's.
 */

import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import { sleep } from '@claw/base';
import type { Adapter, PathFacts, PeerContext, PrepareContext, Session } from '../contract.ts';
import { sharedClock } from '../shared-clock.ts';
import { dial } from './dial.ts';
import { freePort, hostAddresses, listenLocally } from './listen.ts';
import { nextSignal } from './signals.ts';
import { StreamSession } from './stream-session.ts';

const SSHD = '/usr/sbin/sshd';
/** What b's key is known by, whatever address it is reached under. */
const HOST_ALIAS = 'claw-lab-b';
const HELLO = Buffer.from('hello');
const START_LIMIT_MS = 5000;
const LAST_WORDS_CHARACTERS = 600;

interface Told {
  readonly addresses: readonly string[];
  readonly port: number;
  /** Where b's harness listens on its loopback. */
  readonly target: number;
}

export function createSshAdapter(): Adapter {
  return {
    name: 'ssh',
    version: async () => spawnSync('ssh', ['-V'], { encoding: 'utf8' }).stderr.split(',')[0]?.trim() || 'no ssh here',
    prepare: makeKey,
    open: (context) => (context.role === 'a' ? dialPeer(context) : awaitPeer(context)),
  };
}

/** a's own key, or b's host key. Resolves with its public half, which the other side knows beforehand. */
async function makeKey({ folder }: PrepareContext): Promise<string> {
  const key = join(folder, 'key');
  await promisify(execFile)('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'lab', '-f', key]);
  return (await readFile(`${key}.pub`, 'utf8')).trim();
}

async function dialPeer(context: PeerContext): Promise<Session> {
  const { folder, peerAddresses, services, proxyOnly } = context;
  const knownHosts = join(folder, 'known_hosts');
  await writeFile(knownHosts, `${HOST_ALIAS} ${String(context.peerFacts)}\n`);
  const told = await nextSignal<Told>(context);
  const addresses = [...new Set([...peerAddresses, ...told.addresses])];
  const proxy = proxyOnly ? services.httpProxy : undefined;
  const at = proxy ? await bridgeThrough(context, addresses, told.port) : await reachable(addresses, told.port);
  const child = spawn(
    'ssh',
    [
      ...['-F', 'none', '-W', `127.0.0.1:${told.target}`, '-p', String(at.port), '-i', join(folder, 'key')],
      ...options({
        BatchMode: 'yes',
        ConnectTimeout: '15',
        IdentitiesOnly: 'yes',
        IdentityAgent: 'none',
        HostKeyAlias: HOST_ALIAS,
        StrictHostKeyChecking: 'yes',
        UserKnownHostsFile: knownHosts,
        GlobalKnownHostsFile: '/dev/null',
      }),
      `${userInfo().username}@${at.host}`,
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  const words = endWith(context, child);
  const type: PathFacts['type'] = proxy ? 'proxied' : 'direct';
  const session = new StreamSession(Duplex.from({ readable: child.stdout, writable: child.stdin }), () => ({
    type,
    protocol: 'tcp',
    detail: `ssh -W by ${proxy ? `proxy ${proxy.host}` : at.host}`,
  }));
  const greeted = new Promise<void>((resolve, reject) => {
    session.onMessage(() => resolve());
    child.once('error', reject);
    child.once('close', (code) => reject(new Error(words() || `ssh ended with code ${code}`)));
  });
  await session.send(HELLO);
  await greeted;
  return session;
}

async function awaitPeer(context: PeerContext): Promise<Session> {
  const { folder } = context;
  const chosen = Promise.withResolvers<Session>();
  const { server, port: target } = await listenLocally((socket) => {
    const detail = { type: 'direct', protocol: 'tcp', detail: 'from sshd' } as const;
    const session = new StreamSession(socket, () => detail);
    session.onMessage(() => {
      server.close();
      session.send(HELLO).catch(() => {}); // its end is told by onClose
      chosen.resolve(session);
    });
  });
  const port = await freePort();
  const authorizedKeys = join(folder, 'authorized_keys');
  await writeFile(authorizedKeys, `${String(context.peerFacts)}\n`);
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
  const daemon = spawnTied(SSHD, [
    ...['-D', '-e', '-f', '/dev/null', '-p', String(port), '-h', join(folder, 'key')],
    ...options({
      AuthorizedKeysFile: authorizedKeys,
      AllowAgentForwarding: 'no',
      KbdInteractiveAuthentication: 'no',
      PasswordAuthentication: 'no',
      PermitRootLogin: 'prohibit-password',
      PermitTTY: 'no',
      PidFile: 'none',
      StrictModes: 'no',
      UsePAM: 'no',
      X11Forwarding: 'no',
    }),
  ]);
  const words = endWith(context, daemon);
  daemon.once('error', chosen.reject);
  daemon.once('close', (code) => chosen.reject(new Error(words() || `sshd ended with code ${code}`)));
  await Promise.race([listening(port), chosen.promise]);
  context.sendSignal({ addresses: hostAddresses(), port, target } satisfies Told);
  return chosen.promise;
}

/** The address that ssh is given: it takes one, so of several the one that answers. */
async function reachable(addresses: readonly string[], port: number): Promise<{ host: string; port: number }> {
  const [only, ...others] = addresses;
  if (only !== undefined && others.length === 0) return { host: only, port };
  const socket = await dial({ addresses, port });
  const host = socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  socket.destroy();
  return { host, port };
}

/** A port of this host that leads through the proxy to the peer's sshd. */
async function bridgeThrough({ services }: PeerContext, addresses: readonly string[], port: number) {
  const far = await dial({ addresses, port, proxy: services.httpProxy });
  const bridge = await listenLocally((near) => {
    bridge.server.close();
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
    near.pipe(far);
    far.pipe(near);
  });
  return { host: '127.0.0.1', port: bridge.port };
}

/** Ends the program with this process, and keeps the last of what it wrote to stderr. */
function endWith({ signal }: PeerContext, child: ChildProcess): () => string {
  let words = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    words = (words + chunk.toString()).slice(-LAST_WORDS_CHARACTERS);
  });
  const kill = () => void child.kill('SIGTERM');
  signal.addEventListener('abort', kill);
  process.once('exit', kill);
  return () => words.trim().split('\n').at(-1) ?? '';
}

/** Starts a daemon that the kernel ends when this process dies without a word, where `setpriv` can ask for that. */
function spawnTied(program: string, args: readonly string[]): ChildProcess {
  const tied = spawnSync('setpriv', ['--version'], { stdio: 'ignore' }).status === 0;
  const command = tied ? ['setpriv', '--pdeathsig', 'KILL', '--', program, ...args] : [program, ...args];
  return spawn(command[0] as string, command.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
}

async function listening(port: number): Promise<void> {
  const endMs = sharedClock.monotonicMs() + START_LIMIT_MS;
  while (sharedClock.monotonicMs() < endMs) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true)));
      socket.once('error', () => resolve(false));
    });
    if (open) return;
    await sleep(sharedClock, 10);
  }
  throw new Error(`sshd did not listen on port ${port} in ${START_LIMIT_MS} ms`);
}

function options(values: Record<string, string>): string[] {
  return Object.entries(values).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}
