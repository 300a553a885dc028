import { expect, test } from 'vitest';
import { VirtualClock } from '../src/index.ts';

test('timers fire in order of time, then of making, those set on the way included', async () => {
  const clock = new VirtualClock();
  const fired: string[] = [];
  const note = (name: string) => () => fired.push(`${name} ${clock.monotonicMs()}`);
  clock.setTimer(20, note('c'));
  clock.setTimer(10, note('a'));
  clock.setTimer(10, () => {
    note('b')();
    clock.setTimer(5, note('nested'));
  });
  clock.setTimer(10, note('cancelled')).cancel();
  clock.setTimer(31, note('later'));
  await clock.advance(30);
  expect(fired).toEqual(['a 10', 'b 10', 'nested 15', 'c 20']);
  expect(clock.pendingTimers).toBe(1);
  expect(clock.monotonicMs()).toBe(30);
});
