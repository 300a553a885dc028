/** HMAC-SHA-1 against the vectors of RFC 2202 and against node:crypto. */

import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HmacSha1 } from '../src/stun/hmac-sha1.ts';

const digest = (key: Uint8Array, bytes: Uint8Array) => new HmacSha1(key).digest(bytes).toString('hex');

describe('HMAC-SHA-1', () => {
  it.each([
    [Buffer.alloc(20, 0x0b), 'Hi There', 'b617318655057264e28bc0b6fb378c8ef146be00'],
    [Buffer.from('Jefe'), 'what do ya want for nothing?', 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79'],
    [
      Buffer.alloc(80, 0xaa),
      'Test Using Larger Than Block-Size Key - Hash Key First',
      'aa4ae5e15272d00e95705637ce8a3b55ed402112',
    ],
  ])('of RFC 2202 is right: %#', (key, text, expected) => {
    expect(digest(key, Buffer.from(text))).toBe(expected);
  });

  it('is that of node:crypto at every length of key and message', () => {
    const bytes = (maxLength: number) => fc.uint8Array({ minLength: 1, maxLength });
    fc.assert(
      fc.property(bytes(200), fc.uint8Array({ maxLength: 400 }), (key, message) => {
        expect(digest(key, message)).toBe(createHmac('sha1', key).update(message).digest('hex'));
      }),
    );
    for (let length = 0; length <= 200; length += 1) {
      const message = Buffer.alloc(length, length);
      expect(digest(message.subarray(0, 24), message)).toBe(
        createHmac('sha1', message.subarray(0, 24)).update(message).digest('hex'),
      );
    }
  });

  it('signs one message after another with one key', () => {
    const key = Buffer.from('VOkJxbRl1RmTxUk/WvJxBt');
    const signer = new HmacSha1(key);
    for (const text of ['one', 'two'.repeat(50), '']) {
      expect(signer.digest(Buffer.from(text))).toEqual(createHmac('sha1', key).update(text).digest());
    }
  });
});
