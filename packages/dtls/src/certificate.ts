/**
 * Certificates as WebRTC uses them (RFC 8827 §6.5): self-signed, ephemeral, and
 * trusted by the hash of their DER alone (RFC 8122). Names and dates of a peer's
 * certificate mean nothing here; its key must be of a kind that we take.
 */

import {
  createPublicKey,
  generateKeyPairSync,
  hash as hashOf,
  type KeyObject,
  sign,
  X509Certificate,
} from 'node:crypto';
import { copyToKeep, equalBytes, type Random, systemRandom } from '@claw/base';
import * as asn1 from '@claw/base/der';
import { fault } from './errors.ts';
import { type SignatureScheme, schemeOfKey } from './signature-schemes.ts';

export type FingerprintAlgorithm = 'sha-256' | 'sha-384' | 'sha-512';

/** The hash of a certificate's DER. */
export interface Fingerprint {
  readonly algorithm: FingerprintAlgorithm;
  readonly value: Buffer;
}

/** A certificate and the key that it names. */
export interface Identity {
  /** DER. */
  readonly certificate: Buffer;
  readonly privateKey: KeyObject;
}

export interface CreatedCertificate extends Identity {
  /** SHA-256. */
  readonly fingerprint: Fingerprint;
}

export interface CreateCertificateOptions {
  /** Default `ecdsa-p256`. */
  readonly keyType?: 'ecdsa-p256' | 'ed25519';
  /** The certificate starts a day before and ends 30 days after. Default: it is valid from 2020 to 2049. */
  readonly nowMs?: number;
  /** For the serial number. Default the machine's. */
  readonly random?: Random;
}

/** To read a certificate and compare keys costs more than to sign: each identity is looked at once, those made here never. */
const checkedIdentities = new WeakMap<Identity, SignatureScheme>();

const DAY_MS = 86_400_000;
const STRONGEST_FIRST: readonly FingerprintAlgorithm[] = ['sha-512', 'sha-384', 'sha-256'];
const DIGEST_BYTES: Record<FingerprintAlgorithm, number> = { 'sha-256': 32, 'sha-384': 48, 'sha-512': 64 };
const ECDSA_WITH_SHA256 = asn1.sequence(asn1.oid('1.2.840.10045.4.3.2'));
const ED25519 = asn1.sequence(asn1.oid('1.3.101.112'));
const COMMON_NAME = asn1.oid('2.5.4.3');

/** A fresh self-signed certificate and its key. */
export function createCertificate(options: CreateCertificateOptions = {}): CreatedCertificate {
  const { keyType = 'ecdsa-p256', nowMs, random = systemRandom } = options;
  const { publicKey, privateKey } =
    keyType === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = keyType === 'ed25519' ? ED25519 : ECDSA_WITH_SHA256;
  const serial = Buffer.concat([Buffer.from([0x40]), random.bytes(15)]);
  const name = asn1.sequence(asn1.setOf(asn1.sequence(COMMON_NAME, asn1.utf8String('WebRTC'))));
  const toBeSigned = asn1.sequence(
    asn1.explicit(0, asn1.integer(Buffer.from([2]))),
    asn1.integer(serial),
    algorithm,
    name,
    asn1.sequence(
      asn1.utcTime(nowMs === undefined ? Date.UTC(2020, 0) : nowMs - DAY_MS),
      asn1.utcTime(nowMs === undefined ? Date.UTC(2049, 0) : nowMs + 30 * DAY_MS),
    ),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = sign(keyType === 'ed25519' ? null : 'sha256', toBeSigned, privateKey);
  const certificate = copyToKeep(asn1.sequence(toBeSigned, algorithm, asn1.bitString(signature)));
  const created = { certificate, privateKey, fingerprint: fingerprintOf(certificate) };
  checkedIdentities.set(created, keyType === 'ed25519' ? 'ed25519' : 'ecdsa_secp256r1_sha256');
  return created;
}

/**
 * The scheme that an identity signs with.
 * @throws TypeError when it is none that we can use.
 */
export function schemeOfIdentity(identity: Identity): SignatureScheme {
  const known = checkedIdentities.get(identity);
  if (known) return known;
  const { certificate, privateKey } = identity;
  const scheme = schemeOfKey(privateKey);
  if (!scheme) throw new TypeError('the identity needs a P-256 or an Ed25519 key');
  if (!new X509Certificate(certificate).publicKey.equals(createPublicKey(privateKey))) {
    throw new TypeError("the identity's key is not the certificate's");
  }
  checkedIdentities.set(identity, scheme);
  return scheme;
}

export function fingerprintOf(certificate: Uint8Array, algorithm: FingerprintAlgorithm = 'sha-256'): Fingerprint {
  return { algorithm, value: hashOf(algorithm.replace('-', ''), certificate, 'buffer') };
}

/** The key of a peer's certificate. @throws ClawError `DTLS_CERTIFICATE_INVALID` */
export function certificateKey(certificate: Buffer): KeyObject {
  let key: KeyObject;
  try {
    const parsed = new X509Certificate(certificate);
    if (parsed.raw.length !== certificate.length) throw new RangeError('bytes follow the certificate');
    key = parsed.publicKey;
  } catch (cause) {
    throw fault('DTLS_CERTIFICATE_INVALID', "the peer's certificate cannot be read", cause);
  }
  if (!schemeOfKey(key)) {
    throw fault('DTLS_CERTIFICATE_INVALID', `the peer's certificate has a key of type ${key.asymmetricKeyType}`);
  }
  return key;
}

/**
 * A copy of `fingerprints`, checked.
 * @throws RangeError when there is none, or one has another algorithm or length than we take.
 */
export function checkFingerprints(fingerprints: readonly Fingerprint[]): readonly Fingerprint[] {
  if (fingerprints.length === 0) throw new RangeError('no fingerprint to expect was given');
  return fingerprints.map(({ algorithm, value }) => {
    if (value.length !== DIGEST_BYTES[algorithm]) {
      throw new RangeError(`a ${algorithm} fingerprint has ${DIGEST_BYTES[algorithm]} bytes, not ${value.length}`);
    }
    return { algorithm, value: copyToKeep(value) };
  });
}

/** Whether one of those with the strongest algorithm given is the certificate's (RFC 8122 §5). */
export function matchesFingerprint(certificate: Buffer, fingerprints: readonly Fingerprint[]): boolean {
  const algorithm = STRONGEST_FIRST.find((candidate) => fingerprints.some((one) => one.algorithm === candidate));
  if (!algorithm) return false;
  const actual = fingerprintOf(certificate, algorithm).value;
  return fingerprints.some((one) => one.algorithm === algorithm && equalBytes(one.value, actual));
}
