/**
 * Steps that all four flows share: take the next message, take the peer's
 * certificate by its fingerprint, and make or check the signature that proves the key.
 */

import type { KeyObject } from 'node:crypto';
import { copyToKeep, equalBytes } from '@claw/base';
import { ByteReader } from './byte-reader.ts';
import { certificateKey, matchesFingerprint } from './certificate.ts';
import { encodeSigned, parseCertificate, readSigned } from './certificate-message.ts';
import { fault } from './errors.ts';
import type { Flow, Handshake } from './handshake.ts';
import type { HandshakeMessage } from './handshake-message.ts';
import { type DtlsVersion, handshakeType } from './registry.ts';
import { checkSignature, type SignatureScheme, schemeIds, signWith } from './signature-schemes.ts';

/** Waits for a message and adds it to the transcript: what must be hashed without it is hashed before. */
export function* expectMessage(hs: Handshake, type: number): Flow<Buffer> {
  const message = yield* nextMessage(type);
  hs.transcript.add(message);
  return message.body;
}

/** Waits for one of `types`; the caller adds it to the transcript. */
export function* nextMessage(...types: number[]): Flow<HandshakeMessage> {
  const message = yield types;
  if (!message) throw new TypeError('a flow that waits for a message was resumed without one');
  return message;
}

/** The key of the peer's certificate, once that has the fingerprint that it must have. */
export function* expectCertificate(hs: Handshake, version: DtlsVersion): Flow<KeyObject> {
  const certificate = parseCertificate(version, yield* expectMessage(hs, handshakeType.certificate));
  const key = certificateKey(certificate);
  hs.peerCertificate = copyToKeep(certificate);
  while (!hs.fingerprints) yield 'fingerprints';
  if (!matchesFingerprint(certificate, hs.fingerprints)) {
    throw fault('DTLS_FINGERPRINT_MISMATCH', "the peer's certificate is not the one that was announced");
  }
  return key;
}

/** Checks the signature that ends a message, over `content`. */
export function checkSigned(reader: ByteReader, key: KeyObject, content: Uint8Array): SignatureScheme {
  const { scheme, signature } = readSigned(reader);
  return checkSignature(scheme, key, content, signature);
}

/** A CertificateVerify of ours over `content`. */
export function signedByUs({ options }: Handshake, content: Uint8Array): Buffer {
  const { scheme, identity } = options;
  return encodeSigned({ scheme: schemeIds[scheme], signature: signWith(scheme, identity.privateKey, content) });
}

export function* expectCertificateVerify(hs: Handshake, key: KeyObject, content: Uint8Array): Flow<SignatureScheme> {
  return checkSigned(new ByteReader(yield* expectMessage(hs, handshakeType.certificateVerify)), key, content);
}

export function* expectFinished(hs: Handshake, expected: Buffer): Flow {
  const actual = yield* expectMessage(hs, handshakeType.finished);
  const matches = equalBytes(actual, expected);
  if (!matches) throw fault('DTLS_FINISHED_INVALID', "the peer's Finished does not match the handshake");
}
