import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createProxy } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isProcessAlive, sleep, systemClock } from '@claw/base';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CONTESTANTS, contestantEntry } from '../src/contestants/adapters/index.ts';
import { connectPeers } from '../src/contestants/connect-peers.ts';
import type { SpawnContestant } from '../src/contestants/contestant-process.ts';
import type { LabServices } from '../src/contestants/contract.ts';
import { ensureContestants } from '../src/contestants/install.ts';

const plainly: SpawnContestant = ([program, ...args], options) => spawn(program, args, options);
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'claw-contestants-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function placesFor(name: string, services: LabServices = {}, proxyOnly = false) {
  const place = async (role: string) => {
    const own = await mkdtemp(join(folder, `${name}-${role}-`));
    return { services, peerAddresses: ['127.0.0.1'], proxyOnly, seed: 1, folder: own };
  };
  return { contextA: await place('a'), contextB: await place('b') };
}

/** Processes that descend from these. */
function descendants(pids: readonly number[]): number[] {
  return pids.flatMap((pid) => {
    const file = `/proc/${pid}/task/${pid}/children`;
    const children = existsSync(file) ? readFileSync(file, 'utf8').trim().split(' ').filter(Boolean).map(Number) : [];
    return [...children, ...descendants(children)];
  });
}

async function gone(pids: readonly number[]): Promise<number[]> {
  for (let look = 0; look < 100 && pids.some(isProcessAlive); look += 1) await sleep(systemClock, 20);
  return pids.filter(isProcessAlive);
}

const needsLinux = process.platform === 'linux';
const runnable: Record<string, boolean> = {
  claw: true,
  'node-datachannel': true,
  'tcp-cubic': needsLinux,
  tls: true,
  reference: true,
  ssh: needsLinux && existsSync('/usr/sbin/sshd'),
};

for (const [name, here] of Object.entries(runnable)) {
  // Bare libdatachannel loses some set-ups on loopback to a race of its own ("unknown CA"); others may not fail once.
  const retry = name === 'node-datachannel' ? 2 : 0;
  test.skipIf(!here)(
    `${name} connects, answers pings, moves bytes, and leaves nothing running`,
    { retry },
    async () => {
      const options = { name, spawnA: plainly, spawnB: plainly, signalDelayMs: 5, timeoutMs: 10_000 };
      const peers = await connectPeers({ ...options, ...(await placesFor(name)) });
      const pids = [peers.a.pid!, peers.b.pid!];
      try {
        expect(peers.reasons).toEqual({});
        expect(peers.connected).toBe(true);
        expect(peers.connectMs).toBeGreaterThan(0);
        expect(peers.path?.type).toBe('direct');
        const measured = await peers.a.measure({ pings: 5, bulkMs: 1000, watchMs: 200 });
        expect(measured.ended).toBeUndefined();
        expect(measured.roundTripMs).toHaveLength(5);
        expect(measured.roundTripMs).not.toContain(null);
        expect(measured.bulk?.bytes).toBeGreaterThan(100_000);
        expect(measured.watch?.received.b).toBeGreaterThan(0);
        pids.push(...descendants(pids));
      } finally {
        await peers.close();
      }
      expect(await gone(pids)).toEqual([]);
    },
  );
}

test('a contestant that cannot connect is a result with its own reason', async () => {
  const name = 'tls';
  const services = { httpProxy: { host: '127.0.0.1', port: 1, username: 'u', password: 'p' } };
  const options = { name, spawnA: plainly, spawnB: plainly, signalDelayMs: 0, timeoutMs: 3000 };
  await using peers = await connectPeers({ ...options, ...(await placesFor(name, services, true)) });
  expect(peers.connected).toBe(false);
  expect(peers.connectMs).toBeUndefined();
  expect(peers.reasons.a).toContain('connect ECONNREFUSED 127.0.0.1:1');
  expect(peers.reasons.b).toMatch(/^a failed: /);
});

/** Takes `u:p` and nothing else. */
async function openProxy() {
  let tunnels = 0;
  const proxy = createProxy();
  proxy.on('connect', (request, client: Socket) => {
    const login = `Basic ${Buffer.from('u:p').toString('base64')}`;
    if (request.headers['proxy-authorization'] !== login) return void client.end('HTTP/1.1 407 Login Needed\r\n\r\n');
    const [host = '', port] = (request.url ?? '').split(':');
    tunnels += 1;
    const far = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      far.pipe(client);
      client.pipe(far);
    });
    for (const [one, other] of [
      [far, client],
      [client, far],
    ] as const) {
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return { port: (proxy.address() as AddressInfo).port, tunnels: () => tunnels, [Symbol.dispose]: () => proxy.close() };
}

for (const name of ['tls', 'ssh'].filter((each) => runnable[each])) {
  test(`${name} leaves through the proxy when there is no other way`, async () => {
    using proxy = await openProxy();
    const services = { httpProxy: { host: '127.0.0.1', port: proxy.port, username: 'u', password: 'p' } };
    const options = { name, spawnA: plainly, spawnB: plainly, signalDelayMs: 0, timeoutMs: 5000 };
    const places = await placesFor(`${name}-proxied`, services, true);
    await using peers = await connectPeers({ ...options, ...places });
    expect(peers.reasons).toEqual({});
    expect(peers.path).toMatchObject({ type: 'proxied' });
    expect((await peers.a.measure({ pings: 2, bulkMs: 0, watchMs: 0 })).roundTripMs).not.toContain(null);
    expect(proxy.tunnels()).toBeGreaterThan(0);
  });
}

test('a proxy that refuses is named with its own status line', async () => {
  using proxy = await openProxy();
  const services = { httpProxy: { host: '127.0.0.1', port: proxy.port, username: 'u', password: 'wrong' } };
  const options = { name: 'tls', spawnA: plainly, spawnB: plainly, signalDelayMs: 0, timeoutMs: 5000 };
  await using peers = await connectPeers({ ...options, ...(await placesFor('tls-refused', services, true)) });
  expect(peers.reasons.a).toMatch(/the proxy answered CONNECT 127\.0\.0\.1:\d+ with HTTP\/1\.1 407 Login Needed/);
});

test('an aborted run ends both processes', async () => {
  const abort = new AbortController();
  const options = { name: 'tls', spawnA: plainly, spawnB: plainly, signalDelayMs: 60_000, timeoutMs: 30_000 };
  const pids: number[] = [];
  const spawnA: SpawnContestant = (command, given) => {
    const child = plainly(command, given);
    pids.push(child.pid!);
    return child;
  };
  systemClock.setTimer(500, () => abort.abort(new Error('enough')));
  const places = await placesFor('abort');
  await expect(connectPeers({ ...options, spawnA, ...places, signal: abort.signal })).rejects.toThrow('enough');
  expect(await gone(pids)).toEqual([]);
});

test('an unknown contestant is named with those that exist', () => {
  expect(() => contestantEntry('toString')).toThrow(/there is no contestant toString, only claw, /);
});

test('contestants of the repository itself need no installation', async () => {
  const own = Object.keys(CONTESTANTS).filter((name) => !CONTESTANTS[name]?.installed);
  const lines: string[] = [];
  await ensureContestants(own, (line) => lines.push(line));
  expect(lines).toEqual([]);
});
