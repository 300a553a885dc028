/**
 * HKDF-Expand-Label and Derive-Secret (RFC 8446 §7.1) over RFC 5869. DTLS 1.3
 * writes the label prefix "dtls13" where TLS writes "tls13 " (RFC 9147 §5.9).
 */

import { createHash } from 'node:crypto';
import { hmac } from '@claw/base';
import { u16, vector8 } from './byte-writer.ts';
import type { HashName } from './cipher-suites.ts';

export type LabelPrefix = 'dtls13' | 'tls13 ';

const NOTHING = Buffer.alloc(0);

export function hkdfExtract(hash: HashName, salt: Uint8Array, keyMaterial: Uint8Array): Buffer {
  return hmac(hash, salt).update(keyMaterial).digest();
}

export function hkdfExpand(hash: HashName, secret: Uint8Array, info: Uint8Array, length: number): Buffer {
  const out = Buffer.alloc(length);
  let block: Buffer = NOTHING;
  for (let offset = 0, counter = 1; offset < length; offset += block.length, counter++) {
    if (counter > 255) throw new RangeError(`HKDF gives no ${length} bytes`);
    const next = hmac(hash, secret)
      .update(block)
      .update(info)
      .update(Buffer.from([counter]))
      .digest();
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
  const info = Buffer.concat([u16(length), vector8(Buffer.from(prefix + label, 'latin1')), vector8(context)]);
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

export function emptyHash(hash: HashName): Buffer {
  return createHash(hash).digest();
}
