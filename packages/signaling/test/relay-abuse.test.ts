import { randomBytes } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import { fuzzRuns, until, VirtualClock } from '@claw/testkit';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { openRelay, type Relay, type RelayOptions } from '../src/index.ts';
import { encodeFrame } from '../src/relay/relay-protocol.ts';
import { RelayClient, type RelayClientOptions, settle } from './relay-client.ts';
import { createNode } from './support.ts';

const alice = await createNode();
const bob = await createNode();
const carol = await createNode();

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

function connectRaw(relay: Relay): Socket {
  const socket = connectTcp(relay.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** Proof that the relay works: a newcomer logs in and is served. */
async function expectService(relay: Relay, options?: RelayClientOptions): Promise<void> {
  const [from, to] = [await createNode(), await createNode()];
  const [a, b] = await Promise.all([connect(relay, options).logIn(from), connect(relay, options).logIn(to)]);
  a.send(to, Buffer.from('still here'));
  expect((await b.next('deliver')).envelope.toString()).toBe('still here');
  a.socket.terminate();
  b.socket.terminate();
}

it('relay passes on no more than the rate of a node when it floods, and serves the others', async () => {
  const clock = new VirtualClock();
  const relay = await openTestRelay({ clock, limits: { envelopesPerSecondPerNode: 50 } });
  const [a, b, c] = await Promise.all([alice, bob, carol].map((node) => connect(relay).logIn(node)));
  if (!a || !b || !c) throw new Error('three clients');
  for (let count = 0; count < 5000; count += 1) a.send(bob, Buffer.from('flood'));
  expect(await a.next('error')).toEqual({ type: 'error', code: 'rate-limited' });
  c.send(bob, Buffer.from('calm'));
  await until(() => b.frames.some((frame) => frame.type === 'deliver' && frame.envelope.toString() === 'calm'), 'calm');
  // The burst of two seconds, less the login, and the one calm envelope.
  expect(relay.stats().envelopesReceived).toBe(100);
  expect(relay.stats().droppedByRate).toBeGreaterThan(0);
  await clock.advance(1000);
  await until(() => relay.stats().envelopesReceived > 100, 'the relay to read on');
  expect(relay.stats().envelopesReceived).toBeLessThanOrEqual(150);
});

it('relay passes on no more than the bytes a second of an address, over all its nodes', async () => {
  const clock = new VirtualClock();
  const relay = await openTestRelay({ clock, limits: { bytesPerSecondPerAddress: 20_000 } });
  const clients = await Promise.all([alice, bob, carol].map((node) => connect(relay).logIn(node)));
  for (const client of clients) for (let count = 0; count < 20; count += 1) client.send(bob, randomBytes(5000));
  await Promise.all(clients.map((client) => client.next('error')));
  expect(relay.stats().bytesReceived).toBeLessThanOrEqual(40_000);
  expect(relay.stats().bytesReceived).toBeGreaterThanOrEqual(30_000);
});

/** Rates so high that only the bounds of memory count. */
const UNLIMITED = {
  envelopesPerSecondPerNode: 1e6,
  envelopesPerSecondPerAddress: 1e6,
  bytesPerSecondPerNode: 1e9,
  bytesPerSecondPerAddress: 1e9,
};

it('relay holds no more than its bound for a reader that never reads, and serves the others', async () => {
  const relay = await openTestRelay({ limits: { ...UNLIMITED, maxBufferedBytesPerNode: 200_000 } });
  const sleeper = await connect(relay).logIn(carol);
  sleeper.socket.pause();
  const [a, b] = await Promise.all([connect(relay).logIn(alice), connect(relay).logIn(bob)]);
  const envelope = randomBytes(24 * 1024);
  // Far more than the buffers of the kernel take.
  let rounds = 0;
  for (; relay.stats().droppedBySlowReader < 1000; rounds += 1) {
    a.send(carol, envelope);
    if (rounds % 20 !== 0) continue;
    a.send(bob, Buffer.from('in between'));
    await until(() => a.socket.bufferedAmount < 1_000_000, 'the relay to read');
    // The sleeper's share, and what is on its way to the others.
    expect(relay.stats().bufferedBytes).toBeLessThanOrEqual(210_000);
  }
  await until(() => b.frames.length === Math.ceil(rounds / 20), 'everything for the other reader');
  expect(relay.stats()).toMatchObject({ nodes: 3, slowReadersEnded: 0 });
});

it('relay cuts off the slowest reader when all its room is taken, and serves the others', async () => {
  const limits = { ...UNLIMITED, maxBufferedBytesPerNode: 200_000, maxBufferedBytes: 500_000 };
  const relay = await openTestRelay({ limits });
  const sleepers = await Promise.all(Array.from({ length: 5 }, () => createNode()));
  const asleep = await Promise.all(sleepers.map((node) => connect(relay).logIn(node)));
  for (const client of asleep) client.socket.pause();
  const [a, b] = await Promise.all([connect(relay).logIn(alice), connect(relay).logIn(bob)]);
  const envelope = randomBytes(24 * 1024);
  let rounds = 0;
  for (; relay.stats().slowReadersEnded < 2; rounds += 1) {
    for (const node of sleepers) a.send(node, envelope);
    a.send(bob, Buffer.from('in between'));
    await until(() => a.socket.bufferedAmount < 1_000_000, 'the relay to read');
    expect(relay.stats().bufferedBytes).toBeLessThanOrEqual(limits.maxBufferedBytes);
  }
  await until(() => b.frames.length === rounds, 'everything for the other reader');
  expect(relay.stats().nodes).toBe(7 - relay.stats().slowReadersEnded);
  for (const client of asleep) client.socket.terminate();
  await until(() => relay.stats().connections === 2, 'the sleepers to go');
  await settle(relay, a);
});

it('relay gives the room of a reader back when its connection ends', async () => {
  const relay = await openTestRelay({ limits: UNLIMITED });
  const reader = await connect(relay).logIn(bob);
  const a = await connect(relay).logIn(alice);
  reader.socket.pause();
  while (relay.stats().bufferedBytes < 200_000 && relay.stats().droppedByRate === 0) {
    a.send(bob, randomBytes(24 * 1024));
    await until(() => a.socket.bufferedAmount < 200_000, 'the relay to read');
  }
  expect(relay.stats().bufferedBytes).toBeGreaterThan(0);
  reader.socket.terminate();
  await until(() => relay.stats().connections === 1, 'the reader to go');
  await settle(relay, a);
  expect(relay.stats().bufferedBytes).toBe(0);
});

it('relay takes its share of 1,000 connections from one address, and then one from another', async () => {
  const clock = new VirtualClock();
  const relay = await openTestRelay({ clock });
  const heapBefore = process.memoryUsage().heapUsed;
  const sockets = Array.from({ length: 1000 }, () => connectRaw(relay));
  await until(() => sockets.every((socket) => socket.destroyed || socket.readyState === 'open'), 'all to be answered');
  await until(() => relay.stats().connectionsRefused >= 900, '900 refusals');
  expect(relay.stats()).toMatchObject({ connections: 100, connectionsRefused: 900 });
  expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(64 * 1024 * 1024);
  await expectService(relay, { localAddress: '127.0.0.2' });
  await clock.advance(5000);
  await until(() => relay.stats().connections === 0, 'the silent ones to be cut off');
  await expectService(relay);
});

it('relay keeps the number of connections of an address, and of all, within its limits', async () => {
  const limits = { maxConnections: 5, maxConnectionsPerAddress: 3, connectionsPerSecondPerAddress: 1000 };
  const relay = await openTestRelay({ limits });
  const sockets = Array.from({ length: 10 }, () => connectRaw(relay));
  await until(() => relay.stats().connectionsRefused === 7, 'seven refusals');
  const others = Array.from({ length: 3 }, () => connect(relay, { localAddress: '127.0.0.2' }));
  await until(() => others.filter((client) => client.closed).length === 1, 'one more refusal');
  expect(relay.stats()).toMatchObject({ connections: 5, connectionsRefused: 8 });
  for (const socket of sockets) socket.destroy();
  await until(() => relay.stats().connections === 2, 'the three to go');
});

it('relay cuts off what is not logged in by the deadline, from the first packet on', async () => {
  const clock = new VirtualClock();
  const relay = await openTestRelay({ clock });
  const silent = connectRaw(relay);
  const slow = connectRaw(relay);
  slow.write('GET / HTTP/1.1\r\nhost: localhost\r\n');
  const challenged = connect(relay);
  await challenged.next('challenge');
  const member = await connect(relay).logIn(alice);
  await until(() => relay.stats().connections === 4, 'four connections');
  await clock.advance(4999);
  expect(relay.stats().connections).toBe(4);
  await clock.advance(1);
  await until(() => silent.destroyed && slow.destroyed && challenged.closed, 'three to be cut off');
  expect(relay.stats()).toMatchObject({ connections: 1, handshakesTimedOut: 3 });
  expect(member.closed).toBe(false);
});

it('relay ends a connection when a message is too long, text, or no frame, and counts it', async () => {
  const relay = await openTestRelay();
  const send = async (message: Buffer | string) => {
    const client = await connect(relay).logIn(await createNode());
    client.socket.send(message);
    return client.untilClosed();
  };
  expect(await send(encodeFrame({ type: 'send', to: bob.publicKey, envelope: randomBytes(24 * 1024 + 1) }))).toBe(1009);
  expect(await send('text')).toBe(1002);
  expect(await send(Buffer.alloc(0))).toBe(1002);
  expect(await send(Buffer.of(1, 2, 3))).toBe(1002);
  expect(await send(Buffer.of(7))).toBe(1002);
  expect(relay.stats().malformed).toBe(4);
  await expectService(relay);
});

it('relay charges pings to their sender', async () => {
  const clock = new VirtualClock();
  const relay = await openTestRelay({ clock, limits: { envelopesPerSecondPerNode: 10 } });
  const a = await connect(relay).logIn(alice);
  for (let count = 0; count < 100; count += 1) a.socket.ping();
  await until(() => relay.stats().droppedByRate > 0 || a.closed, 'the pings to be too many');
  await expectService(relay);
});

it('relay survives arbitrary bytes in place of HTTP, and arbitrary WebSocket frames after it (fuzz)', async () => {
  const relay = await openTestRelay({
    limits: { ...UNLIMITED, connectionsPerSecondPerAddress: 1e6 },
  });
  const upgrade = [
    'GET / HTTP/1.1',
    `host: 127.0.0.1:${relay.port}`,
    'connection: upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==',
    'sec-websocket-protocol: claw-relay.1',
    '\r\n',
  ].join('\r\n');
  const bytes = fc.uint8Array({ maxLength: 200 });
  const masked = fc
    .tuple(fc.constantFrom(0x82, 0x81, 0x02, 0x80, 0x00, 0x88, 0x89, 0x8a, 0xf2), fc.uint8Array({ maxLength: 120 }))
    .map(([first, payload]) => Buffer.from([first, 0x80 | payload.length, 0, 0, 0, 0, ...payload]));
  const frames = fc.array(masked, { minLength: 1, maxLength: 4 }).map((list) => Buffer.concat(list));
  const given = fc.oneof(
    bytes,
    bytes.map((tail) => Buffer.concat([Buffer.from(upgrade), tail])),
    frames.map((tail) => Buffer.concat([Buffer.from(upgrade), tail])),
  );
  await fc.assert(
    fc.asyncProperty(given, async (sent) => {
      const socket = connectTcp(relay.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.end(sent);
      await closed;
    }),
    { numRuns: Math.min(fuzzRuns, 5000) },
  );
  await until(() => relay.stats().connections === 0, 'all connections to end');
  expect(relay.stats()).toMatchObject({ nodes: 0, bufferedBytes: 0 });
  await expectService(relay);
});
