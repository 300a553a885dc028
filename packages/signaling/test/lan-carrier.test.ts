import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import type { EnvelopeHandler } from '@claw/contracts';
import { carrierCompliance, fuzzRuns, until, VirtualClock } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MDNS_GROUP } from '../src/carriers/multicast-socket.ts';
import { envelopeHint, sealEnvelope } from '../src/envelope.ts';
import { LAN_MAX_ENVELOPE_BYTES, type LanCarrier, type LanCarrierOptions, openLanCarrier } from '../src/index.ts';
import { createNode, freeUdpPort, makeContent, type TestNode } from './support.ts';

const alice = await createNode();
const bob = await createNode();
const eve = await createNode();
const loopback = () => ['127.0.0.1'];

/** Bytes with the head of an envelope to `node`, as far as they go. */
function makeEnvelope(node: TestNode, length: number): Buffer {
  const enc = randomBytes(32);
  const head = Buffer.concat([Buffer.of(1), envelopeHint(node.publicKey, enc), enc]);
  return Buffer.concat([head, randomBytes(Math.max(0, length - head.length))]).subarray(0, length);
}

function openTestCarrier(node: TestNode, port: number, changes: Partial<LanCarrierOptions> = {}): LanCarrier {
  const { nodeId } = node;
  const carrier = openLanCarrier({ nodeId, port, onEnvelope: () => {}, interfaces: loopback, ...changes });
  onTestFinished(() => carrier.close());
  return carrier;
}

const untilUp = (...carriers: LanCarrier[]) =>
  until(() => carriers.every((carrier) => carrier.status().state === 'up'), 'the carriers to be up');

const clock = new VirtualClock();
carrierCompliance(
  'lan',
  async (onEnvelopeAtA, onEnvelopeAtB) => {
    const port = await freeUdpPort();
    const open = (node: TestNode, onEnvelope: EnvelopeHandler) =>
      openLanCarrier({ nodeId: node.nodeId, onEnvelope, port, interfaces: loopback, clock });
    const [a, b] = [open(alice, onEnvelopeAtA), open(bob, onEnvelopeAtB)];
    await untilUp(a, b);
    return {
      a: { nodeId: alice.nodeId, carrier: a },
      b: { nodeId: bob.nodeId, carrier: b },
      close: async () => {},
    };
  },
  {
    lossless: false,
    // Without the head of an envelope nobody would know whom it is for.
    minEnvelopeBytes: 41,
    makeEnvelope: (to, length) => makeEnvelope(to === alice.nodeId ? alice : bob, length),
    pendingTimers: () => clock.pendingTimers,
  },
);

describe('lan carrier', () => {
  it('carrier sends packets of at most 1,400 bytes under random names with a time to live of 0', async () => {
    const port = await freeUdpPort();
    const packets = await listen(port);
    const carrier = openTestCarrier(alice, port);
    await untilUp(carrier);
    carrier.send(bob.nodeId, makeEnvelope(bob, LAN_MAX_ENVELOPE_BYTES));
    await until(() => packets.length === 16, '16 packets');
    const names = packets.map((packet) => packet.toString('latin1', 13, 29));
    expect(new Set(names).size).toBe(16);
    for (const packet of packets) {
      expect(packet.length).toBeLessThanOrEqual(1400);
      expect(packet.toString('latin1')).toContain('\x05_claw\x04_udp\x05local\x00');
      // Flags say authoritative answer; one answer, of type TXT, class IN, time to live 0.
      expect(packet.subarray(2, 8).toString('hex')).toBe('840000000001');
      const record = packet.indexOf('\x05local\x00', 'latin1') + 7;
      expect(packet.subarray(record, record + 8).toString('hex')).toBe('0010000100000000');
    }
  });

  it('carrier delivers to its reader alone, and what the router opens', async () => {
    const port = await freeUdpPort();
    const inbox: Record<'bob' | 'eve', Uint8Array[]> = { bob: [], eve: [] };
    const a = openTestCarrier(alice, port);
    const b = openTestCarrier(bob, port, { onEnvelope: (bytes) => inbox.bob.push(bytes) });
    const e = openTestCarrier(eve, port, { onEnvelope: (bytes) => inbox.eve.push(bytes) });
    await untilUp(a, b, e);
    const sealed = await sealEnvelope(alice.keyHolder, bob.recipient, makeContent({ body: randomBytes(5000) }));
    a.send(bob.nodeId, sealed);
    a.send(eve.nodeId, makeEnvelope(eve, 100));
    await until(() => inbox.bob.length > 0 && inbox.eve.length > 0, 'both');
    expect(inbox.bob.map((bytes) => Buffer.from(bytes))).toEqual([sealed]);
    expect(inbox.eve.map((bytes) => bytes.length)).toEqual([100]);
    expect(a.status().envelopesReceived).toBe(0);
  });

  it('carrier delivers a resent envelope once', async () => {
    const port = await freeUdpPort();
    const inbox: Uint8Array[] = [];
    const a = openTestCarrier(alice, port);
    const b = openTestCarrier(bob, port, { onEnvelope: (bytes) => inbox.push(bytes) });
    await untilUp(a, b);
    const envelope = makeEnvelope(bob, 3000);
    for (let count = 0; count < 3; count += 1) a.send(bob.nodeId, envelope);
    const last = makeEnvelope(bob, 100);
    a.send(bob.nodeId, last);
    await until(() => inbox.some((bytes) => bytes.length === 100), 'the last');
    expect(inbox.map((bytes) => bytes.length)).toEqual([3000, 100]);
  });

  it('carrier is down while its port is taken, and up at the next scan once it is free', async () => {
    const holder = createSocket({ type: 'udp4', reuseAddr: false });
    const port = await freeUdpPort();
    // On Linux the carrier binds to the group itself, so the port is taken there.
    await new Promise<void>((resolve) => holder.bind(port, MDNS_GROUP, resolve));
    const virtual = new VirtualClock();
    const carrier = openTestCarrier(alice, port, { clock: virtual });
    await until(() => carrier.status().state === 'down', 'the fault');
    expect(carrier.status().detail).toMatch(/EADDRINUSE/);
    carrier.send(bob.nodeId, makeEnvelope(bob, 100));
    expect(carrier.status()).toMatchObject({ envelopesSent: 0, envelopesDropped: 1 });
    await new Promise<void>((resolve) => holder.close(() => resolve()));
    await virtual.advance(15_000);
    await untilUp(carrier);
  });

  it('carrier is down without an interface, and joins those that appear, go and come back', async () => {
    const port = await freeUdpPort();
    const virtual = new VirtualClock();
    let present: string[] = [];
    const inbox: Uint8Array[] = [];
    const interfaces = () => present;
    const a = openTestCarrier(alice, port, { clock: virtual, interfaces });
    const b = openTestCarrier(bob, port, { onEnvelope: (bytes) => inbox.push(bytes) });
    await untilUp(b);
    await until(() => a.status().state === 'down', 'no interface');
    expect(a.status().detail).toBe('no IPv4 interface');
    for (let round = 1; round <= 3; round += 1) {
      present = ['127.0.0.1'];
      await virtual.advance(15_000);
      expect(a.status()).toMatchObject({ state: 'up', detail: 'mDNS on 127.0.0.1' });
      a.send(bob.nodeId, makeEnvelope(bob, 100));
      await until(() => inbox.length === round, 'an envelope');
      present = [];
      a.rescan();
      expect(a.status().state).toBe('down');
    }
  });

  it('carrier uses the other interfaces when one of them is refused', async () => {
    const port = await freeUdpPort();
    const inbox: Uint8Array[] = [];
    const interfaces = () => ['198.51.100.1', '127.0.0.1', 'not an address'];
    const a = openTestCarrier(alice, port, { interfaces });
    const b = openTestCarrier(bob, port, { interfaces, onEnvelope: (bytes) => inbox.push(bytes) });
    await untilUp(a, b);
    expect(a.status().detail).toBe('mDNS on 127.0.0.1');
    a.send(bob.nodeId, makeEnvelope(bob, 100));
    await until(() => inbox.length === 1, 'the envelope');
  });

  it('carrier wakes up four times a minute while nothing happens', async () => {
    const virtual = new VirtualClock();
    let scans = 0;
    const interfaces = () => {
      scans += 1;
      return loopback();
    };
    const carrier = openTestCarrier(alice, await freeUdpPort(), { clock: virtual, interfaces });
    await untilUp(carrier);
    scans = 0;
    await virtual.advance(60_000);
    expect(scans).toBe(4);
    expect(virtual.pendingTimers).toBe(1);
  });

  it('carrier closes at once, while it is binding, and twice', async () => {
    const virtual = new VirtualClock();
    const carrier = openTestCarrier(alice, await freeUdpPort(), { clock: virtual });
    await Promise.all([carrier.close(), carrier.close()]);
    expect(carrier.status()).toMatchObject({ state: 'down', detail: 'closed' });
    expect(virtual.pendingTimers).toBe(0);
    carrier.rescan();
    expect(virtual.pendingTimers).toBe(0);
  });

  it('carrier survives arbitrary packets, and records that are none of ours (fuzz)', async () => {
    const port = await freeUdpPort();
    const inbox: Uint8Array[] = [];
    const a = openTestCarrier(alice, port);
    const b = openTestCarrier(bob, port, { onEnvelope: (bytes) => inbox.push(bytes) });
    await untilUp(a, b);
    const sample = await listen(port);
    a.send(bob.nodeId, makeEnvelope(bob, 200));
    await until(() => sample.length > 0 && inbox.length > 0, 'a packet');
    const sound = sample[0] as Buffer;
    inbox.length = 0;
    const hostile = createSocket('udp4');
    onTestFinished(() => new Promise((resolve) => hostile.close(() => resolve())));
    await new Promise<void>((resolve) => hostile.bind(0, '127.0.0.1', resolve));
    hostile.setMulticastInterface('127.0.0.1');
    const altered = fc
      .array(fc.tuple(fc.nat({ max: sound.length - 1 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 5 })
      .map((changes) => {
        const packet = Buffer.from(sound);
        for (const [at, value] of changes) packet[at] = value;
        return packet;
      });
    const packet = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      altered,
      fc.nat({ max: sound.length }).map((length) => sound.subarray(0, length)),
    );
    await fc.assert(
      fc.asyncProperty(packet, async (bytes) => {
        await new Promise((resolve) => hostile.send(bytes, port, MDNS_GROUP, resolve));
      }),
      { numRuns: fuzzRuns },
    );
    // The sockets heard all of it in order; what comes last shows that they still listen.
    const last = makeEnvelope(bob, 150);
    await until(() => {
      a.send(bob.nodeId, last);
      return inbox.some((bytes) => last.equals(bytes));
    }, 'the last envelope');
    expect([a.status().state, b.status().state]).toEqual(['up', 'up']);
  });
});

/** Collects what is sent to the group on the loopback interface. */
async function listen(port: number): Promise<Buffer[]> {
  const packets: Buffer[] = [];
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  socket.on('message', (packet) => packets.push(packet));
  onTestFinished(() => new Promise((resolve) => socket.close(() => resolve())));
  await new Promise<void>((resolve) => socket.bind(port, MDNS_GROUP, resolve));
  socket.addMembership(MDNS_GROUP, '127.0.0.1');
  return packets;
}
