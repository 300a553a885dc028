import { seededRandom } from '@claw/testkit';
import { describe, expect, test } from 'vitest';
import { createInit, SctpAssociation } from '../src/index.ts';
import { Pair } from './pair.ts';

const typeOf = (packet: Buffer) => packet[12];

test('both ends that start at once connect within two round trips', () => {
  const pair = new Pair({ delayMs: 50 }).connect();
  expect(pair.simulation.nowMs).toBeLessThanOrEqual(200);
});

test('one end that starts alone connects', () => {
  const pair = new Pair({ delayMs: 50 });
  pair.a.connect();
  pair.run(1000);
  expect([pair.a.association.state, pair.b.association.state]).toEqual(['connected', 'connected']);
});

test.each([1, 2, 10, 11])('a handshake whose first chunk of type %i is lost completes', (type) => {
  for (const isSimultaneous of [true, false]) {
    const pair = new Pair({ delayMs: 20 });
    for (const link of [pair.forward, pair.backward]) {
      let lost = 0;
      link.filter = (packet) => typeOf(packet) !== type || lost++ > 0;
    }
    pair.a.connect();
    if (isSimultaneous) pair.b.connect();
    const channel = pair.a.open({ label: 'x' });
    channel.onOpen = () => channel.send('hello', pair.simulation.nowMs);
    pair.run(5000);
    expect(pair.b.messages.map(({ data }) => data.toString())).toEqual(['hello']);
  }
});

test('handshakes through 30 % loss complete', () => {
  for (let seed = 1; seed <= 30; seed++)
    new Pair({ delayMs: 20, loss: 0.3, jitterMs: 20, duplicate: 0.1, seed }).connect(60_000);
});

test('a peer that never answers is given up', () => {
  const pair = new Pair({ delayMs: 20, loss: 1 });
  pair.a.connect();
  pair.run(120_000);
  expect(pair.a.error).toMatchObject({ code: 'SCTP_TIMEOUT' });
});

describe('INITs in the descriptions (SNAP)', () => {
  test('connect without a packet, and data flows at once', () => {
    const pair = new Pair({ delayMs: 50 });
    const inits = [pair.a.association.localInit, pair.b.association.localInit] as const;
    const channel = pair.a.open({ label: 'early' });
    pair.a.connect(inits[1]);
    pair.b.connect(inits[0]);
    expect(pair.isConnected).toBe(true);
    pair.a.send(channel, 'zero round trips');
    pair.run(51);
    expect(pair.b.messages.map(({ data }) => data.toString())).toEqual(['zero round trips']);
    expect(pair.forward.packets).toBeLessThan(5);
  });

  test('made before the association is', () => {
    const pair = new Pair({ delayMs: 5 });
    const options = { random: seededRandom(9), send: (packet: Buffer) => pair.b.receive(Buffer.from(packet)) };
    const localInit = createInit(options);
    const association = new SctpAssociation({ ...options, localInit });
    expect(association.localInit.equals(localInit)).toBe(true);
    expect(() => new SctpAssociation({ ...options, localInit: Buffer.from('junk') })).toThrow(/no INIT/);
    expect(() => association.connect(0, Buffer.of(1, 0, 0, 4))).toThrow(/malformed/);
  });
});

test('a peer that lost its state and begins anew restarts the association', () => {
  const pair = new Pair({ delayMs: 10 }).connect();
  const channel = pair.a.open({ label: 'old' });
  pair.run(200);
  const restarted = new Pair({ delayMs: 10, seed: 7 }, {}, pair);
  // The new process takes the old one's place at a.
  const fresh = restarted.a;
  Object.defineProperty(pair, 'a', { value: fresh });
  Object.defineProperty(restarted, 'b', { value: pair.b });
  let closed = 0;
  pair.b.opened[0]!.onClose = () => closed++;
  fresh.connect();
  pair.run(3000, () => fresh.association.state === 'connected');
  expect([fresh.association.state, pair.b.association.state, closed]).toEqual(['connected', 'connected', 1]);
  const again = fresh.open({ label: 'new' });
  fresh.send(again, 'hello again');
  pair.run(500);
  expect(pair.b.messages.at(-1)!.data.toString()).toBe('hello again');
  expect(channel.label).toBe('old');
});

test('an INIT from a stranger does not harm an association that stands', () => {
  const pair = new Pair({ delayMs: 10 }).connect();
  const channel = pair.a.open();
  pair.run(200);
  const stranger = new SctpAssociation({
    random: seededRandom(99),
    send: (packet) => pair.b.receive(Buffer.from(packet)),
  });
  stranger.connect(pair.simulation.nowMs);
  pair.a.send(channel, 'still here');
  pair.run(500);
  expect(pair.b.messages.map(({ data }) => data.toString())).toEqual(['still here']);
});

describe('the end', () => {
  test('shutdown delivers what was sent, through loss, and closes both ends', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const pair = new Pair({ delayMs: 20, loss: 0.2, seed }).connect();
      const channel = pair.a.open();
      pair.run(3000);
      for (let number = 0; number < 20; number++) pair.a.send(channel, Buffer.alloc(3000));
      pair.a.association.shutdown(pair.simulation.nowMs);
      pair.a.settle();
      if (seed % 2) {
        pair.b.association.shutdown(pair.simulation.nowMs);
        pair.b.settle();
      }
      pair.run(60_000, () => pair.a.association.state === 'closed' && pair.b.association.state === 'closed');
      expect([seed, pair.a.association.state, pair.a.error, pair.b.messages.length]).toEqual([
        seed,
        'closed',
        undefined,
        20,
      ]);
      expect(channel.state).toBe('closed');
    }
  });

  test('abort closes the peer at once with its reason', () => {
    const pair = new Pair({ delayMs: 20 }).connect();
    const channel = pair.b.open();
    pair.a.association.abort(pair.simulation.nowMs, 'enough');
    pair.run(100);
    expect(pair.b.error).toMatchObject({ code: 'SCTP_ABORTED', message: expect.stringContaining('enough') });
    expect(channel.state).toBe('closed');
    expect(pair.b.association.deadlineMs).toBe(Number.POSITIVE_INFINITY);
    expect(() => pair.a.open()).toThrow(/closed/);
  });

  test('a peer that vanishes is given up, with data under way and without', () => {
    for (const hasData of [true, false]) {
      const pair = new Pair({ delayMs: 20 }, { maxTimeouts: 4, heartbeatIntervalMs: 5000 }).connect();
      const channel = pair.a.open();
      pair.run(200);
      pair.forward.filter = () => false;
      if (hasData) pair.a.send(channel, 'x');
      pair.run(120_000, () => pair.a.association.state === 'closed');
      expect(pair.a.error).toMatchObject({ code: 'SCTP_TIMEOUT' });
    }
  });
});

describe('path-MTU discovery', () => {
  const sendBulk = (pair: Pair) => {
    const channel = pair.a.open();
    for (let sent = 0; sent < 50; sent += 1) pair.a.send(channel, Buffer.alloc(200_000));
  };

  test.each([
    [1300, 1280],
    [1432, 1432],
    [9000, 8900],
    [65_535, 65_000],
  ])('on a path of %i bytes finds %i', (maxPacketBytes, found) => {
    const pair = new Pair({ delayMs: 5, maxPacketBytes }, { maxPacketBytes: 65_000 }).connect();
    sendBulk(pair);
    pair.run(20_000);
    expect(pair.a.association.packetBytes).toBe(found);
  });

  test('asks nothing while there is little to send', () => {
    const pair = new Pair({ delayMs: 5 }, { maxPacketBytes: 16_347 }).connect();
    const channel = pair.a.open();
    let greatest = 0;
    pair.forward.filter = (packet) => {
      greatest = Math.max(greatest, packet.length);
      return true;
    };
    for (let sent = 0; sent < 200; sent += 1) {
      pair.a.send(channel, Buffer.alloc(sent * 10));
      pair.run(20);
    }
    expect(pair.b.messages).toHaveLength(200);
    expect(greatest).toBeLessThanOrEqual(1200);
  });

  test('asks with nothing that a peer might not know, in packets no larger than it may send', () => {
    const pair = new Pair({ delayMs: 5 }, { maxPacketBytes: 16_347 });
    const chunks = new Set<number>();
    let greatest = 0;
    for (const link of [pair.forward, pair.backward]) {
      link.filter = (packet) => {
        greatest = Math.max(greatest, packet.length);
        for (let at = 12; at + 4 <= packet.length; at += (packet.readUInt16BE(at + 2) + 3) & ~3) {
          chunks.add(packet[at] as number);
        }
        return true;
      };
    }
    pair.connect();
    sendBulk(pair);
    pair.run(20_000);
    expect(pair.a.association.packetBytes).toBe(16_344);
    expect(greatest).toBe(16_344);
    // INIT, INIT ACK, SACK, HEARTBEAT, HEARTBEAT ACK, COOKIE ECHO, COOKIE ACK, I-DATA.
    expect([...chunks].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 10, 11, 64]);
  });
});
