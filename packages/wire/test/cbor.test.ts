import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { boundedBytes, decodeCbor, encodeCbor, fixedBytes } from '../src/index.ts';

const decodeAny = (bytes: Uint8Array) => decodeCbor('a value', v.unknown(), bytes, 16 * 1024 * 1024);
const hex = (text: string) => Buffer.from(text, 'hex');

const cborValue: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.constant(null),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array(),
    fc.double({ noNaN: true, noDefaultInfinity: true, noInteger: true }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ maxLength: 5 }), tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value;

test('any value of ours comes back (fuzz)', () => {
  fc.assert(
    fc.property(cborValue, (value) => {
      expect(decodeAny(encodeCbor(value))).toEqual(value);
    }),
    { numRuns: fuzzRuns },
  );
});

test('encoding does not depend on the order in which keys were set', () => {
  expect(encodeCbor({ b: 1, aa: 2, a: 3 })).toEqual(encodeCbor({ a: 3, aa: 2, b: 1 }));
});

test('any bytes are decoded or refused with a wire code (fuzz)', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expectValueOrRefusal(bytes);
    }),
    { numRuns: fuzzRuns },
  );
});

test('a valid encoding with a few bytes changed is decoded or refused with a wire code (fuzz)', () => {
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(cborValue, changes, (value, edits) => {
      const bytes = Uint8Array.from(encodeCbor(value));
      for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
      expectValueOrRefusal(bytes);
    }),
    { numRuns: fuzzRuns },
  );
});

function expectValueOrRefusal(bytes: Uint8Array): void {
  try {
    decodeAny(bytes);
  } catch (error) {
    expect(error).toMatchObject({ code: 'WIRE_MALFORMED' });
  }
}

describe('decoding refuses', () => {
  test.each([
    ['nothing', ''],
    ['a value cut short', '8201'],
    ['bytes after the value', '0000'],
    ['a key given twice', 'a2616101616102'],
    ['keys that are no text', 'a10102'],
    ['bytes of indefinite length', '5f4101ff'],
    ['an array of indefinite length', '9f01ff'],
    ['a map of indefinite length', 'bf616101ff'],
    ['a text of indefinite length', '7f6161ff'],
    ['a lone break', 'ff'],
    ['a length longer than it need be', '1801'],
    ['a tag', 'c100'],
    ['undefined', 'f7'],
    ['NaN', 'f97e00'],
    ['infinity', 'f97c00'],
    ['an integer above 2^53', '1bffffffffffffffff'],
    ['an integer below −2^53', '3bffffffffffffffff'],
    ['bytes said to be 2 GiB', '5a7fffffff00'],
    ['an array said to have 2^31 entries', '9a7fffffff00'],
    ['a map said to have 2^64 entries', 'bbffffffffffffffff'],
    ['a reserved length', '1c'],
  ])('%s', (_, text) => {
    expect(() => decodeAny(hex(text))).toThrow(expect.objectContaining({ code: 'WIRE_MALFORMED' }));
  });

  test.each([100, 10_000, 1_000_000])('%i arrays inside each other that never end', (depth) => {
    expect(() => decodeAny(Buffer.alloc(depth, 0x81))).toThrow(expect.objectContaining({ code: 'WIRE_MALFORMED' }));
  });

  test('a million arrays inside each other that do end', () => {
    const bytes = Buffer.alloc(1_000_001, 0x81);
    bytes[1_000_000] = 0;
    expect(() => decodeAny(bytes)).toThrow(expect.objectContaining({ code: 'WIRE_MALFORMED' }));
  });

  test('more bytes than the caller takes, before looking at them', () => {
    const decode = () => decodeCbor('an offer', v.unknown(), Buffer.alloc(11, 0xff), 10);
    expect(decode).toThrow(
      expect.objectContaining({ code: 'WIRE_TOO_LARGE', message: expect.stringMatching('an offer') }),
    );
  });

  test('a value of another shape, and says where', () => {
    const schema = v.strictObject({ peer: v.strictObject({ age: v.number() }) });
    const decode = () => decodeCbor('an offer', schema, encodeCbor({ peer: { age: 'old' } }), 100);
    expect(decode).toThrow(
      expect.objectContaining({ code: 'WIRE_MALFORMED', message: expect.stringMatching('peer.age') }),
    );
  });
});

test('byte strings are checked for their length', () => {
  const decode = (schema: v.GenericSchema, length: number) =>
    decodeCbor('a key', schema, encodeCbor(new Uint8Array(length)), 100);
  expect(decode(fixedBytes(4), 4)).toEqual(new Uint8Array(4));
  expect(() => decode(fixedBytes(4), 5)).toThrow('expected 4 bytes');
  expect(decode(boundedBytes(4), 0)).toEqual(new Uint8Array(0));
  expect(() => decode(boundedBytes(4), 5)).toThrow('at most 4 bytes');
});
