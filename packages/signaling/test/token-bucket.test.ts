import { VirtualClock } from '@claw/testkit';
import { expect, it } from 'vitest';
import { SequenceSource } from '../src/sequence.ts';
import { TokenBucket } from '../src/token-bucket.ts';

it('bucket gives its burst at once and its rate afterwards', () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 3 }, 0);
  expect([1, 1, 1, 1].map((count) => bucket.take(count, 0))).toEqual([true, true, true, false]);
  expect(bucket.waitMs(1, 0)).toBe(100);
  expect(bucket.take(1, 99)).toBe(false);
  expect(bucket.take(1, 100)).toBe(true);
  expect(bucket.isFull(399)).toBe(false);
  expect(bucket.isFull(100_000)).toBe(true);
  expect([1, 1, 1, 1].map((count) => bucket.take(count, 100_000))).toEqual([true, true, true, false]);
});

it('bucket takes nothing when it refuses, and takes back no more than it can hold', () => {
  const bucket = new TokenBucket({ perSecond: 1 }, 0);
  expect(bucket.take(3, 0)).toBe(false);
  expect(bucket.take(2, 0)).toBe(true);
  bucket.giveBack(5);
  expect(bucket.take(3, 0)).toBe(false);
  expect(bucket.take(2, 0)).toBe(true);
});

it('bucket keeps its tokens when time does not move or goes back', () => {
  const bucket = new TokenBucket({ perSecond: 1000, burst: 1 }, 50);
  expect(bucket.take(1, 50)).toBe(true);
  expect(bucket.take(1, 0)).toBe(false);
  expect(bucket.take(1, 50)).toBe(false);
});

it('sequence grows within a millisecond, over restarts, and when the wall clock steps back', async () => {
  const clock = new VirtualClock();
  const source = new SequenceSource(clock);
  const first = source.next();
  expect(source.next()).toBe(first + 1);
  clock.stepWallClock(-60_000);
  expect(source.next()).toBe(first + 2);
  clock.stepWallClock(60_000);
  await clock.advance(1);
  const restarted = new SequenceSource(clock).next();
  expect(restarted).toBeGreaterThan(first + 2);
  expect(Number.isSafeInteger(restarted)).toBe(true);
});
