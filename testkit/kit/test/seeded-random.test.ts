import { expect, test } from 'vitest';
import { seededRandom } from '../src/index.ts';

test('the same seed gives the same sequence, another seed another', () => {
  const draw = (seed: number) => {
    const random = seededRandom(seed);
    return [random.fraction(), random.bytes(8).toString('hex'), random.fraction()];
  };
  expect(draw(7)).toEqual(draw(7));
  expect(draw(7)).not.toEqual(draw(8));
});

test('fractions lie in [0, 1) and average one half', () => {
  const random = seededRandom(1);
  const draws = Array.from({ length: 10_000 }, () => random.fraction());
  expect(Math.min(...draws)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...draws)).toBeLessThan(1);
  expect(draws.reduce((sum, draw) => sum + draw) / draws.length).toBeCloseTo(0.5, 1);
});
