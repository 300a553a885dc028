import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32c } from '../src/crc32c.ts';
import { FragmentRuns } from '../src/fragment-runs.ts';
import { OutboundMessage, OutboundStream } from '../src/outbound-stream.ts';
import { RingQueue } from '../src/ring-queue.ts';
import { StreamReset } from '../src/stream-reset.ts';
import { StreamScheduler } from '../src/stream-scheduler.ts';
import { TsnMap } from '../src/tsn-map.ts';

test('CRC32c gives the check values of RFC 3720 appendix B.4', () => {
  const check = (bytes: Buffer) => crc32c(bytes, bytes.length).toString(16);
  expect(check(Buffer.alloc(32))).toBe('8a9136aa');
  expect(check(Buffer.alloc(32, 0xff))).toBe('62a8ab43');
  expect(check(Buffer.from(Array.from({ length: 32 }, (_, at) => at)))).toBe('46dd794e');
  expect(check(Buffer.from('123456789'))).toBe('e3069283');
});

test('a TSN map knows what a set knows (fuzz)', () => {
  const start = 0xffff_fff0;
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(600), fc.nat(20)), { maxLength: 300 }), (steps) => {
      const map = new TsnMap(start);
      const set = new Set<number>();
      let cumulative = -1;
      for (const [offset, kind] of steps) {
        const tsn = (start + offset) >>> 0;
        if (kind === 0) {
          map.skipTo(tsn);
          if (offset > cumulative) cumulative = offset;
        } else {
          const isNew = offset > cumulative && !set.has(offset);
          expect(map.judge(tsn) !== 'duplicate').toBe(isNew);
          if (isNew) map.add(tsn);
          set.add(offset);
        }
        while (set.has(cumulative + 1)) cumulative++;
        expect(map.cumulativeTsn).toBe((start + cumulative) >>> 0);
      }
      const bytes = Buffer.alloc(2000);
      const count = map.writeGaps(bytes, 0, 500);
      const told = new Set<number>();
      for (let at = 0; at < count; at++) {
        for (let gap = bytes.readUInt16BE(4 * at); gap <= bytes.readUInt16BE(4 * at + 2); gap++)
          told.add(cumulative + gap);
      }
      expect([...told]).toEqual([...set].filter((offset) => offset > cumulative).toSorted((a, b) => a - b));
    }),
    { numRuns: Math.ceil(fuzzRuns / 4) },
  );
});

test('fragments join to the message in whatever order they come (fuzz)', () => {
  fc.assert(
    fc.property(
      fc
        .integer({ min: 2, max: 40 })
        .chain((count) => fc.shuffledSubarray([...Array(count).keys()], { minLength: count })),
      (order) => {
        const runs = new FragmentRuns();
        const base = 0x7fff_fff0;
        let whole: Buffer | undefined;
        for (const at of order) {
          const run = runs.add(base + at, 1, at === 0, at === order.length - 1, 53, Buffer.of(at));
          if (run.hasBegin && run.hasEnd) whole = run.join();
        }
        expect([...(whole ?? [])]).toEqual([...Array(order.length).keys()]);
        expect(runs.size).toBe(1);
      },
    ),
    { numRuns: Math.ceil(fuzzRuns / 4) },
  );
});

test('a ring queue keeps order through growth and wrap', () => {
  const queue = new RingQueue<number>();
  let next = 0;
  for (let round = 0; round < 200; round++) {
    for (let at = 0; at < round % 7; at++) queue.push(round * 10 + at);
    if (round % 3 === 0) {
      const value = queue.shift();
      if (value !== undefined) expect(value).toBeGreaterThanOrEqual(next);
      next = value ?? next;
    }
  }
  expect(queue.length).toBeGreaterThan(100);
});

describe('the scheduler', () => {
  function serve(kind: 'weighted' | 'strict', priorities: readonly number[], turns: number): number[] {
    const scheduler = new StreamScheduler(kind);
    const served = priorities.map(() => 0);
    priorities.forEach((priority, id) => {
      const stream = new OutboundStream(id);
      stream.priority = priority;
      stream.queue.push(new OutboundMessage(stream, 53, Buffer.alloc(1000), 0, {}));
      scheduler.add(stream);
    });
    for (let turn = 0; turn < turns; turn++) {
      const stream = scheduler.peek()!;
      served[stream.id]!++;
      scheduler.charge(stream, 1000);
    }
    return served;
  }

  test('shares by weight', () => {
    const served = serve('weighted', [128, 256, 512, 1024], 1500);
    expect(served.map((count) => Math.round(count / 100))).toEqual([1, 2, 4, 8]);
  });

  test('with strict priority serves the highest rank alone, and equals in turn', () => {
    expect(serve('strict', [128, 512, 512, 256], 100)).toEqual([0, 50, 50, 0]);
  });
});

test('a reset that the peer postpones is asked for again by a new number', () => {
  const asked: number[] = [];
  const done: number[] = [];
  const reset = new StreamReset(
    {
      sendNext: (chunk) => asked.push(chunk.readUInt32BE(8)),
      lastSentTsn: () => 0,
      hasAllThrough: () => true,
      peerReset: () => {},
      resetAsked: () => {},
      resetDone: (streamIds) => done.push(...streamIds),
    },
    100,
    200,
  );
  const answer = (sequence: number, result: number) => {
    const parameter = Buffer.alloc(12);
    parameter.writeUInt16BE(16, 0);
    parameter.writeUInt16BE(12, 2);
    parameter.writeUInt32BE(sequence, 4);
    parameter.writeUInt32BE(result, 8);
    reset.onReconfig(parameter, 200, 0);
  };
  reset.add(7);
  reset.pump(200, 0);
  for (const number of [100, 101, 102]) {
    answer(number, 6);
    expect(reset.timeoutAtMs).toBe(200);
    reset.onTimeout(200, 200);
  }
  expect(asked).toEqual([100, 101, 102, 103]);
  // Whichever of them it answers.
  answer(101, 1);
  answer(103, 1);
  expect(done).toEqual([7]);
  reset.add(8);
  reset.pump(200, 0);
  expect(asked.at(-1)).toBe(104);
});

test.each([
  ['the same number', 200],
  ['a new number, as older libwebrtc does', 201],
])('a reset that waits for data may be asked for again by %s', (_, sequence) => {
  let hasAll = false;
  const answers: number[][] = [];
  const done: number[] = [];
  const reset = new StreamReset(
    {
      sendNext: (chunk) => answers.push([chunk.readUInt32BE(8), chunk.readUInt32BE(12)]),
      lastSentTsn: () => 0,
      hasAllThrough: () => hasAll,
      peerReset: (streamIds) => done.push(...streamIds),
      resetAsked: () => {},
      resetDone: () => {},
    },
    100,
    200,
  );
  const ask = (number: number) => {
    const parameter = Buffer.alloc(18);
    parameter.writeUInt16BE(13, 0);
    parameter.writeUInt16BE(18, 2);
    parameter.writeUInt32BE(number, 4);
    parameter.writeUInt16BE(7, 16);
    reset.onReconfig(Buffer.concat([parameter, Buffer.alloc(2)]), 200, 0);
  };
  ask(200);
  ask(sequence);
  hasAll = true;
  reset.onProgress();
  ask(sequence);
  // On its way anew while it was done.
  ask(sequence + 1);
  expect(answers).toEqual([
    [200, 6],
    [sequence, 6],
    [sequence, 1],
    [sequence, 1],
    [sequence + 1, 1],
  ]);
  expect(done).toEqual([7]);
});
