import { isClawError } from '@claw/base';
import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromWireCode, linkError, toWireCode } from '../src/errors.ts';
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  MAX_META_BYTES,
  MAX_SERVICE_BYTES,
  payloadHead,
} from '../src/session/frames.ts';

const integer = fc.oneof(fc.nat(100), fc.nat(), fc.maxSafeNat());
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((value) => Buffer.from(value));
const reason = fc.string({ maxLength: 256 });

const anyFrame: fc.Arbitrary<Exclude<Frame, { type: 'data' | 'message' }>> = fc.oneof(
  fc.constant({ type: 'operational' as const }),
  fc.record({ type: fc.constantFrom('ping' as const, 'pong' as const), id: integer }),
  fc.record({ type: fc.constant('credit' as const), channel: integer, limit: integer }),
  fc.record({ type: fc.constant('close' as const), code: integer, reason }),
  fc.record({ type: fc.constantFrom('mark' as const, 'report' as const), lane: integer, sequence: integer }),
  fc.record({
    type: fc.constant('open' as const),
    channel: integer,
    kind: fc.constantFrom('stream' as const, 'message' as const),
    service: fc.string({ maxLength: MAX_SERVICE_BYTES }),
    meta: bytes(200),
  }),
  fc.record({ type: fc.constant('accept' as const), channel: integer, meta: bytes(200) }),
  fc.record({ type: fc.constant('end' as const), channel: integer }),
  fc.record({ type: fc.constant('reset' as const), channel: integer, code: integer, reason }),
);

function outcomeOf(plain: Uint8Array): unknown {
  try {
    return decodeFrame(Buffer.from(plain));
  } catch (error) {
    return error;
  }
}

const violation = expect.objectContaining({ code: 'LINK_PROTOCOL_VIOLATED' });

describe('a frame', () => {
  test('reads as it was written (fuzz)', () => {
    fc.assert(
      fc.property(anyFrame, (frame) => {
        expect(decodeFrame(encodeFrame(frame))).toEqual(frame);
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('with a payload reads as it was written (fuzz)', () => {
    const type = fc.constantFrom('data' as const, 'message' as const, 'messagePart' as const);
    fc.assert(
      fc.property(type, integer, bytes(500), (kind, channel, payload) => {
        const plain = Buffer.concat([payloadHead(kind, channel), payload]);
        const expected =
          kind === 'data'
            ? { type: 'data', channel, payload }
            : { type: 'message', channel, last: kind === 'message', payload };
        expect(decodeFrame(plain)).toEqual(expected);
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('cut anywhere is refused or is a shorter text, and never reads beyond its end (fuzz)', () => {
    fc.assert(
      fc.property(anyFrame, fc.nat(), (frame, at) => {
        const whole = encodeFrame(frame);
        const outcome = outcomeOf(whole.subarray(0, at % whole.length));
        if (isClawError(outcome)) expect(['LINK_PROTOCOL_VIOLATED', 'WIRE_MALFORMED']).toContain(outcome.code);
        else expect(outcome).toMatchObject({ type: frame.type });
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('of any bytes is read or refused, and nothing else happens (fuzz)', () => {
    const lead = fc.constantFrom(1, 2, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x20, 0x21);
    const foreign = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.tuple(lead, fc.uint8Array({ maxLength: 64 })).map(([type, rest]) => Uint8Array.from([type, ...rest])),
    );
    fc.assert(
      fc.property(foreign, (plain) => {
        const outcome = outcomeOf(plain);
        if (isClawError(outcome)) expect(['LINK_PROTOCOL_VIOLATED', 'WIRE_MALFORMED']).toContain(outcome.code);
        else expect(outcome).toHaveProperty('type');
      }),
      { numRuns: fuzzRuns },
    );
  });

  test.each([
    ['of an unknown type', Buffer.from([0x7f])],
    ['with bytes after its end', Buffer.concat([encodeFrame({ type: 'ping', id: 1 }), Buffer.from([0])])],
    ['with an unknown kind of channel', Buffer.from([0x10, 1, 2, 1, 0x61])],
    ['with a long service name', Buffer.concat([Buffer.from([0x10, 1, 0, 0x40, 0x81]), Buffer.alloc(129)])],
    ['with long metadata', Buffer.concat([Buffer.from([0x11, 1]), Buffer.alloc(MAX_META_BYTES + 1)])],
    ['with a long reason', Buffer.concat([Buffer.from([0x05, 1]), Buffer.alloc(257)])],
  ])('%s is refused', (_, plain) => {
    expect(outcomeOf(plain)).toEqual(violation);
  });

  test('cuts a reason that is too long, also within a character', () => {
    const frame = decodeFrame(encodeFrame({ type: 'close', code: 0, reason: `${'x'.repeat(255)}é` }));
    expect(frame).toMatchObject({ reason: expect.stringMatching(/^x{255}/) });
  });
});

test('a code reads on the other side as it was written, an unknown one as the fallback', () => {
  expect(fromWireCode(toWireCode('LINK_UNPAIRED', 'LINK_CLOSED'), 'LINK_CLOSED_BY_PEER')).toBe('LINK_UNPAIRED');
  expect(fromWireCode(toWireCode('ECONNRESET', 'STREAM_RESET'), 'LINK_CLOSED_BY_PEER')).toBe('STREAM_RESET');
  expect(fromWireCode(9999, 'LINK_CLOSED_BY_PEER')).toBe('LINK_CLOSED_BY_PEER');
  expect(linkError('LINK_LOST', 'gone').code).toBe('LINK_LOST');
});
