import { VirtualClock } from '@claw/testkit';
import { expect, test } from 'vitest';
import { sleep, TaskScope } from '../src/index.ts';

function openScope(closeDeadlineMs?: number) {
  const clock = new VirtualClock();
  const errors: string[] = [];
  const scope = new TaskScope({
    clock,
    onError: (error, task) => errors.push(`${task}: ${(error as Error).message}`),
    ...(closeDeadlineMs === undefined ? {} : { closeDeadlineMs }),
  });
  return { clock, errors, scope };
}

test('closing aborts every task and waits until it has ended', async () => {
  const { clock, errors, scope } = openScope();
  const ended: string[] = [];
  scope.run('waiter', async (signal) => {
    await sleep(clock, 1000, signal).finally(() => ended.push('waiter'));
  });
  scope.run('cleaner', async (signal) => {
    await sleep(clock, 1000, signal).catch(() => Promise.resolve());
    ended.push('cleaner');
  });
  await scope.close();
  expect(ended).toEqual(['waiter', 'cleaner']);
  expect(errors).toEqual([]);
  expect(clock.pendingTimers).toBe(0);
});

test('a task that fails is reported with its name and leaves the others running', async () => {
  const { errors, scope } = openScope();
  scope.run('broken', () => Promise.reject(new Error('no')));
  scope.run('thrower', () => {
    throw new Error('sync');
  });
  let running = false;
  scope.run('other', (signal) => {
    running = true;
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  });
  await Promise.resolve();
  expect(running).toBe(true);
  await scope.close();
  expect(errors.toSorted()).toEqual(['broken: no', 'thrower: sync']);
});

test('a failure while closing is reported, the abort itself is not', async () => {
  const { clock, errors, scope } = openScope();
  scope.run('messy', async (signal) => {
    await sleep(clock, 1000, signal).catch(() => Promise.resolve());
    throw new Error('could not tidy up');
  });
  await scope.close();
  expect(errors).toEqual(['messy: could not tidy up']);
});

test('closing does not wait for a task beyond the deadline', async () => {
  const { clock, scope } = openScope(200);
  scope.run('deaf', () => new Promise(() => {}));
  const closing = scope.close();
  let closed = false;
  void closing.then(() => {
    closed = true;
  });
  await clock.advance(199);
  expect(closed).toBe(false);
  await clock.advance(1);
  await closing;
});

test('closing twice is closing once, and nothing runs afterwards', async () => {
  const { scope } = openScope();
  const first = scope.close();
  expect(scope.close()).toBe(first);
  await first;
  let ran = false;
  scope.run('late', () => {
    ran = true;
    return Promise.resolve();
  });
  expect(ran).toBe(false);
  expect(scope.closed).toBe(true);
});
