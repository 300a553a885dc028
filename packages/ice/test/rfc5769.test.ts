/** The test vectors of RFC 5769, byte for byte. */

import { describe, expect, it } from 'vitest';
import { ATTRIBUTE, METHOD } from '../src/stun/constants.ts';
import { longTermKey } from '../src/stun/credentials.ts';
import { StunWriter } from '../src/stun/encode.ts';
import { type IntegrityKey, verifyIntegrity } from '../src/stun/integrity.ts';
import { addressOf, decodeStun, textOf, uint32Of, uint64Of } from '../src/stun/message.ts';
import { ShortTermKey } from '../src/stun/short-term-key.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const PASSWORD = Buffer.from('VOkJxbRl1RmTxUk/WvJxBt');
const SHORT_TERM_KEY = new ShortTermKey(PASSWORD.toString());

const REQUEST = hex(`
  00010058 2112a442 b7e7a701 bc34d686 fa87dfae 80220010 5354554e 20746573 7420636c 69656e74
  00240004 6e0001ff 80290008 932ff9b1 51263b36 00060009 6576746a 3a683676 59202020 00080014
  9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2 80280004 e57a3bcf`);
const RESPONSE_IPV4 = hex(`
  0101003c 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220 00200008
  0001a147 e112a643 00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 80280004 c07d4c96`);
const RESPONSE_IPV6 = hex(`
  01010048 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220 00200014
  0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9 00080014 a382954e 4be67bf1 1784c97c 8292c275
  bfe3ed41 80280004 c8fb0b4c`);
const LONG_TERM_REQUEST = hex(`
  00010060 2112a442 78ad3433 c6ad72c0 29da412e 00060012 e3839ee3 8388e383 aae38383 e382afe3
  82b90000 0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341 0014000b
  6578616d 706c652e 6f726700 00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666`);

describe('RFC 5769', () => {
  it('2.1: reads the request and its integrity', () => {
    const message = decodeStun(REQUEST)!;
    expect(message).toMatchObject({ class: 'request', method: METHOD.binding, hasFingerprint: true });
    expect(textOf(message, ATTRIBUTE.username)).toBe('evtj:h6vY');
    expect(uint32Of(message, ATTRIBUTE.priority)).toBe(0x6e0001ff);
    expect(uint64Of(message, ATTRIBUTE.iceControlled)).toBe(0x932ff9b151263b36n);
    for (const key of [PASSWORD, SHORT_TERM_KEY]) expect(verifyIntegrity(message, key)).toBe(true);
    for (const key of [Buffer.from('another'), new ShortTermKey('another')]) {
      expect(verifyIntegrity(message, key)).toBe(false);
    }
  });

  it('2.2 and 2.3: reads the responses', () => {
    const ipv4 = decodeStun(RESPONSE_IPV4)!;
    expect(addressOf(ipv4, ATTRIBUTE.xorMappedAddress)).toEqual({ address: '192.0.2.1', port: 32_853 });
    expect(verifyIntegrity(ipv4, PASSWORD)).toBe(true);
    const ipv6 = decodeStun(RESPONSE_IPV6)!;
    const address = '2001:db8:1234:5678:11:2233:4455:6677';
    expect(addressOf(ipv6, ATTRIBUTE.xorMappedAddress)).toEqual({ address, port: 32_853 });
    expect(verifyIntegrity(ipv6, PASSWORD)).toBe(true);
  });

  it('2.4: reads the request with long-term credentials', () => {
    const message = decodeStun(LONG_TERM_REQUEST)!;
    const secret = { username: 'マトリックス', password: 'TheMatrIX' };
    expect(textOf(message, ATTRIBUTE.username)).toBe(secret.username);
    expect(verifyIntegrity(message, longTermKey(secret, 'example.org', 'md5'))).toBe(true);
  });

  it('a short-term key signs every message alike, and by SHA-1 alone', () => {
    const sign = (key: IntegrityKey, bytes: number) =>
      new StunWriter('request', METHOD.binding, Buffer.alloc(12))
        .bytes(ATTRIBUTE.software, Buffer.alloc(bytes))
        .integrity(key);
    for (const bytes of [0, 1, 31, 32, 64, 1100]) {
      expect(sign(SHORT_TERM_KEY, bytes).finish()).toEqual(sign(PASSWORD, bytes).finish());
    }
    const message = decodeStun(sign(PASSWORD, 4).integrity(PASSWORD, 'sha256').finish())!;
    expect(verifyIntegrity(message, PASSWORD, 'sha256')).toBe(true);
    expect(() => verifyIntegrity(message, SHORT_TERM_KEY, 'sha256')).toThrow(TypeError);
  });

  it('writes the request as it stands there, but for the padding', () => {
    const written = new StunWriter('request', METHOD.binding, hex('b7e7a701bc34d686fa87dfae'))
      .text(ATTRIBUTE.software, 'STUN test client')
      .uint32(ATTRIBUTE.priority, 0x6e0001ff)
      .uint64(ATTRIBUTE.iceControlled, 0x932ff9b151263b36n)
      .text(ATTRIBUTE.username, 'evtj:h6vY')
      .integrity(PASSWORD)
      .finishWithFingerprint();
    const end = REQUEST.length - 24 - 8 - 3;
    expect(written.subarray(0, end)).toEqual(REQUEST.subarray(0, end));
    expect(written).toHaveLength(REQUEST.length);
    expect(verifyIntegrity(decodeStun(written)!, PASSWORD)).toBe(true);
  });

  it('refuses each message with one bit turned over', () => {
    for (const original of [REQUEST, RESPONSE_IPV4, RESPONSE_IPV6]) {
      for (let bit = 0; bit < original.length * 8; bit += 1) {
        const broken = Buffer.from(original);
        broken[bit >> 3]! ^= 1 << (bit & 7);
        // A bit of the FINGERPRINT's own type makes it another attribute.
        expect(decodeStun(broken)?.hasFingerprint ?? false).toBe(false);
      }
    }
  });
});
