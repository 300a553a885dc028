import { expect, test } from 'vitest';
import { Backoff } from '../src/index.ts';

const randomAt = (fraction: number) => ({ bytes: (length: number) => Buffer.alloc(length), fraction: () => fraction });

test('delays double from the first to the largest', () => {
  const backoff = new Backoff(randomAt(1), { firstMs: 100, maxMs: 1000 });
  const delays = Array.from({ length: 6 }, () => backoff.nextDelayMs());
  expect(delays).toEqual([100, 200, 400, 800, 1000, 1000]);
});

test('chance takes off up to half of a delay', () => {
  expect(new Backoff(randomAt(0), { firstMs: 100 }).nextDelayMs()).toBe(50);
  expect(new Backoff(randomAt(0.5), { firstMs: 100 }).nextDelayMs()).toBe(75);
});

test('a success starts over, and a thousand failures do not overflow', () => {
  const backoff = new Backoff(randomAt(1));
  for (let attempt = 0; attempt < 1000; attempt += 1) expect(backoff.nextDelayMs()).toBeLessThanOrEqual(30_000);
  backoff.reset();
  expect(backoff.nextDelayMs()).toBe(250);
});
