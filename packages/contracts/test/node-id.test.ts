import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isNodeId, NODE_ID_LENGTH, nodeIdOf, PUBLIC_KEY_BYTES, publicKeyOf } from '../src/index.ts';

const publicKey = fc.uint8Array({ minLength: PUBLIC_KEY_BYTES, maxLength: PUBLIC_KEY_BYTES });

test('an id is 52 characters and gives its key back (fuzz)', () => {
  fc.assert(
    fc.property(publicKey, (key) => {
      const id = nodeIdOf(key);
      expect(id).toHaveLength(NODE_ID_LENGTH);
      expect(isNodeId(id)).toBe(true);
      expect(publicKeyOf(id)).toEqual(Buffer.from(key));
    }),
    { numRuns: fuzzRuns },
  );
});

test('one key has one id: no other text passes for it (fuzz)', () => {
  fc.assert(
    fc.property(publicKey, fc.nat(NODE_ID_LENGTH - 1), fc.string({ minLength: 1, maxLength: 1 }), (key, at, other) => {
      const id = nodeIdOf(key);
      const changed = id.slice(0, at) + other + id.slice(at + 1);
      if (changed === id || !isNodeId(changed)) return;
      expect(publicKeyOf(changed)).not.toEqual(Buffer.from(key));
    }),
    { numRuns: fuzzRuns },
  );
});

test.each([
  ['upper case', 'A'.repeat(52)],
  ['too short', 'a'.repeat(51)],
  ['too long', 'a'.repeat(53)],
  ['bits beyond the key', `${'a'.repeat(51)}b`],
  ['a character outside the alphabet', `${'a'.repeat(51)}1`],
  ['nothing', ''],
])('text with %s is no id', (_, text) => {
  expect(isNodeId(text)).toBe(false);
});

test('a key of another length is refused', () => {
  expect(() => nodeIdOf(new Uint8Array(31))).toThrow(RangeError);
  expect(() => nodeIdOf(new Uint8Array(33))).toThrow(RangeError);
});
