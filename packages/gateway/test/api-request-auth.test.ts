import { createHash, createHmac } from 'node:crypto';
import { type Clock, systemClock, systemRandom } from '@claw/base';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isProof, proofOf, RequestVerifier, signRequest } from '../src/api/request-auth.ts';

const token = Buffer.alloc(32, 7);
const start = 1_800_000_000_000;

function setUp(maxNonces = 100) {
  const time = { now: start };
  const clock: Clock = { ...systemClock, now: () => time.now };
  return { time, clock, verifier: new RequestVerifier({ token, clock, port: 4000, maxNonces }) };
}

const reader = (headers: Record<string, string>) => (name: string) => ({ host: '127.0.0.1:4000', ...headers })[name];

test('the signature is the documented one', () => {
  const { clock } = setUp();
  const body = Buffer.from('{"a":1}');
  const headers = signRequest(token, { method: 'POST', target: '/v1/x?y=1', body }, clock, {
    ...systemRandom,
    bytes: () => Buffer.alloc(16, 1),
  });
  const nonce = Buffer.alloc(16, 1).toString('base64url');
  const text = `claw-gateway-v1\nPOST\n/v1/x?y=1\n${createHash('sha256').update(body).digest('hex')}\n${start}\n${nonce}`;
  expect(headers).toEqual({
    'x-claw-timestamp': String(start),
    'x-claw-nonce': nonce,
    'x-claw-signature': createHmac('sha256', token).update(text).digest('base64url'),
  });
  const signature = headers['x-claw-signature'] as string;
  expect(proofOf(token, signature)).toBe(
    createHmac('sha256', token).update(`claw-gateway-v1 response\n${signature}`).digest('base64url'),
  );
});

test('no change to any part of a request keeps its signature good', () => {
  const { clock, verifier } = setUp();
  const part = fc.record({
    method: fc.constantFrom('GET', 'POST'),
    target: fc.webPath(),
    body: fc.uint8Array({ maxLength: 20 }),
  });
  fc.assert(
    fc.property(part, part, (signed, sent) => {
      const credentials = verifier.checkHeaders(reader(signRequest(token, signed, clock, systemRandom)));
      const same =
        signed.method === sent.method &&
        signed.target === sent.target &&
        Buffer.from(signed.body).equals(Buffer.from(sent.body));
      verifier.checkSignature(credentials, signed);
      if (!same)
        expect(() => verifier.checkSignature(credentials, sent)).toThrow(
          expect.objectContaining({ code: 'AUTH_SIGNATURE' }),
        );
      for (const name of ['timestamp', 'nonce'] as const) {
        const altered = { ...credentials, [name]: name === 'nonce' ? `${'A'.repeat(21)}Q` : String(start + 1) };
        expect(() => verifier.checkSignature(altered, signed)).toThrow(
          expect.objectContaining({ code: 'AUTH_SIGNATURE' }),
        );
      }
    }),
  );
});

test('a proof holds for its own request and token only', () => {
  expect(isProof(token, 'abc', proofOf(token, 'abc'))).toBe(true);
  expect(isProof(token, 'abd', proofOf(token, 'abc'))).toBe(false);
  expect(isProof(token, 'abc', proofOf(Buffer.alloc(32, 8), 'abc'))).toBe(false);
  expect(isProof(token, 'abc', '')).toBe(false);
  expect(isProof(token, 'abc', undefined)).toBe(false);
});

const made = (timestamp: number, nonce: number) => ({
  timestamp: String(timestamp),
  nonce: String(nonce),
  signature: '',
});
const code = (value: string) => expect.objectContaining({ code: value });

test('the window is a minute to either side, its ends included', () => {
  const { verifier } = setUp();
  for (const [offset, fits] of [
    [-60_000, true],
    [-60_001, false],
    [60_000, true],
    [60_001, false],
  ] as const) {
    const admit = () => verifier.admit(made(start + offset, offset));
    if (fits) admit();
    else expect(admit).toThrow(code('AUTH_STALE'));
  }
});

test('a replay is refused at every moment of the window, and after it as stale', () => {
  const { time, verifier } = setUp();
  const request = made(start + 60_000, 1);
  verifier.admit(request);
  for (time.now = start; time.now <= start + 120_000; time.now += 500)
    expect(() => verifier.admit(request)).toThrow(code('AUTH_REPLAYED'));
  time.now += 501;
  expect(() => verifier.admit(request)).toThrow(code('AUTH_STALE'));
});

test('a clock set back does not make a forgotten request new', () => {
  const { time, verifier } = setUp();
  const request = made(start, 1);
  verifier.admit(request);
  time.now = start + 200_000;
  verifier.admit(made(time.now, 2));
  time.now = start;
  expect(() => verifier.admit(request)).toThrow(code('AUTH_STALE'));
});

test('a full memory refuses until the window has moved on, and forgets nothing meanwhile', () => {
  const { time, verifier } = setUp(3);
  for (let n = 0; n < 3; n++) verifier.admit(made(start, n));
  expect(() => verifier.admit(made(start, 3))).toThrow(code('AUTH_BUSY'));
  for (let n = 0; n < 3; n++) expect(() => verifier.admit(made(start, n))).toThrow(code('AUTH_REPLAYED'));
  time.now = start + 61_000;
  verifier.admit(made(time.now, 4));
});

test('a token of another length is a mistake of the caller', () => {
  expect(() => new RequestVerifier({ token: Buffer.alloc(31), clock: systemClock, port: 1 })).toThrow(RangeError);
});
