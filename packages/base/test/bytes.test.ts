import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { asBuffer, equalBytes, fromBase32, toBase32 } from '../src/index.ts';

test('base32 matches the vectors of RFC 4648 §10', () => {
  const vectors = ['', 'my', 'mzxq', 'mzxw6', 'mzxw6yq', 'mzxw6ytb', 'mzxw6ytboi'];
  for (const [length, text] of vectors.entries()) {
    expect(toBase32(Buffer.from('foobar'.slice(0, length)))).toBe(text);
    expect(fromBase32(text)).toEqual(Buffer.from('foobar'.slice(0, length)));
  }
});

test('base32 of any bytes comes back, in upper case too (fuzz)', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const text = toBase32(bytes);
      expect(fromBase32(text)).toEqual(Buffer.from(bytes));
      expect(fromBase32(text.toUpperCase())).toEqual(Buffer.from(bytes));
    }),
    { numRuns: fuzzRuns },
  );
});

test('base32 accepts only what it would have written (fuzz)', () => {
  const anyText = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom(...['a', 'b', 'z', '2', '7', '0', '1', '=', 'A']) }),
  );
  fc.assert(
    fc.property(anyText, (text) => {
      const bytes = fromBase32(text);
      if (bytes) expect(toBase32(bytes)).toBe(text.toLowerCase());
    }),
    { numRuns: fuzzRuns },
  );
});

test.each(['a', 'mz1', 'mz=', 'mz', 'm z', 'myİ'])('base32 refuses %j', (text) => {
  expect(fromBase32(text)).toBeUndefined();
});

test('equal bytes are found equal, others of any length are not', () => {
  expect(equalBytes(Buffer.from('abc'), new Uint8Array([97, 98, 99]))).toBe(true);
  expect(equalBytes(Buffer.from('abc'), Buffer.from('abd'))).toBe(false);
  expect(equalBytes(Buffer.from('abc'), Buffer.from('abcd'))).toBe(false);
});

test('asBuffer shares the memory of a view', () => {
  const memory = new Uint8Array([1, 2, 3, 4]);
  const buffer = asBuffer(memory.subarray(1, 3));
  expect([...buffer]).toEqual([2, 3]);
  memory[1] = 9;
  expect(buffer[0]).toBe(9);
  expect(asBuffer(buffer)).toBe(buffer);
});
