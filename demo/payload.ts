/** Bytes that both sides can make: 1 MiB of noise, different in each block by its number. */

import { createCipheriv } from 'node:crypto';

export const BLOCK_BYTES = 1024 * 1024;

const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 'claw'), Buffer.alloc(16)).update(
  Buffer.alloc(BLOCK_BYTES),
);

export function block(number: number): Buffer {
  const bytes = Buffer.from(noise);
  bytes.writeUInt32BE(number);
  return bytes;
}
