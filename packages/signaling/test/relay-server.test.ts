import { request } from 'node:http';
import { createFakeKeyHolder, until, VirtualClock } from '@claw/testkit';
import { expect, it, onTestFinished } from 'vitest';
import { openRelay, type Relay, type RelayOptions } from '../src/index.ts';
import { encodeFrame } from '../src/relay/relay-protocol.ts';
import { RelayClient, type RelayClientOptions } from './relay-client.ts';
import { createNode, failureOf } from './support.ts';

const alice = await createNode();
const bob = await createNode();

async function openTestRelay(options: RelayOptions = {}): Promise<Relay> {
  const relay = await openRelay(options);
  onTestFinished(() => relay.close());
  return relay;
}

function connect(relay: Relay, options?: RelayClientOptions): RelayClient {
  const client = new RelayClient(relay.url, options);
  onTestFinished(() => client.socket.terminate());
  return client;
}

function get(relay: Relay, path: string, method = 'GET'): Promise<{ status: number; body: string; upgrade: unknown }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: relay.port, path, method }, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, upgrade: response.headers.upgrade }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

it('relay passes an envelope on as it came when its reader is logged in, and counts it', async () => {
  const relay = await openTestRelay();
  const [a, b] = await Promise.all([connect(relay).logIn(alice), connect(relay).logIn(bob)]);
  a.send(bob, Buffer.from('sealed'));
  expect((await b.next('deliver')).envelope.toString()).toBe('sealed');
  expect(relay.stats()).toMatchObject({
    nodes: 2,
    connections: 2,
    envelopesReceived: 1,
    bytesReceived: 6,
    envelopesDelivered: 1,
    bytesDelivered: 6,
  });
});

it('relay says ABSENT when nobody of that id is there', async () => {
  const relay = await openTestRelay();
  const a = await connect(relay).logIn(alice);
  a.send(bob, Buffer.from('sealed'));
  expect((await a.next('absent')).to.equals(bob.publicKey)).toBe(true);
  expect(relay.stats()).toMatchObject({ absent: 1, envelopesDelivered: 0 });
});

it('relay lets the newer login of a node replace the older', async () => {
  const relay = await openTestRelay();
  const older = await connect(relay).logIn(alice);
  const newer = await connect(relay).logIn(alice);
  expect(await older.next('error')).toMatchObject({ code: 'replaced' });
  expect(await older.untilClosed()).toBe(1008);
  const b = await connect(relay).logIn(bob);
  b.send(alice, Buffer.from('for the newer'));
  expect((await newer.next('deliver')).envelope.toString()).toBe('for the newer');
  expect(relay.stats().nodes).toBe(2);
});

it('relay refuses a login when the signature is of another key, host, challenge or purpose', async () => {
  const relay = await openTestRelay();
  const attempts = [
    connect(relay).logIn({ ...alice, publicKey: bob.publicKey }),
    connect(relay).logIn(alice, 'evil.example.org'),
    connect(relay).logIn({
      ...alice,
      keyHolder: { ...alice.keyHolder, sign: (_purpose, message) => alice.keyHolder.sign('envelope', message) },
    }),
    connect(relay).logIn({
      ...alice,
      keyHolder: { ...alice.keyHolder, sign: (purpose) => alice.keyHolder.sign(purpose, Buffer.alloc(32)) },
    }),
    connect(relay).logIn({ ...alice, publicKey: Buffer.alloc(32, 255) }),
  ];
  for (const attempt of attempts) await expect(attempt).rejects.toThrow(/1008/);
  expect(relay.stats()).toMatchObject({ nodes: 0, loginsRefused: attempts.length });
});

it('relay refuses to forward before the login, and a second login after it', async () => {
  const relay = await openTestRelay();
  const early = connect(relay);
  await early.next('challenge');
  early.send(bob, Buffer.from('x'));
  expect(await early.next('error')).toMatchObject({ code: 'login-refused' });
  const a = await connect(relay).logIn(alice);
  a.socket.send(encodeFrame({ type: 'login', publicKey: alice.publicKey, signature: Buffer.alloc(64) }));
  expect(await a.next('error')).toMatchObject({ code: 'login-refused' });
});

it('relay refuses a dialled host that is not its own, so no other relay can pass logins on to it', async () => {
  const relay = await openTestRelay({ hosts: ['relay.example.org', 'other.example.org:444'] });
  const upgrade = async (host: string) => {
    const client = connect(relay, { headers: { host } });
    await until(() => client.frames.length > 0 || client.closed, 'an answer');
    return client.error?.message ?? 'accepted';
  };
  for (const host of [
    'relay.example.org',
    'Relay.Example.org:8443',
    'other.example.org:444',
    'localhost:1',
    '127.0.0.1',
  ]) {
    expect(await upgrade(host)).toBe('accepted');
  }
  for (const host of ['evil.example.org', 'other.example.org', '127.0.0.2', 'xrelay.example.org']) {
    expect(await upgrade(host)).toMatch(/421/);
  }
});

it('relay answers /healthz with 200 and everything else with 426', async () => {
  const relay = await openTestRelay();
  const health = await get(relay, '/healthz');
  expect([health.status, JSON.parse(health.body)]).toEqual([200, { status: 'ok', connections: 1 }]);
  for (const [path, method] of [
    ['/', 'GET'],
    ['/healthz', 'POST'],
    ['/x', 'GET'],
  ] as const) {
    expect(await get(relay, path, method)).toMatchObject({ status: 426, upgrade: 'websocket' });
  }
  const client = connect(relay, { protocol: 'chat' });
  await client.untilClosed();
  expect(client.error?.message).toMatch(/426/);
});

it('relay ends a connection when it answers no ping until the next, even if it sends pongs of its own', async () => {
  const clock = new VirtualClock();
  const relay = await openTestRelay({ clock });
  const dead = await connect(relay, { autoPong: false }).logIn(alice);
  const alive = await connect(relay).logIn(bob);
  for (let round = 0; round < 2; round += 1) {
    expect([dead.closed, alive.closed]).toEqual([false, false]);
    const pinged = new Promise((resolve) => alive.socket.once('ping', resolve));
    await clock.advance(25_000);
    await pinged;
    if (round === 0) dead.socket.pong('here!');
    // Answered in order: once the relay knows of this envelope, it has had the pongs.
    for (const client of [alive, dead].slice(0, 2 - round)) {
      client.send(await createNode(), Buffer.from('x'));
      await client.next('absent');
    }
  }
  await dead.untilClosed();
  expect(alive.closed).toBe(false);
  expect(relay.stats()).toMatchObject({ deadPeers: 1, nodes: 1 });
});

it('relay tells its clients and frees its port when it is closed, however often', async () => {
  const relay = await openRelay();
  const client = connect(relay);
  await client.logIn(alice);
  await Promise.all([relay.close(), relay.close(), relay[Symbol.asyncDispose]()]);
  expect(await client.untilClosed()).toBe(1001);
  expect(client.frames).toContainEqual({ type: 'error', code: 'shutdown' });
  expect(relay.stats()).toMatchObject({ connections: 0, nodes: 0, bufferedBytes: 0 });
  const next = await openTestRelay({ port: relay.port });
  expect(next.port).toBe(relay.port);
});

it('relay says RELAY_LISTEN_FAILED when its port is taken', async () => {
  const relay = await openTestRelay();
  expect(await failureOf(() => openRelay({ port: relay.port }))).toMatchObject({ code: 'RELAY_LISTEN_FAILED' });
});

it('key holder of the testkit signs what the relay verifies', async () => {
  const relay = await openTestRelay();
  const node = { ...(await createNode()), keyHolder: createFakeKeyHolder() };
  await expect(connect(relay).logIn(node)).rejects.toThrow(/1008/);
});
