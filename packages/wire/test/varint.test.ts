import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Reader, varintLength, writeVarint } from '../src/index.ts';

const malformed = expect.objectContaining({ code: 'WIRE_MALFORMED' });

const anyValue = fc.oneof(
  fc.maxSafeNat(),
  fc.constantFrom(0x3f, 0x40, 0x3fff, 0x4000, 0x3fff_ffff, 0x4000_0000, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);

test('the examples of RFC 9000 §A.1 read as they say', () => {
  const read = (hex: string) => new Reader(Buffer.from(hex, 'hex')).varint();
  expect(read('9d7f3e7d')).toBe(494_878_333);
  expect(read('7bbd')).toBe(15_293);
  expect(read('25')).toBe(37);
  expect(read('4025')).toBe(37);
});

test('any value comes back from the bytes that its length says (fuzz)', () => {
  fc.assert(
    fc.property(anyValue, fc.nat(5), (value, offset) => {
      const out = Buffer.alloc(offset + 8);
      const end = writeVarint(out, value, offset);
      expect(end - offset).toBe(varintLength(value));
      const reader = new Reader(out.subarray(0, end), offset);
      expect(reader.varint()).toBe(value);
      expect(reader.remaining).toBe(0);
    }),
    { numRuns: fuzzRuns },
  );
});

test('any bytes are read or refused (fuzz)', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
      const reader = new Reader(Buffer.from(bytes));
      try {
        while (reader.remaining > 0) expect(Number.isSafeInteger(reader.varint())).toBe(true);
      } catch (error) {
        expect(error).toEqual(malformed);
      }
    }),
    { numRuns: fuzzRuns },
  );
});

test('a value above 2^53 − 1 is refused both ways', () => {
  expect(() => writeVarint(Buffer.alloc(8), 2 ** 53, 0)).toThrow(RangeError);
  expect(() => new Reader(Buffer.from('ffffffffffffffff', 'hex')).varint()).toThrow(malformed);
  expect(() => new Reader(Buffer.from('c020000000000000', 'hex')).varint()).toThrow(malformed);
});

test('reading past the end is refused, and what is read shares the memory', () => {
  const bytes = Buffer.from([1, 2, 3, 4]);
  const reader = new Reader(bytes);
  expect(reader.u8()).toBe(1);
  const two = reader.bytes(2);
  bytes[1] = 9;
  expect([...two]).toEqual([9, 3]);
  expect(() => reader.bytes(2)).toThrow(malformed);
  expect([...reader.rest()]).toEqual([4]);
  expect(() => reader.u8()).toThrow(malformed);
  expect(() => reader.varint()).toThrow(malformed);
});
