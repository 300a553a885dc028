/**
 * How a certificate's key proves itself: ECDSA P-256 with SHA-256, and Ed25519
 * (RFC 8446 §4.2.3, RFC 8422 §5.10). The scheme follows from the key alone.
 */

import { type KeyObject, sign, verify } from 'node:crypto';
import { fault } from './errors.ts';
import type { Role } from './registry.ts';

export type SignatureScheme = 'ecdsa_secp256r1_sha256' | 'ed25519';

export const schemeIds: Record<SignatureScheme, number> = { ecdsa_secp256r1_sha256: 0x0403, ed25519: 0x0807 };
export const allSchemeIds: readonly number[] = Object.values(schemeIds);

/** The scheme that a key signs with; `undefined` for a key we do not take. */
export function schemeOfKey(key: KeyObject): SignatureScheme | undefined {
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519';
  const isP256 = key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
  return isP256 ? 'ecdsa_secp256r1_sha256' : undefined;
}

export function signWith(scheme: SignatureScheme, privateKey: KeyObject, content: Uint8Array): Buffer {
  return sign(scheme === 'ed25519' ? null : 'sha256', content, privateKey);
}

/** @throws ClawError `DTLS_SIGNATURE_INVALID`, or `DTLS_ILLEGAL_PARAMETER` when the scheme is not the key's. */
export function checkSignature(
  schemeId: number,
  publicKey: KeyObject,
  content: Uint8Array,
  signature: Uint8Array,
): SignatureScheme {
  const scheme = schemeOfKey(publicKey);
  if (!scheme || schemeIds[scheme] !== schemeId) {
    throw fault('DTLS_ILLEGAL_PARAMETER', `signature scheme ${schemeId} is not one of the certificate's key`);
  }
  if (!verify(scheme === 'ed25519' ? null : 'sha256', content, publicKey, signature)) {
    throw fault('DTLS_SIGNATURE_INVALID', "the peer's signature does not match its certificate");
  }
  return scheme;
}

/** What a DTLS 1.3 CertificateVerify signs (RFC 8446 §4.4.3). */
export function certificateVerifyContent(signer: Role, transcriptHash: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.alloc(64, 0x20),
    Buffer.from(`TLS 1.3, ${signer} CertificateVerify\0`, 'latin1'),
    transcriptHash,
  ]);
}
