import { compareVersions, isClawError } from '@claw/base';
import { fuzzRuns, seededRandom, VirtualClock } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BindingParts, channelBinding, dtlsFingerprint, proofContext } from '../src/handshake/channel-binding.ts';
import { type Claim, ClaimReader, encodeClaim } from '../src/handshake/claim.ts';
import { FlightReader, FlightWriter, MAX_HANDSHAKE_BYTES } from '../src/handshake/flight-buffer.ts';
import { checkPolicy } from '../src/handshake/link-policy.ts';
import { NonceBook } from '../src/handshake/nonce-book.ts';

const invalid = expect.objectContaining({ code: 'LINK_HANDSHAKE_INVALID' });

describe('a flight', () => {
  test('is whole again, whatever the cuts, the order and the repetitions (fuzz)', () => {
    const cut = fc.tuple(fc.nat(1000), fc.nat(300));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1000 }), fc.array(cut, { maxLength: 24 }), (stream, cuts) => {
        const reader = new FlightReader();
        const known = new Uint8Array(stream.length);
        const got: Buffer[] = [];
        for (const [at, length] of cuts) {
          const offset = Math.min(at, stream.length);
          const bytes = stream.subarray(offset, offset + length);
          known.fill(1, offset, offset + bytes.length);
          got.push(reader.push({ offset, bytes }));
          const end = known.indexOf(0);
          expect(Buffer.concat(got)).toEqual(Buffer.from(stream.subarray(0, end < 0 ? stream.length : end)));
        }
        got.push(reader.push({ offset: 0, bytes: stream }));
        expect(Buffer.concat(got)).toEqual(Buffer.from(stream));
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('beyond the bound is refused', () => {
    expect(() => new FlightReader().push({ offset: MAX_HANDSHAKE_BYTES, bytes: Buffer.alloc(1) })).toThrow(invalid);
  });

  test('in too many pieces is refused', () => {
    const reader = new FlightReader();
    for (let piece = 1; piece <= 32; piece += 1) reader.push({ offset: piece * 2, bytes: Buffer.alloc(1) });
    expect(() => reader.push({ offset: 100, bytes: Buffer.alloc(1) })).toThrow(invalid);
  });

  test('is said again from any offset as it was said first', () => {
    const writer = new FlightWriter();
    expect(writer.push(Buffer.from('hello '))).toMatchObject({ offset: 0 });
    expect(writer.push(Buffer.from('world'))).toMatchObject({ offset: 6 });
    expect(Buffer.from(writer.from(3, 8).bytes).toString()).toBe('lo wo');
    expect(Buffer.from(writer.from(6).bytes).toString()).toBe('world');
  });
});

const CLAIM: Claim = {
  protocol: [1, 1],
  node: Buffer.alloc(32, 1),
  integrity: 'a'.repeat(64),
  version: '1.2.3',
  nonce: Buffer.alloc(32, 2),
  binding: Buffer.alloc(32, 3),
  timeMs: 1_767_225_600_000,
  signature: Buffer.alloc(64, 4),
};

describe('a claim', () => {
  test('is read once it is whole, however it was cut (fuzz)', () => {
    const bytes = encodeClaim(CLAIM);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: bytes.length }), { maxLength: 20 }), (sizes) => {
        const reader = new ClaimReader();
        let at = 0;
        for (const size of [...sizes, bytes.length]) {
          if (at === bytes.length) break;
          const end = Math.min(bytes.length, at + size);
          const claim = reader.push(bytes.subarray(at, end));
          at = end;
          if (at < bytes.length) expect(claim).toBeUndefined();
          else expect(claim).toMatchObject({ version: '1.2.3', timeMs: CLAIM.timeMs });
        }
      }),
      { numRuns: Math.ceil(fuzzRuns / 4) },
    );
  });

  test('with any byte overwritten is read or refused, and nothing else happens (fuzz)', () => {
    const bytes = encodeClaim(CLAIM);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(8), (at, value, dropped) => {
        const altered = Buffer.from(bytes.subarray(0, bytes.length - dropped));
        altered[at % altered.length] = value;
        expectClaimOrRefusal(altered);
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('of any bytes is waited for or refused (fuzz)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => expectClaimOrRefusal(bytes)),
      { numRuns: fuzzRuns },
    );
  });

  test('that says it is longer than a claim may be is refused before it has come', () => {
    expect(() => new ClaimReader().push(Buffer.from([0xff, 0xff]))).toThrow('a claim');
  });
});

function expectClaimOrRefusal(bytes: Uint8Array): void {
  try {
    const claim = new ClaimReader().push(Buffer.from(bytes));
    if (claim) expect(claim.node).toHaveLength(32);
  } catch (error) {
    if (!isClawError(error, 'WIRE_MALFORMED', 'WIRE_TOO_LARGE')) throw error;
  }
}

const FINGERPRINT = `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}`;
const sdpWith = (...lines: string[]) => ['v=0', ...lines, 'a=setup:actpass', ''].join('\r\n');

describe('the channel binding', () => {
  const parts: BindingParts = {
    attempt: Buffer.alloc(16, 1),
    offerSdp: sdpWith(FINGERPRINT, 'a=ice-ufrag:one'),
    answerSdp: sdpWith(FINGERPRINT, 'a=ice-ufrag:two'),
    offererNonce: Buffer.alloc(32, 2),
    answererNonce: Buffer.alloc(32, 3),
  };

  test.each<[string, Partial<BindingParts>]>([
    ['the attempt', { attempt: Buffer.alloc(16, 9) }],
    ['anything in the offer', { offerSdp: sdpWith(FINGERPRINT, 'a=ice-ufrag:onf') }],
    ['anything in the answer', { answerSdp: sdpWith(FINGERPRINT, 'a=ice-ufrag:twp') }],
    ['a fingerprint', { offerSdp: sdpWith(FINGERPRINT.replace('AB', 'AC'), 'a=ice-ufrag:one') }],
    ["the offerer's nonce", { offererNonce: Buffer.alloc(32, 9) }],
    ["the answerer's nonce", { answererNonce: Buffer.alloc(32, 9) }],
    ['the roles', { offerSdp: parts.answerSdp, answerSdp: parts.offerSdp }],
  ])('changes with %s', (_, change) => {
    expect(channelBinding({ ...parts, ...change })).not.toEqual(channelBinding(parts));
    expect(channelBinding({ ...parts })).toEqual(channelBinding(parts));
  });

  test.each([
    ['one, in either case', sdpWith(FINGERPRINT)],
    ['one, said twice', sdpWith(FINGERPRINT, FINGERPRINT.toUpperCase().replace('A=FINGERPRINT', 'a=fingerprint'))],
    ['one beside a weak one', sdpWith('a=fingerprint:sha-1 00:11', FINGERPRINT)],
  ])('takes a description with %s fingerprint', (_, sdp) => {
    expect(dtlsFingerprint(sdp)).toBe(FINGERPRINT.slice('a=fingerprint:'.length).toLowerCase());
  });

  test.each([
    ['none', sdpWith()],
    ['a weak one only', sdpWith('a=fingerprint:sha-1 00:11')],
    ['two', sdpWith(FINGERPRINT, FINGERPRINT.replace('AB', 'AC'))],
    ['one within another line', sdpWith(`a=x ${FINGERPRINT}`)],
  ])('refuses a description with %s', (_, sdp) => {
    expect(() => dtlsFingerprint(sdp)).toThrow(invalid);
  });
});

test('the context of a proof is of one binding, one client flight and one server flight', () => {
  const [binding, client, server] = [Buffer.alloc(32, 1), Buffer.from('client'), Buffer.from('server')];
  const contexts = [
    proofContext(binding, client, server),
    proofContext(Buffer.alloc(32, 2), client, server),
    proofContext(binding, Buffer.from('clients'), Buffer.from('erver')), // the same bytes, cut elsewhere
    proofContext(binding, server, client),
  ].map((context) => context.toString('hex'));
  expect(new Set(contexts).size).toBe(contexts.length);
});

describe('a nonce', () => {
  const stale = expect.objectContaining({ code: 'LINK_NONCE_STALE' });
  const open = () => {
    const clock = new VirtualClock();
    return { clock, book: new NonceBook(clock, seededRandom(1)) };
  };

  test('is good once', () => {
    const { book } = open();
    const nonce = book.mint(1000);
    book.spend(nonce);
    expect(() => book.spend(nonce)).toThrow(expect.objectContaining({ code: 'LINK_NONCE_REPLAYED' }));
  });

  test('is good up to the end of its life and not after', async () => {
    const { clock, book } = open();
    const [first, second] = [book.mint(1000), book.mint(1000)];
    await clock.advance(1000);
    book.spend(first);
    await clock.advance(1);
    expect(() => book.spend(second)).toThrow(stale);
  });

  test('of nobody is stale', () => {
    expect(() => open().book.spend(Buffer.alloc(32))).toThrow(stale);
  });

  test('does not age by a step of the wall clock', () => {
    const { clock, book } = open();
    const nonce = book.mint(1000);
    clock.stepWallClock(86_400_000);
    expect(() => book.spend(nonce)).not.toThrow();
  });

  test('that was crowded out by 4,096 newer ones is stale, and the newest is good', () => {
    const { book } = open();
    const oldest = book.mint(1_000_000);
    for (let count = 1; count < 4096; count += 1) book.mint(1_000_000);
    const newest = book.mint(1_000_000);
    expect(() => book.spend(oldest)).toThrow(stale);
    expect(() => book.spend(newest)).not.toThrow();
  });
});

describe('the policy', () => {
  const own = { integrity: 'a'.repeat(64), version: '1.2.0' };
  const other = { integrity: 'b'.repeat(64), version: '1.2.0' };

  test('on integrity refuses, warns or says nothing, as it is set', () => {
    expect(() => checkPolicy({ integrity: 'require' }, own, other)).toThrow(
      expect.objectContaining({ code: 'LINK_INTEGRITY_MISMATCH' }),
    );
    expect(checkPolicy({ integrity: 'warn' }, own, other)).toEqual([expect.stringContaining('bbbb')]);
    expect(checkPolicy({ integrity: 'off' }, own, other)).toEqual([]);
    expect(checkPolicy({ integrity: 'require' }, own, own)).toEqual([]);
  });

  test.each([
    ['1.1.9', false],
    ['1.2.0-rc.1', false],
    ['1.2.0', true],
    ['1.10.0', true],
    ['2.0.0', true],
    ['2.0.0+build', true],
    ['2.0.1', false],
  ])('of 1.2.0 to 2.0.0 takes %s: %s', (version, taken) => {
    const check = () =>
      checkPolicy({ integrity: 'off', minVersion: '1.2.0', maxVersion: '2.0.0' }, own, { ...own, version });
    if (taken) expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ code: 'LINK_VERSION_REFUSED' }));
  });

  test('orders versions as Semantic Versioning 2.0.0 §11 does', () => {
    const rising = [
      '1.0.0-alpha',
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0-rc.1',
      '1.0.0',
      '1.0.1',
      '1.9.0',
      '1.10.0',
      '2.0.0',
    ];
    for (const [left, low] of rising.entries()) {
      for (const [right, high] of rising.entries()) {
        expect(Math.sign(compareVersions(low, high))).toBe(Math.sign(left - right));
      }
    }
  });

  test('orders any two versions one way (fuzz)', () => {
    const identifier = fc.constantFrom('0', '1', '10', 'a', 'b', 'rc', '-');
    const version = fc
      .tuple(fc.nat(2), fc.nat(2), fc.nat(12), fc.array(identifier, { maxLength: 3 }))
      .map(([major, minor, patch, pre]) => `${major}.${minor}.${patch}${pre.length > 0 ? `-${pre.join('.')}` : ''}`);
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(compareVersions(a, b)).toBe(-compareVersions(b, a) || 0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
      { numRuns: fuzzRuns },
    );
  });
});
