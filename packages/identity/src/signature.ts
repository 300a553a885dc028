/**
 * Signatures of the node key: Ed25519 (RFC 8032) over a message that names its
 * purpose, so that a signature made for one purpose verifies for no other.
 */

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { SignPurpose } from '@claw/contracts';

/** DER of a SubjectPublicKeyInfo up to the key bytes, for Ed25519 (RFC 8410 §4). */
const ED25519_SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** What is signed for `message`: the purpose, a zero byte, the message. */
export function signedBytes(purpose: SignPurpose | 'proof', message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`claw ${purpose} v1\0`), message]);
}

/** Public keys read lately; reading one costs as much as using it. */
const recentKeys = new Map<string, KeyObject>();
const MAX_RECENT_KEYS = 64;

/** A KeyObject for a raw Ed25519 public key of 32 bytes. */
export function ed25519PublicKey(raw: Uint8Array): KeyObject {
  const name = Buffer.from(raw).toString('latin1');
  const recent = recentKeys.get(name);
  if (recent) return recent;
  const key = createPublicKey({ key: Buffer.concat([ED25519_SPKI_PREFIX, raw]), format: 'der', type: 'spki' });
  if (recentKeys.size >= MAX_RECENT_KEYS) recentKeys.clear();
  recentKeys.set(name, key);
  return key;
}

/** The raw 32 bytes of an Ed25519 public key. */
export function rawPublicKey(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' }).subarray(ED25519_SPKI_PREFIX.length);
}

/** True when `signature` was made over `message`, for `purpose`, by the holder of `publicKey` (raw). */
export function verifySignature(
  publicKey: Uint8Array,
  purpose: SignPurpose | 'proof',
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  return verify(null, signedBytes(purpose, message), ed25519PublicKey(publicKey), signature);
}
