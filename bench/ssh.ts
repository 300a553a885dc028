/** An `ssh -L` forward to a port of this machine, through an sshd of our own on loopback. */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

const HOST = '127.0.0.1';

export interface SshForward extends Disposable {
  readonly port: number;
  readonly version: string;
}

/** `undefined` where OpenSSH's server is not installed or may not run. */
export async function openSshForward(targetPort: number): Promise<SshForward | undefined> {
  if (spawnSync('/usr/sbin/sshd', ['-V'], { stdio: 'ignore' }).error) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'claw-bench-ssh-'));
  const key = join(folder, 'key');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  copyFileSync(`${key}.pub`, join(folder, 'authorized_keys'));
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
  const [serverPort, port] = [await freePort(), await freePort()];
  const server = spawn(
    '/usr/sbin/sshd',
    [
      ...['-D', '-e', '-f', '/dev/null', '-p', String(serverPort), '-h', key],
      ...options({
        ListenAddress: HOST,
        AuthorizedKeysFile: join(folder, 'authorized_keys'),
        StrictModes: 'no',
        UsePAM: 'no',
        PidFile: 'none',
      }),
    ],
    { stdio: 'ignore' },
  );
  await reachable(serverPort);
  const client = spawn(
    'ssh',
    [
      ...['-N', '-L', `${HOST}:${port}:${HOST}:${targetPort}`, '-p', String(serverPort), '-i', key],
      ...options({
        StrictHostKeyChecking: 'no',
        UserKnownHostsFile: '/dev/null',
        LogLevel: 'ERROR',
        IdentitiesOnly: 'yes',
      }),
      `${userInfo().username}@${HOST}`,
    ],
    { stdio: 'ignore' },
  );
  const stop = () => {
    for (const child of [client, server] as ChildProcess[]) child.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await reachable(port);
  } catch {
    stop();
    return undefined;
  }
  const version = spawnSync('ssh', ['-V'], { encoding: 'utf8' }).stderr.split(',')[0]?.trim() ?? '';
  return { port, version, [Symbol.dispose]: stop };
}

function options(values: Record<string, string>): string[] {
  return Object.entries(values).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}

async function reachable(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const ok = await new Promise<boolean>((resolve) => {
      const socket = connect(port, HOST, () => (socket.destroy(), resolve(true)));
      socket.once('error', () => resolve(false));
    });
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on port ${port}`);
}
