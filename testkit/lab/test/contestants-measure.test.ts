import { type Clock, sleep } from '@claw/base';
import { VirtualClock } from '@claw/testkit';
import { expect, test } from 'vitest';
import { BaseSession } from '../src/contestants/adapters/base-session.ts';
import { ArrivalRecord } from '../src/contestants/arrival-record.ts';
import type { Measured, PathFacts } from '../src/contestants/contract.ts';
import { longestMeasureMs, MEASURE_LIMITS, type MeasureOrder, Measurer } from '../src/contestants/measure.ts';
import { answerMeasurements } from '../src/contestants/measure-answer.ts';
import { decodeMeasure, encodeMeasure, encodeReport } from '../src/contestants/measure-messages.ts';

const DELAY_MS = 20;

/** One end of a pair in memory: takes a message each `paceMs`, delivers it after `DELAY_MS`. */
class MemorySession extends BaseSession {
  peer: MemorySession | undefined;
  /** Takes and delivers nothing, and does not say so. */
  stalled = false;
  readonly #clock: Clock;
  readonly #paceMs: number;

  constructor(clock: Clock, paceMs: number) {
    super();
    this.#clock = clock;
    this.#paceMs = paceMs;
  }

  async send(message: Buffer): Promise<void> {
    if (this.endReason !== undefined) throw new Error(this.endReason);
    if (this.stalled) return new Promise(() => {});
    this.#clock.setTimer(DELAY_MS, () => this.peer?.take(message));
    return sleep(this.#clock, this.#paceMs);
  }

  take(message: Buffer): void {
    if (this.endReason === undefined && !this.stalled) this.deliver(message);
  }

  async path(): Promise<PathFacts> {
    return { type: 'direct', protocol: 'udp', detail: 'memory' };
  }

  async close(): Promise<void> {
    this.end('closed here');
  }

  die(reason: string): void {
    this.end(reason);
  }
}

function createPair(paceMs = 5) {
  const clock = new VirtualClock();
  const [a, b] = [new MemorySession(clock, paceMs), new MemorySession(clock, paceMs)];
  [a.peer, b.peer] = [b, a];
  return { clock, a, b };
}

/** Moves time on until the measurement is done; fails when it takes longer than it may. */
async function run(clock: VirtualClock, measurer: Measurer, order: MeasureOrder): Promise<Measured> {
  let measured: Measured | undefined;
  const done = measurer.measure(order).then((result) => {
    measured = result;
  });
  const endMs = clock.monotonicMs() + longestMeasureMs(order);
  while (!measured && clock.monotonicMs() <= endMs) await clock.advance(50);
  expect(measured, 'the measurement is over in time').toBeDefined();
  await done;
  return measured!;
}

test('measure tells round trips, throughput and one-way delay of a session that works', async () => {
  const { clock, a, b } = createPair();
  answerMeasurements(b, clock);
  const measured = await run(clock, new Measurer(a, clock), { pings: 3, bulkMs: 1000, watchMs: 1000 });
  expect(measured.roundTripMs).toEqual([2 * DELAY_MS, 2 * DELAY_MS, 2 * DELAY_MS]);
  // Each 32 messages the sender lets the event loop turn, in which virtual time may pass.
  expect(measured.bulk?.bytes).toBeGreaterThan(180 * 16 * 1024);
  expect(measured.bulk?.bytes).toBeLessThanOrEqual(200 * 16 * 1024);
  expect(measured.bulk?.durationMs).toBe(1000);
  expect(measured.bulk?.timeline[3]).toMatchObject({ delayMs: DELAY_MS });
  expect(measured.watch).toMatchObject({ sent: { a: 20 }, received: { b: 20 } });
  expect(measured.watch?.longestGapMs.b).toBeLessThan(100);
  expect(measured.ended).toBeUndefined();
});

test('measure of a session that dies in a transfer keeps what b told until then and says why', async () => {
  const { clock, a, b } = createPair();
  answerMeasurements(b, clock);
  clock.setTimer(3500, () => a.die('ICE failed'));
  const measured = await run(clock, new Measurer(a, clock), { pings: 0, bulkMs: 10_000, watchMs: 1000 });
  expect(measured.ended).toBe('ICE failed');
  expect(measured.bulk?.bytes).toBeGreaterThan(500 * 16 * 1024);
  expect(measured.bulk?.bytes).toBeLessThan(700 * 16 * 1024);
  expect(measured.watch).toBeUndefined();
  expect(clock.monotonicMs()).toBeLessThan(4000);
});

test('measure of a session that is dead already ends at once', async () => {
  const { clock, a } = createPair();
  a.die('gone');
  const measured = await run(clock, new Measurer(a, clock), { pings: 5, bulkMs: 1000, watchMs: 1000 });
  expect(measured).toEqual({ roundTripMs: [], ended: 'gone' });
});

test('measure of a session that stalls ends by its limits', async () => {
  const { clock, a, b } = createPair();
  answerMeasurements(b, clock);
  a.stalled = true;
  const measured = await run(clock, new Measurer(a, clock), { pings: 2, bulkMs: 1000, watchMs: 1000 });
  expect(measured.roundTripMs).toEqual([null, null]);
  expect(measured.bulk).toMatchObject({ bytes: 0, stallMs: 1000 });
  expect(measured.ended).toContain('record did not come');
});

test('measure counts a silence in a watch on both sides', async () => {
  const { clock, a, b } = createPair();
  answerMeasurements(b, clock);
  clock.setTimer(1000, () => {
    a.stalled = true;
    b.stalled = true;
  });
  clock.setTimer(1600, () => {
    a.stalled = false;
    b.stalled = false;
  });
  const measured = await run(clock, new Measurer(a, clock), { pings: 0, bulkMs: 0, watchMs: 3000 });
  // A send that was taken in the stall never returns, so these senders stay silent until the end.
  expect(measured.watch?.longestGapMs.a).toBeGreaterThan(600);
  expect(measured.watch?.longestGapMs.b).toBeGreaterThan(600);
  expect(measured.ended).toBeUndefined();
});

test('measure takes in a record that needs many messages', async () => {
  const { clock, a, b } = createPair(50);
  answerMeasurements(b, clock);
  const sizes: number[] = [];
  const send = b.send.bind(b);
  b.send = (message) => {
    sizes.push(message.length);
    return send(message);
  };
  const measured = await run(clock, new Measurer(a, clock), { pings: 0, bulkMs: 90_000, watchMs: 0 });
  expect(measured.bulk?.timeline.length).toBeGreaterThanOrEqual(900);
  expect(measured.bulk?.bytes).toBeGreaterThan(1700 * 16 * 1024);
  expect(Math.max(...sizes)).toBeLessThan(16 * 1024);
});

test('measure does not wait for what a slow path delivers long after the run', async () => {
  const { clock, a, b } = createPair();
  answerMeasurements(b, clock);
  const backlog: Buffer[] = [];
  const take = b.take.bind(b);
  // Eight messages a second leave of the two hundred that come in.
  b.take = (message) => {
    if (backlog.push(message) > 1) return;
    const next = () => {
      take(backlog[0]!);
      backlog.shift();
      if (backlog.length > 0) clock.setTimer(125, next);
    };
    clock.setTimer(125, next);
  };
  const measured = await run(clock, new Measurer(a, clock), { pings: 0, bulkMs: 2000, watchMs: 0 });
  expect(measured.ended).toBeUndefined();
  expect(clock.monotonicMs()).toBeLessThan(2500);
  expect(measured.bulk?.bytes).toBe(15 * 16 * 1024);
});

test('measure ends when b sends a record that cannot be read', async () => {
  const { clock, a, b } = createPair();
  b.onMessage((message) => {
    const run = decodeMeasure(message)?.run ?? 0;
    const report = encodeReport(run, { from: 0 } as never);
    void b.send(report);
  });
  const measured = await run(clock, new Measurer(a, clock), { pings: 0, bulkMs: 1000, watchMs: 0 });
  expect(measured.ended).toBe('b sent a record that cannot be read');
});

test('answers ignore what is no message of ours', async () => {
  const { clock, a, b } = createPair();
  answerMeasurements(b, clock);
  for (const message of [Buffer.alloc(0), Buffer.from([1]), Buffer.alloc(64, 255)]) b.take(message);
  b.take(encodeMeasure({ kind: 'report', run: 1, startMs: 0, sentMs: 0, number: 0 }));
  const measured = await run(clock, new Measurer(a, clock), { pings: 1, bulkMs: 0, watchMs: 0 });
  expect(measured.roundTripMs).toEqual([2 * DELAY_MS]);
});

test('a record keeps its sums and no bucket beyond its bound', () => {
  const record = new ArrivalRecord(0, 1000);
  record.add(10, 0, 5);
  record.add(10, 0, 24 * 3_600_000);
  record.merge({ ...[...record.reports(0, 5, true)][0]!, from: 1e9, buckets: [[1, 1, 1]] });
  expect(record.bytes).toBe(20);
  expect(record.buckets().length).toBe(1);
});

test('limits bound every part of a measurement', () => {
  const { pingMs, drainMs } = MEASURE_LIMITS;
  const longest = longestMeasureMs({ pings: 2, bulkMs: 1000, watchMs: 500 });
  expect(longest).toBeGreaterThanOrEqual(2 * pingMs + 1500 + 2 * drainMs);
});
