/** Timers, retransmissions and what a sender learns from them on paths that lose much or change. */

import { expect, test } from 'vitest';
import { Bulk } from './bulk.ts';
import { Link, type LinkOptions } from './link.ts';
import { Pair } from './pair.ts';
import { Simulation } from './simulation.ts';

/** Two ends over links whose delay may change on the way. */
function changing(options: LinkOptions) {
  const simulation = new Simulation();
  const ways: { -readonly [key in keyof LinkOptions]: LinkOptions[key] }[] = [3, 4].map((seed) => ({
    ...options,
    seed,
  }));
  const [forward, backward] = ways.map((way) => new Link(simulation, way)) as [Link, Link];
  const setDelay = (delayMs: number) => {
    for (const way of ways) way.delayMs = delayMs;
  };
  return { setDelay, pair: new Pair({ seed: 3 }, {}, { simulation, forward, backward }) };
}

test('a first timeout that is shorter than the path is needless once, and its round trip is learnt from the duplicate', () => {
  const pair = new Pair({ delayMs: 400 }, { initialRtoMs: 500 });
  pair.a.association.connect(0, pair.b.association.localInit);
  pair.b.association.connect(0, pair.a.association.localInit);
  pair.a.settle();
  pair.b.settle();
  const channel = pair.a.open();
  for (let ping = 0; ping < 10; ping++) {
    pair.a.send(channel, Buffer.alloc(64));
    pair.run(2000);
  }
  expect(pair.b.messages).toHaveLength(10);
  expect(pair.a.association.smoothedRttMs).toBeGreaterThan(790);
  // The OPEN and the first ping.
  expect(pair.a.association.statistics.retransmissions).toBeLessThanOrEqual(3);
});

test('a lone message is sent again at an even pace before timeouts back off, and never later than every three seconds', () => {
  const pair = new Pair({ delayMs: 50 }).connect();
  const channel = pair.a.open();
  pair.a.send(channel, Buffer.alloc(64));
  pair.run(1000);
  const sentMs: number[] = [];
  pair.forward.filter = () => {
    sentMs.push(pair.simulation.nowMs);
    return false;
  };
  pair.a.send(channel, Buffer.alloc(64));
  pair.run(25_000);
  const gapsMs = sentMs.slice(1).map((ms, index) => ms - sentMs[index]!);
  expect(Math.max(...gapsMs.slice(0, 3))).toBeLessThan(300);
  expect(Math.max(...gapsMs)).toBeLessThanOrEqual(3001);
  expect(Math.max(...gapsMs)).toBeGreaterThan(2000);
});

test('what the network doubles by itself widens no reordering window and measures no round trip', () => {
  const pair = new Pair({ rateMbps: 10, delayMs: 20, duplicate: 0.2, queueBytes: 1_000_000, seed: 5 }).connect();
  const bulk = new Bulk(pair, 1);
  pair.run(3000);
  expect(pair.a.association.statistics.retransmissions).toBe(0);
  expect((bulk.receivedBytes * 8) / 3e6).toBeGreaterThan(6);
});

test('on a path that loses an eighth the window behind a hole does not fill up', () => {
  const pair = new Pair({ rateMbps: 100, delayMs: 50, loss: 0.12, seed: 3 }).connect();
  const bulk = new Bulk(pair, 1);
  pair.run(2000);
  const before = bulk.receivedBytes;
  let isFull = 0;
  for (let step = 0; step < 600; step++) {
    pair.run(10);
    if (pair.a.association.statistics.peerWindowBytes < 20_000) isFull++;
  }
  expect(((bulk.receivedBytes - before) * 8) / 6e6).toBeGreaterThan(65);
  expect(isFull).toBeLessThan(60);
});

test('a sender that the window of its peer stops asks for no wake-up', () => {
  const pair = new Pair({ rateMbps: 100, delayMs: 10, seed: 3 }, { receiveWindowBytes: 100_000 }).connect();
  const channel = pair.a.open();
  pair.run(200);
  pair.b.opened[0]?.pause();
  for (let sent = 0; sent < 100; sent++) channel.send(Buffer.alloc(16_384), pair.simulation.nowMs);
  pair.a.settle();
  pair.run(200);
  let steps = 0;
  pair.run(1000, () => ++steps > 1000);
  expect(steps).toBeLessThan(1000);
});

test.each<[string, LinkOptions, number, number, number]>([
  ['50 ms more, no loss', { rateMbps: 20, delayMs: 10, queueBytes: 250_000 }, 35, 2, 15],
  ['50 ms more, 2 % lost', { rateMbps: 20, delayMs: 10, queueBytes: 250_000, loss: 0.02 }, 35, 2, 15],
  ['40 ms more at 100 Mbit/s', { rateMbps: 100, delayMs: 20, queueBytes: 1_250_000 }, 40, 2, 80],
  ['100 ms more at 100 Mbit/s, 1 % lost', { rateMbps: 100, delayMs: 10, loss: 0.01, queueBytes: 1_250_000 }, 60, 4, 75],
  ['180 ms more and jitter', { rateMbps: 50, delayMs: 10, jitterMs: 5, queueBytes: 1_250_000 }, 100, 5, 38],
  // Of which a new connection would need six.
  ['20 ms become 600', { rateMbps: 2, delayMs: 10, queueBytes: 1_000_000 }, 300, 9, 1.5],
  ['20 ms become 600 at 20 Mbit/s', { rateMbps: 20, delayMs: 10, queueBytes: 3_000_000 }, 300, 13, 14],
  ['20 ms become 600 with jitter', { rateMbps: 20, delayMs: 10, jitterMs: 20, queueBytes: 1_500_000 }, 300, 9, 14],
])('a path that becomes longer (%s) is full again in seconds', (_, options, delayMs, seconds, least) => {
  const { setDelay, pair } = changing(options);
  const bulk = new Bulk(pair.connect(), 1);
  pair.run(5000);
  setDelay(delayMs);
  pair.run(seconds * 1000);
  const before = bulk.receivedBytes;
  pair.run(3000);
  expect(((bulk.receivedBytes - before) * 8) / 3e6).toBeGreaterThan(least);
});

test('a path that pauses now and then loses little more than the pauses', () => {
  const pair = new Pair({ rateMbps: 20, delayMs: 20, queueBytes: 250_000 }).connect();
  const bulk = new Bulk(pair, 1);
  pair.run(3000);
  const before = bulk.receivedBytes;
  for (let pause = 0; pause < 10; pause++) {
    const held: Buffer[] = [];
    pair.forward.filter = (packet) => {
      held.push(Buffer.from(packet));
      return false;
    };
    pair.run(300);
    pair.forward.filter = undefined;
    for (const packet of held) pair.forward.send(packet, (copy) => pair.b.receive(copy));
    pair.run(1700);
  }
  expect(((bulk.receivedBytes - before) * 8) / 20e6).toBeGreaterThan(14);
});

test.each(['rfc', 'cubic', 'claw'] as const)(
  '%s fills a path again in three seconds after an outage in a full queue',
  (congestion) => {
    const pair = new Pair({ rateMbps: 20, delayMs: 10, queueBytes: 1_000_000, seed: 3 }, { congestion }).connect();
    const bulk = new Bulk(pair, 1);
    pair.run(6000);
    pair.forward.filter = () => false;
    pair.run(1500);
    pair.forward.filter = undefined;
    pair.run(3000);
    const before = bulk.receivedBytes;
    pair.run(2000);
    expect(((bulk.receivedBytes - before) * 8) / 2e6).toBeGreaterThan(18);
  },
);
