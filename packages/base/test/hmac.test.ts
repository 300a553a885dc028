import { createHmac } from 'node:crypto';
import { expect, it } from 'vitest';
import { hmac } from '../src/index.ts';

it.each([0, 1, 32, 200])('an HMAC under a key of %d bytes is that of node:crypto', (length) => {
  const key = Buffer.alloc(length, 7);
  const made = hmac('sha256', key);
  const expected = createHmac('sha256', Buffer.from(key)).update('text').digest('hex');
  key.fill(0);
  expect(made.update('text').digest('hex')).toBe(expected);
});
