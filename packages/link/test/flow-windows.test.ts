import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkLimits, DEFAULT_SESSION_LIMITS } from '../src/session/limits.ts';
import { GRANT_BELOW, ReceiveWindow, SendWindow } from '../src/session/receive-window.ts';

const SIZE = 1000;

test('a sender that keeps to its window never overruns the receiver, and never waits for ever (fuzz)', () => {
  const action = fc.oneof(
    fc.record({ do: fc.constant('send' as const), count: fc.integer({ min: 1, max: SIZE }) }),
    fc.record({ do: fc.constant('consume' as const), count: fc.integer({ min: 1, max: SIZE }) }),
    fc.record({ do: fc.constant('hear' as const), count: fc.nat(3) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const sender = new SendWindow(SIZE);
      const receiver = new ReceiveWindow(SIZE);
      const credits: number[] = []; // under way
      let held = 0;
      const consume = (count: number) => {
        held -= count;
        const limit = receiver.consume(count);
        if (limit !== undefined) credits.push(limit);
      };
      for (const { do: what, count } of actions) {
        if (what === 'send' && count <= sender.room) {
          sender.spend(count);
          expect(receiver.receive(count)).toBe(true);
          held += count;
        } else if (what === 'consume' && held > 0) {
          consume(Math.min(count, held));
        } else if (what === 'hear') {
          for (const limit of credits.splice(0, count)) sender.raise(limit);
        }
        expect(receiver.held).toBe(held);
        expect(held).toBeLessThanOrEqual(SIZE);
      }
      if (held > 0) consume(held);
      for (const limit of credits) sender.raise(limit);
      expect(sender.room).toBeGreaterThan(SIZE * GRANT_BELOW - 1);
    }),
    { numRuns: fuzzRuns },
  );
});

test('a receive window refuses the first byte beyond its limit', () => {
  const window = new ReceiveWindow(SIZE);
  expect(window.receive(SIZE)).toBe(true);
  expect(window.receive(1)).toBe(false);
});

test('a send window ignores a credit that is older than the one it has', () => {
  const window = new SendWindow(SIZE);
  window.raise(3 * SIZE);
  window.raise(2 * SIZE);
  expect(window.room).toBe(3 * SIZE);
});

test.each([
  ['a message of more than three quarters of the channel window', { maxMessageBytes: 2 * 1024 * 1024 }],
  ['a channel window below a frame', { channelWindowBytes: 64 * 1024, maxMessageBytes: 10 }],
  ['a link window below the channel window', { linkWindowBytes: 1024 * 1024 }],
])('limits with %s are refused', (_, change) => {
  expect(() => checkLimits({ ...DEFAULT_SESSION_LIMITS, ...change })).toThrow(RangeError);
});
