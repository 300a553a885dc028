/** The PRF of TLS 1.2 (RFC 5246 §5) and what DTLS 1.2 derives with it (RFC 7627, RFC 5705). */

import { hmac } from '@claw/base';
import { u16 } from './byte-writer.ts';
import type { CipherSuite, HashName } from './cipher-suites.ts';
import type { Role } from './registry.ts';

const MASTER_SECRET_BYTES = 48;
const VERIFY_DATA_BYTES = 12;

/** Keys of both directions; a write IV is the implicit part of the nonce. */
export interface KeyBlock {
  readonly clientKey: Buffer;
  readonly serverKey: Buffer;
  readonly clientIv: Buffer;
  readonly serverIv: Buffer;
  wipe(): void;
}

export function prf(hash: HashName, secret: Uint8Array, label: string, seed: Uint8Array, length: number): Buffer {
  const labelled = Buffer.concat([Buffer.from(label, 'latin1'), seed]);
  const out = Buffer.alloc(length);
  let a: Buffer = labelled;
  for (let offset = 0; offset < length; ) {
    a = hmac(hash, secret).update(a).digest();
    const block = hmac(hash, secret).update(a).update(labelled).digest();
    offset += block.copy(out, offset);
    block.fill(0);
  }
  return out;
}

/** The extended master secret, bound to the handshake through ClientKeyExchange (RFC 7627 §4). */
export function extendedMasterSecret(hash: HashName, sharedSecret: Uint8Array, sessionHash: Uint8Array): Buffer {
  return prf(hash, sharedSecret, 'extended master secret', sessionHash, MASTER_SECRET_BYTES);
}

export function keyBlock(
  suite: CipherSuite,
  masterSecret: Uint8Array,
  clientRandom: Uint8Array,
  serverRandom: Uint8Array,
): KeyBlock {
  const ivBytes = suite.algorithm === 'chacha20-poly1305' ? 12 : 4;
  const seed = Buffer.concat([serverRandom, clientRandom]);
  const block = prf(suite.hash, masterSecret, 'key expansion', seed, 2 * (suite.keyBytes + ivBytes));
  const cut = (start: number, length: number) => block.subarray(start, start + length);
  const ivs = 2 * suite.keyBytes;
  return {
    clientKey: cut(0, suite.keyBytes),
    serverKey: cut(suite.keyBytes, suite.keyBytes),
    clientIv: cut(ivs, ivBytes),
    serverIv: cut(ivs + ivBytes, ivBytes),
    wipe: () => block.fill(0),
  };
}

export function verifyData(hash: HashName, masterSecret: Uint8Array, sender: Role, transcriptHash: Uint8Array): Buffer {
  return prf(hash, masterSecret, `${sender} finished`, transcriptHash, VERIFY_DATA_BYTES);
}

/** RFC 5705 §4: no context is not the same as an empty one. */
export function exportKeys12(
  hash: HashName,
  masterSecret: Uint8Array,
  randoms: Uint8Array,
  label: string,
  context: Uint8Array | undefined,
  length: number,
): Buffer {
  const seed = context ? Buffer.concat([randoms, u16(context.length), context]) : randoms;
  return prf(hash, masterSecret, label, seed, length);
}
