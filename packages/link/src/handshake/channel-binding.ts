/**
 * What ties the inner handshake to the outer connection: a hash over the attempt,
 * both session descriptions, both DTLS fingerprints in them and both nonces. It
 * is the context of every TLS exporter value and goes under both proofs, so two
 * sides that do not see the same outer connection do not arrive at the same keys.
 */

import { createHash } from 'node:crypto';
import { linkError } from '../errors.ts';

export interface BindingParts {
  readonly attempt: Uint8Array;
  readonly offerSdp: string;
  readonly answerSdp: string;
  readonly offererNonce: Uint8Array;
  readonly answererNonce: Uint8Array;
}

/** 32 bytes. */
export function channelBinding(parts: BindingParts): Buffer {
  const hash = createHash('sha256').update('claw channel binding v1');
  const fields = [
    parts.attempt,
    sha256(parts.offerSdp),
    sha256(parts.answerSdp),
    Buffer.from(dtlsFingerprint(parts.offerSdp)),
    Buffer.from(dtlsFingerprint(parts.answerSdp)),
    parts.offererNonce,
    parts.answererNonce,
  ];
  for (const field of fields) hash.update(Buffer.from([field.length])).update(field);
  return hash.digest();
}

/**
 * What both proofs are over: the binding, and every byte of the TLS handshake up to the server's Finished (RFC 8446
 * §4.4.1), which both sides have before the client's last flight. Both hellos are in it, so it is of one session, as an
 * exporter value is; and it is known early, so that proving takes no time of its own. 32 bytes.
 */
export function proofContext(binding: Uint8Array, clientFlights: Uint8Array, serverFlights: Uint8Array): Buffer {
  const hash = createHash('sha256').update('claw proof context v1').update(binding);
  for (const flights of [clientFlights, serverFlights]) hash.update(createHash('sha256').update(flights).digest());
  return hash.digest();
}

/** The `a=fingerprint` of a description (RFC 8122 §5), lower case. Exactly one is expected, SHA-256 or longer. */
export function dtlsFingerprint(sdp: string): string {
  const found = new Set(
    [...sdp.matchAll(/^a=fingerprint:(sha-(?:256|384|512)) ([0-9a-f:]+)\s*$/gim)].map((match) =>
      `${match[1]} ${match[2]}`.toLowerCase(),
    ),
  );
  const [fingerprint] = found;
  if (fingerprint === undefined || found.size !== 1) {
    throw linkError('LINK_HANDSHAKE_INVALID', `a description has ${found.size} usable DTLS fingerprints, expected one`);
  }
  return fingerprint;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
