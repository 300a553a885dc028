import { createCipheriv } from 'node:crypto';
import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { AEAD_NONCE_BYTES, AEAD_TAG_BYTES, type AeadAlgorithm } from '../src/index.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const ALGORITHMS: readonly AeadAlgorithm[] = ['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305'];

/** A package of its own that seals this way from the start, and never the other. */
async function load(way: 'node:crypto' | 'OpenSSL') {
  vi.resetModules();
  if (way === 'node:crypto') {
    vi.doMock('koffi', () => {
      throw new Error('not installed');
    });
  }
  const fresh = await import('../src/index.ts');
  expect(await fresh.loadOpenssl()).toBe(way === 'OpenSSL');
  return fresh;
}

/** What node:crypto makes of it: ciphertext, then tag. */
function expectedOf(algorithm: AeadAlgorithm, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, text: Uint8Array) {
  const cipher = createCipheriv(algorithm as 'aes-128-gcm', key, nonce, { authTagLength: 16 });
  cipher.setAAD(aad);
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

afterEach(() => vi.doUnmock('koffi'));

describe.each(['node:crypto', 'OpenSSL'] as const)('keys by way of %s', (way) => {
  test('AES-GCM seals as in test case 4 of its specification', async () => {
    const { AeadKey } = await load(way);
    const key = new AeadKey('aes-128-gcm', hex('feffe9928665731c6d6a8f9467308308'));
    const text = hex(
      'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72' +
        '1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
    );
    const out = Buffer.alloc(text.length + AEAD_TAG_BYTES);
    key.seal(hex('cafebabefacedbaddecaf888'), hex('feedfacedeadbeeffeedfacedeadbeefabaddad2'), text, out, 0);
    expect(out).toEqual(
      hex(
        '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e' +
          '21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091 5bc94fbc3221a5db94fae95ae7121a47',
      ),
    );
  });

  test('ChaCha20-Poly1305 seals as in RFC 8439 §2.8.2', async () => {
    const { AeadKey } = await load(way);
    const key = new AeadKey(
      'chacha20-poly1305',
      hex('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'),
    );
    const text = Buffer.from(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    );
    const out = Buffer.alloc(text.length + AEAD_TAG_BYTES);
    key.seal(hex('070000004041424344454647'), hex('50515253c0c1c2c3c4c5c6c7'), text, out, 0);
    expect(out.subarray(0, 16)).toEqual(hex('d31a8d34648e60db7b86afbc53ef7ec2'));
    expect(out.subarray(text.length)).toEqual(hex('1ae10b594f09e26a7e902ecbd0600691'));
  });

  test('a block is encrypted as in FIPS 197, appendix C', async () => {
    const { BlockKey } = await load(way);
    const block = hex('ff 00112233445566778899aabbccddeeff');
    const short = new BlockKey(hex('000102030405060708090a0b0c0d0e0f'));
    expect(short.encrypt(block, 1)).toEqual(hex('69c4e0d86a7b0430d8cdb78070b4c55a'));
    const long = new BlockKey(hex('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'));
    expect(long.encrypt(block, 1)).toEqual(hex('8ea2b7ca516745bfeafc49904b496089'));
    expect(short.encrypt(block, 1)).toEqual(hex('69c4e0d86a7b0430d8cdb78070b4c55a'));
    expect(() => short.encrypt(block, 2)).toThrow(RangeError);
    expect(() => new BlockKey(Buffer.alloc(24))).toThrow(RangeError);
  });

  test('keys in turn seal what node:crypto seals, and open it; what was altered is refused and cleared (fuzz)', async () => {
    const { AeadKey } = await load(way);
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    const message = fc.record({
      which: fc.nat(5),
      nonce: bytes(AEAD_NONCE_BYTES),
      additional: fc.uint8Array({ maxLength: 40 }),
      text: fc.uint8Array({ maxLength: 300 }),
      offset: fc.nat(9),
      alter: fc.nat(),
    });
    const secrets = ALGORITHMS.flatMap((algorithm) =>
      [1, 2].map((fill) => ({ algorithm, secret: Buffer.alloc(algorithm === 'aes-128-gcm' ? 16 : 32, fill) })),
    );
    const keys = secrets.map(({ algorithm, secret }) => new AeadKey(algorithm, secret));
    fc.assert(
      fc.property(fc.array(message, { maxLength: 6 }), (messages) => {
        for (const { which, nonce, additional, text, offset, alter } of messages) {
          const { algorithm, secret } = secrets[which] as (typeof secrets)[0];
          const key = keys[which] as (typeof keys)[0];
          const out = Buffer.alloc(offset + text.length + AEAD_TAG_BYTES);
          // Where the plaintext lies already.
          out.set(text, offset);
          expect(key.seal(nonce, additional, out.subarray(offset, offset + text.length), out, offset)).toBe(out.length);
          const sealed = Buffer.from(out.subarray(offset));
          expect(sealed).toEqual(expectedOf(algorithm, secret, nonce, additional, text));
          const altered = Buffer.from(sealed);
          const at = alter % altered.length;
          altered[at] = (altered[at] as number) ^ 0x40;
          expect(key.open(nonce, additional, altered)).toBeUndefined();
          if (way === 'OpenSSL') expect(altered).toEqual(Buffer.alloc(sealed.length));
          expect(key.open(nonce, Buffer.concat([additional, hex('00')]), Buffer.from(sealed))).toBeUndefined();
          expect(key.open(nonce, additional, sealed.subarray(0, alter % AEAD_TAG_BYTES))).toBeUndefined();
          expect(key.open(nonce, additional, Buffer.from(sealed))).toEqual(Buffer.from(text));
        }
      }),
      { numRuns: Math.ceil(fuzzRuns / 10) }, // no parser, and forty operations of OpenSSL a case
    );
  });

  test('a key that is wiped leaves the others as they are, and its copy is the caller’s', async () => {
    const { AeadKey, BlockKey } = await load(way);
    const nonce = Buffer.alloc(AEAD_NONCE_BYTES);
    const secret = Buffer.alloc(16, 3);
    const [first, second] = [new AeadKey('aes-128-gcm', secret), new AeadKey('aes-128-gcm', secret)];
    const block = new BlockKey(secret);
    secret.fill(0);
    const seal = (key: typeof first) => {
      const out = Buffer.alloc(4 + AEAD_TAG_BYTES);
      key.seal(nonce, nonce, Buffer.from('text'), out, 0);
      return out.toString('hex');
    };
    const sealed = seal(first);
    block.encrypt(Buffer.alloc(16), 0);
    first.wipe();
    block.wipe();
    expect(seal(second)).toBe(sealed);
    expect(second.open(nonce, nonce, Buffer.from(sealed, 'hex'))?.toString()).toBe('text');
    // All zeros by now, and no longer what a context is keyed with.
    expect(seal(first)).toBe(seal(new AeadKey('aes-128-gcm', Buffer.alloc(16))));
  });

  test('what does not fit is refused before anything is written', async () => {
    const { AeadKey } = await load(way);
    const out = Buffer.alloc(8);
    const key = new AeadKey('aes-256-gcm', Buffer.alloc(32));
    expect(() => key.seal(Buffer.alloc(12), Buffer.alloc(0), Buffer.alloc(1), out, 0)).toThrow(RangeError);
    expect(out).toEqual(Buffer.alloc(8));
  });
});

test('OpenSSL is loaded once keys are used often', async () => {
  vi.resetModules();
  const { AeadKey } = await import('../src/index.ts');
  const { openssl } = await import('../src/openssl.ts');
  const key = new AeadKey('aes-128-gcm', Buffer.alloc(16));
  const out = Buffer.alloc(AEAD_TAG_BYTES);
  for (let use = 0; use < 150; use += 1) key.seal(Buffer.alloc(12), out, Buffer.alloc(0), out, 0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(openssl()).toBeUndefined();
  for (let use = 0; use < 150; use += 1) key.seal(Buffer.alloc(12), out, Buffer.alloc(0), out, 0);
  await vi.waitFor(() => expect(openssl()).toBeDefined());
});
