/**
 * HKDF-Expand-Label and Derive-Secret (RFC 8446 §7.1) over RFC 5869. DTLS 1.3
 * writes the label prefix "dtls13" where TLS writes "tls13 " (RFC 9147 §5.9).
 */

import { hash as hashOf } from 'node:crypto';
import type { HashName } from './cipher-suites.ts';

export type LabelPrefix = 'dtls13' | 'tls13 ';

const NOTHING = Buffer.alloc(0);
const BLOCK_BYTES: Record<HashName, number> = { sha256: 64, sha384: 128 };
const EMPTY_HASHES: Record<HashName, Buffer> = {
  sha256: hashOf('sha256', NOTHING, 'buffer'),
  sha384: hashOf('sha384', NOTHING, 'buffer'),
};

/** Where the two hashes of an HMAC are fed from; wiped each time. */
const INNER = Buffer.allocUnsafeSlow(1024);
const OUTER = Buffer.allocUnsafeSlow(256);

/** HMAC (RFC 2104) out of two hashes: a handshake makes dozens of short ones, and node:crypto's takes two objects each. */
export function hmacOf(hash: HashName, key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  const blockBytes = BLOCK_BYTES[hash];
  if (key.length > blockBytes) throw new RangeError(`a key of ${key.length} bytes is longer than a block`);
  for (let at = 0; at < blockBytes; at++) {
    const byte = key[at] ?? 0;
    INNER[at] = byte ^ 0x36;
    OUTER[at] = byte ^ 0x5c;
  }
  let end = blockBytes;
  for (const part of parts) {
    INNER.set(part, end);
    end += part.length;
  }
  const innerHash = hashOf(hash, INNER.subarray(0, end), 'buffer');
  OUTER.set(innerHash, blockBytes);
  const mac = hashOf(hash, OUTER.subarray(0, blockBytes + innerHash.length), 'buffer');
  INNER.fill(0, 0, end);
  OUTER.fill(0);
  innerHash.fill(0);
  return mac;
}

export function hkdfExtract(hash: HashName, salt: Uint8Array, keyMaterial: Uint8Array): Buffer {
  return hmacOf(hash, salt, keyMaterial);
}

export function hkdfExpand(hash: HashName, secret: Uint8Array, info: Uint8Array, length: number): Buffer {
  const out = Buffer.alloc(length);
  let block: Buffer = NOTHING;
  for (let offset = 0, counter = 1; offset < length; offset += block.length, counter++) {
    if (counter > 255) throw new RangeError(`HKDF gives no ${length} bytes`);
    const next = hmacOf(hash, secret, block, info, Buffer.from([counter]));
    block.fill(0);
    block = next;
    block.copy(out, offset);
  }
  block.fill(0);
  return out;
}

export function expandLabel(
  hash: HashName,
  secret: Uint8Array,
  label: string,
  context: Uint8Array,
  length: number,
  prefix: LabelPrefix = 'dtls13',
): Buffer {
  const name = prefix + label;
  const info = Buffer.allocUnsafe(4 + name.length + context.length);
  info.writeUInt16BE(length, 0);
  info[2] = name.length;
  info.write(name, 3, 'latin1');
  info[3 + name.length] = context.length;
  info.set(context, 4 + name.length);
  return hkdfExpand(hash, secret, info, length);
}

/** Derive-Secret whose messages are already hashed. */
export function deriveSecret(
  hash: HashName,
  secret: Uint8Array,
  label: string,
  transcriptHash: Uint8Array,
  prefix?: LabelPrefix,
): Buffer {
  return expandLabel(hash, secret, label, transcriptHash, transcriptHash.length, prefix);
}

/** Not to be written to. */
export function emptyHash(hash: HashName): Buffer {
  return EMPTY_HASHES[hash];
}
