import { afterAll, describe, expect, test } from 'vitest';
import { Bulk, measureBulk, measureRoundTrips, measureShares, measureUrgent } from './bulk.ts';
import { Link, type LinkOptions, percentile } from './link.ts';
import { Pair } from './pair.ts';
import { Simulation } from './simulation.ts';

const rows: string[] = [];
afterAll(() => console.log(rows.join('\n')));

const LINK: LinkOptions = { rateMbps: 100, seed: 3 };
const WARM_UP_MS = 2000;

// 100 Mbit/s on the wire carry at most 93.5 of payload in packets of 1,432 bytes.
describe('ours on a link of 100 Mbit/s', () => {
  test.each([
    [20, 0, 90],
    [20, 0.01, 85],
    [20, 0.05, 80],
    [100, 0, 90],
    [100, 0.01, 85],
    [100, 0.05, 80],
  ])('with a round trip of %d ms and loss %d carries at least %d Mbit/s, with a short queue', (rttMs, loss, least) => {
    const { mbps, queueP95Ms } = measureBulk({ ...LINK, delayMs: rttMs / 2, loss }, {}, 8000, WARM_UP_MS);
    rows.push(
      `claw ${rttMs} ms, loss ${loss * 100} %: ${mbps.toFixed(1)} Mbit/s, queue p95 ${queueP95Ms.toFixed(1)} ms`,
    );
    expect(mbps).toBeGreaterThanOrEqual(least);
    expect(queueP95Ms).toBeLessThanOrEqual(15);
  });

  test('with bursts of loss carries at least 80', () => {
    const { mbps } = measureBulk({ ...LINK, delayMs: 25, burst: { enter: 0.002, leave: 0.2 } }, {}, 6000, WARM_UP_MS);
    rows.push(`claw 50 ms, bursts of loss: ${mbps.toFixed(1)} Mbit/s`);
    expect(mbps).toBeGreaterThan(80);
  });

  test('with packets that overtake each other carries at least 80', () => {
    const { mbps } = measureBulk({ ...LINK, delayMs: 20, jitterMs: 5 }, {}, 6000, WARM_UP_MS);
    rows.push(`claw 40 ms, 5 ms of reordering: ${mbps.toFixed(1)} Mbit/s`);
    expect(mbps).toBeGreaterThan(80);
  });

  test('with a queue of a tenth of the path carries at least 75', () => {
    const { mbps } = measureBulk({ ...LINK, delayMs: 25, queueBytes: 62_500 }, {}, 6000, WARM_UP_MS);
    rows.push(`claw 50 ms, queue 0.1 BDP: ${mbps.toFixed(1)} Mbit/s`);
    expect(mbps).toBeGreaterThan(75);
  });

  test('takes no longer than a second to fill a path of 40 ms', () => {
    const { mbps } = measureBulk({ ...LINK, delayMs: 20 }, {}, 1000);
    rows.push(`claw 40 ms, the first second: ${mbps.toFixed(1)} Mbit/s`);
    expect(mbps).toBeGreaterThan(60);
  });
});

test.each([0.4, 5, 1000])('ours fills a link of %f Mbit/s', (rateMbps) => {
  const { mbps } = measureBulk({ rateMbps, delayMs: 10, seed: 3 }, {}, rateMbps === 1000 ? 700 : 6000, 1500);
  rows.push(`claw 20 ms, ${rateMbps} Mbit/s: ${mbps.toFixed(2)} Mbit/s`);
  expect(mbps).toBeGreaterThan(rateMbps * 0.8);
});

test('ours follows a link whose rate falls to a fifth and rises again', () => {
  const path = { rateMbps: 100, delayMs: 20, queueBytes: 500_000 };
  const simulation = new Simulation();
  const forward = new Link(simulation, path);
  const moved = new Pair({ delayMs: 20, seed: 3 }, {}, { simulation, forward }).connect();
  const bulk = new Bulk(moved, 1);
  const rates: string[] = [];
  for (const [rateMbps, least] of [
    [100, 85],
    [20, 16],
    [100, 85],
    [300, 240],
  ] as const) {
    path.rateMbps = rateMbps;
    moved.run(2500);
    const before = bulk.receivedBytes;
    forward.queueDelaysMs.length = 0;
    forward.isRecording = true;
    moved.run(1000);
    const mbps = ((bulk.receivedBytes - before) * 8) / 1e6;
    rates.push(`${rateMbps}: ${mbps.toFixed(0)}`);
    expect(mbps).toBeGreaterThan(least);
    expect(percentile(forward.queueDelaysMs, 0.95)).toBeLessThan(25);
  }
  rows.push(`claw 40 ms, the rate changes: ${rates.join(', ')} Mbit/s`);
});

describe('the other controls', () => {
  test.each(['rfc', 'cubic'] as const)('%s fills a clean link, and is no match for loss', (congestion) => {
    for (const [rttMs, loss] of [
      [20, 0],
      [20, 0.01],
      [20, 0.05],
      [100, 0],
      [100, 0.01],
      [100, 0.05],
    ] as const) {
      const { mbps, queueP95Ms } = measureBulk({ ...LINK, delayMs: rttMs / 2, loss }, { congestion }, 6000, WARM_UP_MS);
      rows.push(
        `${congestion} ${rttMs} ms, loss ${loss * 100} %: ${mbps.toFixed(1)} Mbit/s, queue p95 ${queueP95Ms.toFixed(1)} ms`,
      );
      if (loss === 0) expect(mbps).toBeGreaterThan(70);
      else expect(mbps).toBeLessThan(20);
    }
  });
});

describe('one flow of ours', () => {
  test.each([20, 50, 100])(
    'beside a CUBIC flow has from 30 to 60 hundredths of a link with a round trip of %d ms',
    (rttMs) => {
      const { mbps } = measureShares(
        { ...LINK, delayMs: rttMs / 2 },
        [{ congestion: 'claw' }, { congestion: 'cubic' }],
        4000,
        10_000,
      );
      const [ours = 0, theirs = 0] = mbps;
      const share = ours / (ours + theirs);
      rows.push(
        `claw beside CUBIC, ${rttMs} ms: ${ours.toFixed(1)} and ${theirs.toFixed(1)} Mbit/s, share ${(share * 100).toFixed(0)} %`,
      );
      expect(share).toBeGreaterThanOrEqual(0.3);
      expect(share).toBeLessThanOrEqual(0.6);
      expect(ours + theirs).toBeGreaterThan(85);
    },
  );

  test('beside another of ours has about half, with a short queue', () => {
    const { mbps, forward } = measureShares({ ...LINK, delayMs: 10 }, [{}, {}], 4000, 8000);
    const [one = 0, other = 0] = mbps;
    const queueP95Ms = percentile(forward.queueDelaysMs, 0.95);
    rows.push(
      `claw beside claw, 20 ms: ${one.toFixed(1)} and ${other.toFixed(1)} Mbit/s, queue p95 ${queueP95Ms.toFixed(1)} ms`,
    );
    expect(one / (one + other)).toBeGreaterThan(0.35);
    expect(one / (one + other)).toBeLessThan(0.65);
    expect(queueP95Ms).toBeLessThan(15);
  });
});

describe('64 B round trips beside a saturating bulk channel', () => {
  test.each<[string, LinkOptions, number]>([
    ['1 Gbit/s, 0.1 ms', { rateMbps: 1000, delayMs: 0.05, queueBytes: 200_000 }, 5],
    ['100 Mbit/s, 2 ms', { rateMbps: 100, delayMs: 1, queueBytes: 100_000 }, 10],
  ])('over %s stay under a few milliseconds at p99', (name, link, mostMs) => {
    for (const scheduler of ['weighted', 'strict'] as const) {
      const roundTripsMs = measureRoundTrips({ ...link, seed: 3 }, { scheduler }, 1500);
      const [p50, p99] = [percentile(roundTripsMs, 0.5), percentile(roundTripsMs, 0.99)];
      rows.push(`64 B beside bulk, ${name}, ${scheduler}: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`);
      expect(roundTripsMs.length).toBeGreaterThan(200);
      expect(p99).toBeLessThan(mostMs);
    }
  });

  // Its own queue, and up to a packet at the link.
  test.each<[number, number, number]>([
    [10, 20, 8],
    [10, 100, 8],
    [100, 2, 2.5],
    [100, 20, 5.5],
    [100, 100, 5.5],
    [1000, 0.1, 0.5],
    [1000, 2, 1],
    [1000, 20, 5],
  ])('over %d Mbit/s and %d ms arrive at most %d ms late at p99', (rateMbps, rttMs, mostMs) => {
    const link = { rateMbps, delayMs: rttMs / 2, seed: 3, queueBytes: Math.max(100_000, rateMbps * 125 * rttMs) };
    for (const scheduler of ['weighted', 'strict'] as const) {
      const latenessMs = measureUrgent(link, { scheduler }, rateMbps === 1000 ? 1000 : 4000);
      const [p50, p99] = [percentile(latenessMs, 0.5), percentile(latenessMs, 0.99)];
      rows.push(
        `64 B beside bulk, ${rateMbps} Mbit/s, ${rttMs} ms, ${scheduler}: ${p50.toFixed(2)} ms late, p99 ${p99.toFixed(2)} ms`,
      );
      expect(p99).toBeLessThan(mostMs);
    }
  });

  test('do not wait for a message of 16 MiB that is under way', () => {
    const pair = new Pair({ rateMbps: 50, delayMs: 5, seed: 3 }, { maxMessageBytes: 16 * 1024 * 1024 }).connect();
    const bulk = pair.a.open({ label: 'bulk', priority: 128 });
    const urgent = pair.a.open({ label: 'urgent', priority: 1024 });
    pair.run(500);
    pair.a.send(bulk, Buffer.alloc(16 * 1024 * 1024));
    pair.run(1000);
    const startMs = pair.simulation.nowMs;
    pair.a.send(urgent, Buffer.alloc(100_000));
    pair.run(5000, () => pair.b.messages.length > 0);
    expect(pair.b.messages[0]!.channel.label).toBe('urgent');
    expect(pair.simulation.nowMs - startMs).toBeLessThan(60);
  });
});
