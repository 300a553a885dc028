import type { LinkSpec } from '@claw/scenarios';
import { describe, expect, test } from 'vitest';
import { openSimnet } from '../src/index.ts';
import { pair } from './topologies.ts';

const TO = { address: '10.0.0.2', port: 9 };
/** With 28 bytes of headers and 14 of Ethernet, 1,250 bytes: 10,000 bits. */
const DATA_BYTES = 1208;

interface Arrival {
  readonly index: number;
  readonly delayMs: number;
  readonly atMs: number;
}

/** Sends `count` datagrams over the link, one each `everyMs`, and returns what arrived. */
async function send(link: LinkSpec, count: number, everyMs: number): Promise<Arrival[]> {
  using simnet = openSimnet(pair(link), { seed: 5 });
  const [a, b] = [simnet.host('a'), simnet.host('b')];
  const arrivals: Arrival[] = [];
  b.bindUdp({ port: 9 }).onMessage((bytes) => {
    const index = bytes.readUInt32BE();
    arrivals.push({ index, delayMs: simnet.nowMs - index * everyMs, atMs: simnet.nowMs });
  });
  const socket = a.bindUdp();
  const bytes = Buffer.alloc(DATA_BYTES);
  for (let index = 0; index < count; index += 1) {
    a.clock.setTimer(index * everyMs, () => {
      bytes.writeUInt32BE(index);
      socket.send(bytes, TO);
    });
  }
  await simnet.run(count * everyMs + 60_000);
  return arrivals;
}

const shareOf = (arrivals: readonly Arrival[], count: number) => 1 - arrivals.length / count;
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe('a link', () => {
  test('loses the share that it says, one by one', async () => {
    expect(shareOf(await send({ loss: { model: 'bernoulli', share: 0.2 } }, 10_000, 1), 10_000) / 0.2).toBeCloseTo(
      1,
      1,
    );
  });

  test('loses in bursts of the length that two states give', async () => {
    const loss = { model: 'gilbert-elliott', goodToBad: 0.1, badToGood: 0.5, lossInGood: 0, lossInBad: 1 } as const;
    const arrivals = await send({ loss }, 30_000, 1);
    // In the bad state for goodToBad / (goodToBad + badToGood) of the packets, 1 / badToGood in a row.
    expect(shareOf(arrivals, 30_000) / (0.1 / 0.6)).toBeCloseTo(1, 1);
    const gaps = arrivals.slice(1).map(({ index }, at) => index - (arrivals[at]?.index ?? 0) - 1);
    expect(mean(gaps.filter((gap) => gap > 0)) / 2).toBeCloseTo(1, 1);
  });

  test('delays exactly without jitter, and within its bounds and in order with it', async () => {
    expect((await send({ delayMs: 25 }, 10, 1)).every(({ delayMs }) => Math.abs(delayMs - 25) < 1e-6)).toBe(true);
    const arrivals = await send({ delayMs: 50, jitterMs: 10 }, 5000, 30);
    expect(mean(arrivals.map(({ delayMs }) => delayMs))).toBeCloseTo(50, 0);
    expect(Math.min(...arrivals.map(({ delayMs }) => delayMs))).toBeGreaterThanOrEqual(40);
    const close = await send({ delayMs: 50, jitterMs: 10 }, 1000, 1);
    expect(close.map(({ index }) => index)).toEqual(close.map((_, index) => index));
  });

  test('holds back the share that it reorders', async () => {
    const arrivals = await send({ delayMs: 5, reorder: { share: 0.1, holdMs: 20 } }, 10_000, 1);
    const held = arrivals.filter(({ delayMs }) => delayMs > 24.9);
    expect(held.length / 1000).toBeCloseTo(1, 1);
    expect(arrivals.some(({ index }, at) => index < (arrivals[at - 1]?.index ?? 0))).toBe(true);
  });

  test('duplicates and corrupts the share that it says', async () => {
    expect((await send({ duplicateShare: 0.1 }, 10_000, 1)).length / 11_000).toBeCloseTo(1, 1);
    // What is corrupt is dropped by the checksum of the receiver.
    expect(shareOf(await send({ corruptShare: 0.1 }, 10_000, 1), 10_000) / 0.1).toBeCloseTo(1, 1);
  });

  test('serialises at its rate and drops what its queue does not hold', async () => {
    const rateBitsPerSecond = 1_000_000;
    const arrivals = await send({ rateBitsPerSecond, queueBytes: 12_500 }, 2000, 5);
    // Twice the rate is offered: 10 ms a packet, ten wait.
    expect(arrivals.length / 1000).toBeCloseTo(1, 1);
    expect(Math.max(...arrivals.map(({ delayMs }) => delayMs))).toBeCloseTo(110, 0);
    expect(mean(arrivals.slice(1).map(({ atMs }, at) => atMs - (arrivals[at]?.atMs ?? 0)))).toBeCloseTo(10, 1);
  });

  test('lets a burst through its token bucket and shapes the rest', async () => {
    const tokenBucket = { rateBitsPerSecond: 1_000_000, burstBytes: 12_500 };
    const arrivals = await send({ tokenBucket, queueBytes: 1_000_000 }, 110, 0);
    expect(arrivals.filter(({ atMs }) => atMs === 0)).toHaveLength(10);
    expect(arrivals.at(-1)?.atMs).toBeCloseTo(1000, 0);
  });

  test('is asymmetric when its two directions are', async () => {
    using simnet = openSimnet(pair({ delayMs: 5 }, { delayMs: 50 }), { seed: 1 });
    const there = simnet.host('a').bindUdp();
    const echo = simnet.host('b').bindUdp({ port: 9 });
    echo.onMessage((bytes, from) => echo.send(bytes, from));
    const answer = new Promise<number>((resolve) => there.onMessage(() => resolve(simnet.nowMs)));
    there.send(Buffer.from('x'), TO);
    expect(await simnet.runUntil(answer, 1000)).toBe(55);
  });
});
