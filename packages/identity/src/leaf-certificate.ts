/**
 * The ephemeral X.509 v3 leaf (RFC 5280, RFC 8410): subject is the node id,
 * issuer the same id, signed by the node key over the leaf's own Ed25519 key.
 * It is good for TLS on both ends and for minutes.
 */

import { X509Certificate } from 'node:crypto';
import * as asn1 from '@claw/base/der';
import { type NodeId, publicKeyOf } from '@claw/contracts';
import { ed25519PublicKey } from './signature.ts';

const ED25519 = asn1.sequence(asn1.oid('1.3.101.112'));
const YEAR_2050_MS = Date.UTC(2050, 0, 1);

/** How far clocks of two nodes may differ before a fresh certificate looks not yet valid. */
export const CLOCK_SKEW_MS = 120_000;

export interface LeafFields {
  readonly nodeId: NodeId;
  /** Raw Ed25519 public key of the leaf, 32 bytes. */
  readonly leafPublicKey: Uint8Array;
  /** Up to 20 bytes, unpredictable. */
  readonly serial: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** The to-be-signed part; the certificate is {@link assembleLeaf} of it and the node key's signature. */
export function leafToBeSigned(fields: LeafFields): Buffer {
  const name = asn1.sequence(asn1.setOf(asn1.sequence(asn1.oid('2.5.4.3'), asn1.utf8String(fields.nodeId))));
  return asn1.sequence(
    asn1.explicit(0, asn1.integer(Buffer.from([2]))),
    asn1.integer(fields.serial),
    ED25519,
    name,
    asn1.sequence(time(fields.notBeforeMs), time(fields.notAfterMs)),
    name,
    asn1.sequence(ED25519, asn1.bitString(fields.leafPublicKey)),
    asn1.explicit(
      3,
      asn1.sequence(
        extension('2.5.29.19', true, asn1.sequence()), // basicConstraints: not a CA
        extension('2.5.29.15', true, Buffer.from([0x03, 0x02, 0x07, 0x80])), // keyUsage: digitalSignature
        extension(
          '2.5.29.37', // extKeyUsage: serverAuth, clientAuth
          false,
          asn1.sequence(asn1.oid('1.3.6.1.5.5.7.3.1'), asn1.oid('1.3.6.1.5.5.7.3.2')),
        ),
      ),
    ),
  );
}

export function assembleLeaf(toBeSigned: Uint8Array, signature: Uint8Array): Buffer {
  return asn1.sequence(toBeSigned, ED25519, asn1.bitString(signature));
}

/** Why a presented leaf was not accepted. */
export type LeafFault = 'not-issued-by-peer' | 'expired' | 'wrong-use';

/** Checks that `leaf` is a currently valid leaf issued under `peer`'s node key. */
export function checkLeaf(leaf: X509Certificate, peer: NodeId, nowMs: number): LeafFault | undefined {
  if (leaf.subject !== `CN=${peer}` || !leaf.verify(ed25519PublicKey(publicKeyOf(peer)))) return 'not-issued-by-peer';
  if (leaf.ca) return 'wrong-use';
  const expired = nowMs > leaf.validToDate.getTime() + CLOCK_SKEW_MS;
  const early = nowMs < leaf.validFromDate.getTime() - CLOCK_SKEW_MS;
  return expired || early ? 'expired' : undefined;
}

/** PEM of a DER certificate, as node:tls wants it. */
export function pemOf(derBytes: Uint8Array): string {
  return new X509Certificate(derBytes).toString();
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return critical
    ? asn1.sequence(asn1.oid(id), asn1.boolean(true), asn1.octetString(value))
    : asn1.sequence(asn1.oid(id), asn1.octetString(value));
}

function time(timeMs: number): Buffer {
  return timeMs < YEAR_2050_MS ? asn1.utcTime(timeMs) : asn1.generalizedTime(timeMs);
}
