import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayWindow } from '../src/replay-window.ts';

describe('replay window', () => {
  it('window admits a sequence once when it comes again before its expiry', () => {
    const window = new ReplayWindow();
    expect(window.admit('a', 1, 1000, 0)).toBeUndefined();
    expect(window.admit('a', 1, 1000, 999)).toBe('ENVELOPE_REPLAYED');
    expect(window.admit('a', 1, 1000, 1000)).toBe('ENVELOPE_REPLAYED');
    expect(window.admit('a', 2, 1000, 999)).toBeUndefined();
    expect(window.admit('b', 1, 1000, 999)).toBeUndefined();
  });

  it('window admits sequences out of order', () => {
    const window = new ReplayWindow();
    expect([5, 3, 4, 1].map((sequence) => window.admit('a', sequence, 1000, 0))).toEqual(Array(4).fill(undefined));
  });

  it('window says ENVELOPE_FLOOD to a sender that filled its share, and to nobody else', () => {
    const window = new ReplayWindow({ maxPerSender: 3 });
    for (const sequence of [1, 2, 3]) expect(window.admit('a', sequence, 1000, 0)).toBeUndefined();
    expect(window.admit('a', 4, 1000, 0)).toBe('ENVELOPE_FLOOD');
    expect(window.admit('b', 4, 1000, 0)).toBeUndefined();
    expect(window.admit('a', 2, 1000, 0)).toBe('ENVELOPE_REPLAYED');
    // Room again once something expired.
    expect(window.admit('a', 4, 3000, 1001)).toBeUndefined();
  });

  it('window evicts senders of whom all has expired when it is full, and refuses new ones when none has', () => {
    const window = new ReplayWindow({ maxSenders: 2 });
    window.admit('a', 1, 1000, 0);
    window.admit('b', 1, 2000, 0);
    expect(window.admit('c', 1, 3000, 500)).toBe('ENVELOPE_FLOOD');
    expect(window.admit('b', 2, 2000, 500)).toBeUndefined();
    expect(window.admit('c', 1, 3000, 1001)).toBeUndefined();
    expect(window.senders).toBe(2);
    expect(window.admit('b', 1, 2000, 1001)).toBe('ENVELOPE_REPLAYED');
  });

  it('window admits nothing it forgot when the wall clock steps back', () => {
    const window = new ReplayWindow({ maxPerSender: 1, maxSenders: 1 });
    window.admit('a', 1, 1000, 0);
    expect(window.admit('a', 2, 5000, 1001)).toBeUndefined();
    expect(window.admit('a', 1, 1000, 0)).toBe('ENVELOPE_REPLAYED');
    // The same after the whole sender was forgotten.
    expect(window.admit('b', 1, 9000, 5001)).toBeUndefined();
    expect(window.admit('a', 2, 5000, 0)).toBe('ENVELOPE_REPLAYED');
  });

  it('window stays within its bounds and admits nothing twice, whatever comes (fuzz)', () => {
    const arrival = fc.record({
      sender: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      sequence: fc.nat({ max: 12 }),
      lifetime: fc.nat({ max: 50 }),
      step: fc.integer({ min: -30, max: 40 }),
    });
    fc.assert(
      fc.property(fc.array(arrival, { maxLength: 80 }), (arrivals) => {
        const window = new ReplayWindow({ maxPerSender: 4, maxSenders: 3 });
        const admitted = new Set<string>();
        let now = 1000;
        for (const { sender, sequence, lifetime, step } of arrivals) {
          now += step;
          // The expiry is part of what is signed: a replay has the same.
          const expiry = 1000 + sequence * 7 + lifetime;
          if (expiry < now) continue;
          const key = `${sender} ${sequence} ${expiry}`;
          const fault = window.admit(sender, sequence, expiry, now);
          if (fault === undefined) {
            expect(admitted.has(key)).toBe(false);
            admitted.add(key);
          }
          expect(window.senders).toBeLessThanOrEqual(3);
        }
      }),
      { numRuns: fuzzRuns },
    );
  });
});
