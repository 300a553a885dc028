import { VirtualClock } from '@claw/testkit';
import { expect, test } from 'vitest';
import { sleep, systemClock, withDeadline } from '../src/index.ts';

test('sleep resolves when its time has come and not before', async () => {
  const clock = new VirtualClock();
  let awake = false;
  const sleeping = sleep(clock, 100).then(() => {
    awake = true;
  });
  await clock.advance(99);
  expect(awake).toBe(false);
  await clock.advance(1);
  await sleeping;
  expect(awake).toBe(true);
});

test('sleep rejects with the reason when aborted, and leaves no timer', async () => {
  const clock = new VirtualClock();
  const abort = new AbortController();
  const sleeping = sleep(clock, 100, abort.signal);
  abort.abort(new Error('enough'));
  await expect(sleeping).rejects.toThrow('enough');
  expect(clock.pendingTimers).toBe(0);
  await expect(sleep(clock, 100, abort.signal)).rejects.toThrow('enough');
  expect(clock.pendingTimers).toBe(0);
});

test('withDeadline settles as the promise does when that is in time, and leaves no timer', async () => {
  const clock = new VirtualClock();
  const late = () => new Error('late');
  await expect(withDeadline(clock, Promise.resolve(7), 100, late)).resolves.toBe(7);
  await expect(withDeadline(clock, Promise.reject(new Error('own')), 100, late)).rejects.toThrow('own');
  expect(clock.pendingTimers).toBe(0);
});

test('withDeadline rejects when the time is up', async () => {
  const clock = new VirtualClock();
  const waiting = withDeadline(clock, new Promise(() => {}), 100, () => new Error('late'));
  const outcome = expect(waiting).rejects.toThrow('late');
  await clock.advance(100);
  await outcome;
});

test('the system clock takes delays beyond what setTimeout can, and negative ones', async () => {
  let fired = false;
  const far = systemClock.setTimer(2 ** 40, () => {
    fired = true;
  });
  await new Promise<void>((resolve) => systemClock.setTimer(-5, resolve));
  far.cancel();
  far.cancel();
  expect(fired).toBe(false);
});

test('the system clock fires a timer without a delay in the next turn, not a millisecond later, unless it was cancelled', async () => {
  const fired: string[] = [];
  systemClock.setTimer(0, () => fired.push('first'));
  systemClock.setTimer(0, () => fired.push('cancelled')).cancel();
  systemClock.setTimer(-1, () => fired.push('overdue'));
  expect(fired).toEqual([]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(fired).toEqual(['first', 'overdue']);
});

test('the system clock runs on', () => {
  const before = systemClock.monotonicMs();
  expect(systemClock.monotonicMs()).toBeGreaterThanOrEqual(before);
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000);
});
