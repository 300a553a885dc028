import { spawnSync } from 'node:child_process';
import { type AddressInfo, createServer } from 'node:net';
import type { EnvelopeHandler } from '@claw/contracts';
import { carrierCompliance, fuzzRuns, until, VirtualClock } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { openRelay, openRelayCarrier, type Relay, type RelayCarrier, type RelayCarrierOptions } from '../src/index.ts';
import { encodeFrame } from '../src/relay/relay-protocol.ts';
import { RelayClient } from './relay-client.ts';
import { createNode, failureOf, type TestNode } from './support.ts';

/** The command, which not every machine has. */
const OPENSSL = 'openssl';
const alice = await createNode();
const bob = await createNode();

function openTestCarrier(node: TestNode, url: string, changes: Partial<RelayCarrierOptions> = {}): RelayCarrier {
  const carrier = openRelayCarrier({ url, keyHolder: node.keyHolder, onEnvelope: () => {}, ...changes });
  onTestFinished(() => carrier.close());
  return carrier;
}

async function openTestRelay(port = 0): Promise<Relay> {
  const relay = await openRelay({ port });
  onTestFinished(() => relay.close());
  return relay;
}

const isUp = (carrier: RelayCarrier) => carrier.status().state === 'up';
const untilUp = (...carriers: RelayCarrier[]) => until(() => carriers.every(isUp), 'the carriers to be up');

const compliance = { clock: new VirtualClock() };
carrierCompliance(
  'relay',
  async (onEnvelopeAtA, onEnvelopeAtB) => {
    const { clock } = compliance;
    const relay = await openRelay({ clock });
    const open = (node: TestNode, onEnvelope: EnvelopeHandler) =>
      openRelayCarrier({ url: relay.url, keyHolder: node.keyHolder, onEnvelope, clock });
    const [a, b] = [open(alice, onEnvelopeAtA), open(bob, onEnvelopeAtB)];
    await untilUp(a, b);
    return {
      a: { nodeId: alice.nodeId, carrier: a },
      b: { nodeId: bob.nodeId, carrier: b },
      close: () => relay.close(),
    };
  },
  { lossless: true, pendingTimers: () => compliance.clock.pendingTimers },
);

describe('relay carrier', () => {
  it('carrier is connecting at once, and up under the name of its host once logged in', async () => {
    const relay = await openTestRelay();
    const carrier = openTestCarrier(alice, relay.url);
    expect(carrier.status()).toMatchObject({ name: `relay:127.0.0.1:${relay.port}`, state: 'connecting' });
    await untilUp(carrier);
    expect(carrier.status().detail).toBe(`127.0.0.1:${relay.port}`);
  });

  it('carrier is refused with RELAY_URL_INVALID when the URL is none', async () => {
    expect(await failureOf(() => openTestCarrier(alice, 'http://127.0.0.1'))).toMatchObject({
      code: 'RELAY_URL_INVALID',
    });
  });

  it('carrier sends after the login what was sent before it', async () => {
    const relay = await openTestRelay();
    const inbox: Uint8Array[] = [];
    const b = openTestCarrier(bob, relay.url, { onEnvelope: (bytes) => inbox.push(bytes) });
    await untilUp(b);
    const a = openTestCarrier(alice, relay.url);
    for (const text of ['one', 'two']) a.send(bob.nodeId, Buffer.from(text));
    expect(a.status()).toMatchObject({ state: 'connecting', envelopesSent: 0 });
    await until(() => inbox.length === 2, 'both envelopes');
    expect(inbox.map((bytes) => Buffer.from(bytes).toString())).toEqual(['one', 'two']);
    expect(a.status()).toMatchObject({ envelopesSent: 2, bytesSent: 6, envelopesDropped: 0 });
  });

  it('carrier keeps the 64 latest envelopes of the last 20 s while it has no relay', async () => {
    const clock = new VirtualClock();
    const port = await unusedPort();
    const carrier = openTestCarrier(alice, `ws://127.0.0.1:${port}`, { clock });
    carrier.send(bob.nodeId, Buffer.from('too old'));
    await clock.advance(19_000);
    for (let count = 0; count < 70; count += 1) carrier.send(bob.nodeId, Buffer.from(`recent ${count}`));
    expect(carrier.status().envelopesDropped).toBe(7);
    const relay = await openTestRelay(port);
    const reader = new RelayClient(relay.url);
    onTestFinished(() => reader.socket.terminate());
    await reader.logIn(bob);
    await advanceUntil(clock, () => isUp(carrier), 1000);
    await until(() => reader.frames.length >= 64, '64 envelopes');
    expect(reader.frames[0]).toEqual({ type: 'deliver', envelope: Buffer.from('recent 6') });
    expect(carrier.status()).toMatchObject({ envelopesSent: 64, envelopesDropped: 7 });

    await relay.close();
    await until(() => carrier.status().state === 'connecting', 'the loss of the relay');
    carrier.send(bob.nodeId, Buffer.from('stale by then'));
    await clock.advance(20_001);
    await openTestRelay(port);
    await advanceUntil(clock, () => isUp(carrier), 1000);
    expect(carrier.status()).toMatchObject({ envelopesSent: 64, envelopesDropped: 8 });
  });

  it('carrier comes back by itself when the relay was restarted, with growing delays of at most 15 s', async () => {
    const clock = new VirtualClock();
    const relay = await openTestRelay();
    const inbox: string[] = [];
    const a = openTestCarrier(alice, relay.url, { clock });
    const b = openTestCarrier(bob, relay.url, {
      clock,
      onEnvelope: (bytes) => inbox.push(Buffer.from(bytes).toString()),
    });
    await untilUp(a, b);
    await relay.close();
    await until(() => !isUp(a) && !isUp(b), 'the loss of the relay');
    expect(a.status().state).toBe('connecting');
    await clock.advance(60_000);
    const again = await openTestRelay(relay.port);
    const before = clock.monotonicMs();
    await advanceUntil(clock, () => isUp(a) && isUp(b), 500);
    expect(clock.monotonicMs() - before).toBeLessThanOrEqual(16_000);
    a.send(bob.nodeId, Buffer.from('after the restart'));
    await until(() => inbox.length === 1, 'the envelope');
    expect(inbox).toEqual(['after the restart']);
    expect(again.stats().envelopesDelivered).toBe(1);
  });

  it('carrier counts in its status the envelopes that found nobody there', async () => {
    const relay = await openTestRelay();
    const carrier = openTestCarrier(alice, relay.url);
    await untilUp(carrier);
    carrier.send(bob.nodeId, Buffer.from('hello?'));
    await until(() => carrier.status().detail.includes('1 envelopes found nobody there'), 'the count');
  });

  it('carrier stays away for 15 s when another process logged in as its node', async () => {
    const clock = new VirtualClock();
    const relay = await openTestRelay();
    const carrier = openTestCarrier(alice, relay.url, { clock });
    await untilUp(carrier);
    const other = new RelayClient(relay.url);
    onTestFinished(() => other.socket.terminate());
    await other.logIn(alice);
    await until(() => !isUp(carrier), 'the carrier to be replaced');
    expect(carrier.status().detail).toBe('replaced');
    await clock.advance(14_999);
    expect(relay.stats().nodes).toBe(1);
    expect(other.closed).toBe(false);
    await clock.advance(1);
    await untilUp(carrier);
    await other.untilClosed();
  });

  it('carrier gives a relay up when it does not finish the login within 10 s', async () => {
    const clock = new VirtualClock();
    let connections = 0;
    const { port } = await openMuteRelay(() => {
      connections += 1;
    });
    const carrier = openTestCarrier(alice, `ws://127.0.0.1:${port}`, { clock });
    await until(() => connections === 1, 'the first dialling');
    await clock.advance(10_000);
    await until(() => carrier.status().detail === 'the relay does not answer', 'the deadline');
    await clock.advance(250);
    await until(() => connections === 2, 'the second dialling');
  });

  it('carrier gives a relay up when it was silent for 50 s, pinged and did not answer', async () => {
    const clock = new VirtualClock();
    let pings = 0;
    const { port } = await openMuteRelay((socket) => {
      socket.on('ping', () => {
        pings += 1;
      });
      socket.on('message', () => socket.send(encodeFrame({ type: 'ready' })));
      socket.send(encodeFrame({ type: 'challenge', challenge: Buffer.alloc(32) }));
    });
    const carrier = openTestCarrier(alice, `ws://127.0.0.1:${port}`, { clock });
    await untilUp(carrier);
    await clock.advance(25_000);
    await until(() => pings === 1, 'a ping');
    expect(isUp(carrier)).toBe(true);
    await clock.advance(25_000);
    await until(() => !isUp(carrier), 'the end');
  });

  it('carrier keeps a silent connection when its pings are answered', async () => {
    const clock = new VirtualClock();
    // On the system's clock the relay sends no ping of its own in this time.
    const relay = await openTestRelay();
    const carrier = openTestCarrier(bob, relay.url, { clock });
    await untilUp(carrier);
    for (let count = 0; count < 6; count += 1) {
      await clock.advance(25_000);
      // Its answer follows the pong, so the pong has arrived as well.
      const { detail } = carrier.status();
      carrier.send(alice.nodeId, Buffer.from('x'));
      await until(() => carrier.status().detail !== detail, 'an answer');
      expect(isUp(carrier)).toBe(true);
    }
  });

  it('carrier and relay speak TLS when the carrier trusts the certificate, and not otherwise', async (context) => {
    const tls = createCertificate();
    if (!tls) return context.skip('there is no openssl command');
    const relay = await openRelay({ tls });
    onTestFinished(() => relay.close());
    expect(relay.url).toMatch(/^wss:/);
    const inbox: Uint8Array[] = [];
    const a = openTestCarrier(alice, relay.url, { caPem: tls.certPem });
    const b = openTestCarrier(bob, relay.url, { caPem: tls.certPem, onEnvelope: (bytes) => inbox.push(bytes) });
    const doubtful = openTestCarrier(alice, relay.url);
    await untilUp(a, b);
    a.send(bob.nodeId, Buffer.from('over TLS'));
    await until(() => inbox.length === 1, 'the envelope');
    await until(() => /self-signed/.test(doubtful.status().detail), 'the refusal');
  });

  it('carrier is closed within a second when the relay does not answer the closing', async () => {
    const clock = new VirtualClock();
    const { port } = await openMuteRelay((socket) => {
      socket.pause();
    });
    const carrier = openRelayCarrier({
      url: `ws://127.0.0.1:${port}`,
      keyHolder: alice.keyHolder,
      onEnvelope: () => {},
      clock,
    });
    await new Promise((resolve) => setImmediate(resolve));
    const closing = carrier.close();
    await clock.advance(1000);
    await closing;
    expect(carrier.status()).toMatchObject({ state: 'down', detail: 'closed' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('carrier survives a relay that sends arbitrary frames (fuzz)', async () => {
    const clock = new VirtualClock();
    let frames: Uint8Array[] = [];
    let asText = false;
    let served = 0;
    const { port } = await openMuteRelay((socket) => {
      for (const frame of frames) socket.send(frame, { binary: !asText });
      socket.close();
      socket.once('close', () => {
        served += 1;
      });
    });
    const received: Uint8Array[] = [];
    const carrier = openTestCarrier(alice, `ws://127.0.0.1:${port}`, {
      clock,
      onEnvelope: (bytes) => received.push(bytes),
    });
    const frame = fc
      .tuple(fc.nat({ max: 9 }), fc.uint8Array({ maxLength: 60 }))
      .map(([type, rest]) => Uint8Array.from([type, ...rest]));
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 4 }), fc.boolean(), async (given, text) => {
        frames = given;
        asText = text;
        const before = served;
        await advanceUntil(clock, () => served > before, 15_000);
        expect(['connecting', 'up']).toContain(carrier.status().state);
      }),
      { numRuns: Math.min(fuzzRuns, 2000) },
    );
    expect(received.length).toBeGreaterThan(0);
  });
});

/** A WebSocket server that greets as a relay does and then does what the test says. */
async function openMuteRelay(onConnection: (socket: WebSocket) => void): Promise<{ port: number }> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', autoPong: false });
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
  onTestFinished(async () => {
    for (const socket of server.clients) socket.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return { port: (server.address() as AddressInfo).port };
}

/** A certificate for 127.0.0.1 that signs itself; `undefined` where there is no openssl to make it. */
function createCertificate(): { certPem: string; keyPem: string } | undefined {
  const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout - -subj /CN=test';
  const options = [...request.split(' '), '-addext', 'subjectAltName=IP:127.0.0.1'];
  const { stdout, status } = spawnSync(OPENSSL, options, { encoding: 'utf8' });
  const at = stdout?.indexOf('-----BEGIN CERTIFICATE') ?? -1;
  return status === 0 && at > 0 ? { keyPem: stdout.slice(0, at), certPem: stdout.slice(at) } : undefined;
}

async function unusedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Moves time on in steps until `condition` holds; between two steps real sockets get their turns. */
async function advanceUntil(clock: VirtualClock, condition: () => boolean, stepMs: number): Promise<void> {
  const giveUpAt = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error('time moved on in vain');
    await clock.advance(stepMs);
    for (let turn = 0; turn < 20 && !condition(); turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
}
