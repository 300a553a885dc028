import { isClawError } from '@claw/base';
import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type AttemptKind,
  type AttemptMessage,
  decodeAttemptMessage,
  decodeCleartext,
  encodeAttemptMessage,
  encodeCleartext,
  isAttemptKind,
} from '../src/connect/attempt-messages.ts';

const KINDS: readonly AttemptKind[] = ['link.offer', 'link.answer', 'link.more', 'link.refuse'];
const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((value) => Buffer.from(value));
const upTo = (maxLength: number) => fc.uint8Array({ maxLength }).map((value) => Buffer.from(value));
const attempt = bytes(16);
const candidates = fc.array(
  fc.record({ candidate: fc.string({ maxLength: 60 }), sdpMid: fc.option(fc.string({ maxLength: 8 })) }),
  { maxLength: 4 },
);
const more = fc.record({
  kind: fc.constant('link.more' as const),
  attempt,
  candidates,
  segments: fc.array(fc.record({ offset: fc.nat(32 * 1024), bytes: upTo(200) }), { maxLength: 3 }),
});
const refuse = fc.record({
  kind: fc.constant('link.refuse' as const),
  attempt,
  code: fc.nat(64),
  reason: fc.string({ maxLength: 80 }),
});
const description = fc.record({
  kind: fc.constantFrom('link.offer' as const, 'link.answer' as const),
  attempt,
  sdp: fc.string({ maxLength: 500 }),
  candidates,
  flight: upTo(500),
  nonce: bytes(32),
});
const message: fc.Arbitrary<AttemptMessage> = fc.oneof(description, more, refuse);

/** Byte strings as numbers, so that a Buffer equals a Uint8Array. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, part) =>
      part?.type === 'Buffer' ? part.data : part instanceof Uint8Array ? [...part] : part,
    ),
  );

function expectRefusal(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!isClawError(error, 'WIRE_MALFORMED', 'WIRE_TOO_LARGE')) throw error;
  }
}

test('an attempt message reads as it was written (fuzz)', () => {
  fc.assert(
    fc.property(message, (value) => {
      const read = decodeAttemptMessage(value.kind, encodeAttemptMessage(value));
      expect(plain(read)).toEqual(plain(value));
    }),
    { numRuns: Math.ceil(fuzzRuns / 2) },
  );
});

test('a cleartext message reads as it was written (fuzz)', () => {
  fc.assert(
    fc.property(fc.oneof(more, refuse), (value) => {
      expect(plain(decodeCleartext(encodeCleartext(value)))).toEqual(plain(value));
    }),
    { numRuns: Math.ceil(fuzzRuns / 2) },
  );
});

test('an attempt message that was cut, overwritten or made up is read or refused (fuzz)', () => {
  const foreign = fc.oneof(
    upTo(200),
    fc.tuple(message, fc.nat(), fc.nat(255), fc.nat(40)).map(([value, at, byte, cut]) => {
      const encoded = Buffer.from(encodeAttemptMessage(value));
      const kept = encoded.subarray(0, Math.max(1, encoded.length - cut));
      kept[at % kept.length] = byte;
      return kept;
    }),
  );
  fc.assert(
    fc.property(foreign, fc.constantFrom(...KINDS), (body, kind) => {
      expectRefusal(() => decodeAttemptMessage(kind, body));
      expectRefusal(() => decodeCleartext(Buffer.concat([Buffer.from([0]), body])));
    }),
    { numRuns: fuzzRuns },
  );
});

test.each([
  ['a long description', { sdp: 'x'.repeat(8193) }],
  ['a short attempt id', { attempt: Buffer.alloc(15) }],
  ['too many candidates', { candidates: Array.from({ length: 65 }, () => ({ candidate: 'c', sdpMid: null })) }],
  ['a short nonce', { nonce: Buffer.alloc(31) }],
  ['a field too many', { extra: 1 }],
])('an offer with %s is refused', (_, change) => {
  const offer = {
    kind: 'link.offer',
    attempt: Buffer.alloc(16),
    sdp: '',
    candidates: [],
    flight: Buffer.alloc(0),
    nonce: Buffer.alloc(32),
  };
  const encode = (value: object) => encodeAttemptMessage(value as AttemptMessage);
  expect(() => decodeAttemptMessage('link.offer', encode(offer))).not.toThrow();
  expect(() => decodeAttemptMessage('link.offer', encode({ ...offer, ...change }))).toThrow(
    expect.objectContaining({ code: 'WIRE_MALFORMED' }),
  );
});

test('a kind is an attempt kind only when it is one of four', () => {
  expect(KINDS.every(isAttemptKind)).toBe(true);
  expect(['link.', 'pair.request', 'toString', '__proto__'].some(isAttemptKind)).toBe(false);
});
