import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Fragment } from '../src/handshake-message.ts';
import { parseFragments } from '../src/handshake-message.ts';
import { Reassembler } from '../src/reassembly.ts';
import { ReplayWindow } from '../src/replay-window.ts';

const body = Buffer.from(Array.from({ length: 200 }, (_, i) => (i * 7) & 255));

function fragment(offset: number, length: number, changes: Partial<Fragment> = {}): Fragment {
  return {
    type: 11,
    length: body.length,
    sequence: 0,
    offset,
    bytes: body.subarray(offset, offset + length),
    ...changes,
  };
}

test('pieces in any order, doubled and overlapping, make the message exactly when all is there (fuzz)', () => {
  const piece = fc.tuple(fc.nat(body.length - 1), fc.integer({ min: 1, max: 120 }));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const reassembler = new Reassembler();
      const covered = new Set<number>();
      for (const [offset, wanted] of pieces) {
        const length = Math.min(wanted, body.length - offset);
        reassembler.add(fragment(offset, length), 0);
        for (let i = offset; i < offset + length; i++) covered.add(i);
      }
      const message = reassembler.take();
      expect(message !== undefined).toBe(covered.size === body.length);
      if (message) expect(message.body).toEqual(body);
    }),
    { numRuns: fuzzRuns },
  );
});

test('a piece that disagrees in type, length, epoch or content is dropped', () => {
  const reassembler = new Reassembler();
  expect(reassembler.add(fragment(0, 100), 0)).toBe('kept');
  expect(reassembler.add(fragment(100, 100, { type: 12 }), 0)).toBe('dropped');
  expect(reassembler.add(fragment(100, 50, { length: 150 }), 0)).toBe('dropped');
  expect(reassembler.add(fragment(100, 100), 2)).toBe('dropped');
  expect(reassembler.add(fragment(50, 100, { bytes: Buffer.alloc(100) }), 0)).toBe('dropped');
  expect(reassembler.take()).toBeUndefined();
  expect(reassembler.add(fragment(100, 100), 0)).toBe('kept');
  expect(reassembler.take()?.body).toEqual(body);
  expect(reassembler.add(fragment(0, 100), 0)).toBe('duplicate');
});

test('messages too far ahead and pieces in the clear after the keys are dropped', () => {
  const reassembler = new Reassembler();
  expect(reassembler.add(fragment(0, 200, { sequence: 8 }), 0)).toBe('dropped');
  expect(reassembler.add(fragment(0, 100), 0)).toBe('kept');
  reassembler.requireEpoch(2);
  expect(reassembler.hasParts).toBe(false);
  expect(reassembler.add(fragment(0, 100), 0)).toBe('dropped');
});

test('a message in more pieces than any path makes is not held', () => {
  const reassembler = new Reassembler();
  const fates = Array.from({ length: 60 }, (_, i) => reassembler.add(fragment(i * 3, 1), 0));
  expect(fates.filter((fate) => fate === 'kept')).toHaveLength(32);
});

test.each([
  ['cut short', '0b 000010 0000 000000 0000'],
  ['longer than its message', '0b 000002 0000 000000 000003 aabbcc'],
  ['outside of its message', '0b 000002 0000 000002 000001 aa'],
  ['of a message that is too long', '0b 010000 0000 000000 000001 aa'],
  ['empty, of a message that is not', '0b 000002 0000 000000 000000'],
  ['longer than the record', '0b 000004 0000 000000 000004 aabb'],
])('a fragment %s is refused', (_, hex) => {
  expect(() => parseFragments(Buffer.from(hex.replaceAll(' ', ''), 'hex'))).toThrow(
    expect.objectContaining({ code: 'DTLS_MALFORMED' }),
  );
});

test('the replay window takes each number once, whatever the order (fuzz)', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3000), { maxLength: 300 }), (numbers) => {
      const window = new ReplayWindow();
      const seen = new Set<number>();
      let highest = -1;
      for (const number of numbers) {
        const expected = !seen.has(number) && number > highest - ReplayWindow.size;
        expect(window.isNew(number)).toBe(expected);
        if (!expected) continue;
        window.mark(number);
        seen.add(number);
        highest = Math.max(highest, number);
      }
    }),
    { numRuns: Math.ceil(fuzzRuns / 4) },
  );
});
