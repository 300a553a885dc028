import { VirtualClock } from '@claw/testkit';
import { expect, test, vi } from 'vitest';
import { rehearse } from '../src/index.ts';

const openSockets = () => process.getActiveResourcesInfo().filter((kind) => /^(UDP|TCP)/.test(kind)).length;

test('a rehearsal connects, long before its deadline, and leaves nothing open', async () => {
  const before = openSockets();
  const startedMs = performance.now();
  await rehearse();
  expect(performance.now() - startedMs).toBeLessThan(1900);
  await vi.waitFor(() => expect(openSockets()).toBe(before));
});

test('a rehearsal that leads nowhere ends at its deadline, and leaves nothing open', async () => {
  const before = openSockets();
  // Nothing that waits for a timer goes on.
  const clock = new VirtualClock();
  let isOver = false;
  const rehearsal = rehearse(clock).then(() => {
    isOver = true;
  });
  await clock.advance(0);
  await vi.waitFor(() => expect(openSockets()).toBeGreaterThan(before));
  expect(isOver).toBe(false);
  await clock.advance(2000);
  await rehearsal;
  await vi.waitFor(() => expect(openSockets()).toBe(before));
});
