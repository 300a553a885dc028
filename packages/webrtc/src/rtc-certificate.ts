/** `RTCCertificate` (W3C WebRTC §4.9.2). */

import { createCertificate, type Fingerprint, type Identity } from '@claw/dtls';

export class RTCCertificate {
  /** Milliseconds since 1970. */
  readonly expires: number;
  /** @internal */
  readonly identity: Identity;
  readonly #fingerprint: Fingerprint;

  /** @internal See {@link generateCertificate}. */
  constructor(identity: Identity, fingerprint: Fingerprint, expires: number) {
    this.identity = identity;
    this.#fingerprint = fingerprint;
    this.expires = expires;
  }

  getFingerprints(): { algorithm: string; value: string }[] {
    const { algorithm, value } = this.#fingerprint;
    return [{ algorithm, value: (value.toString('hex').match(/../g) ?? []).join(':') }];
  }
}

/** An ephemeral ECDSA P-256 certificate, or Ed25519 when the algorithm says so. @throws DOMException `NotSupportedError` */
export function generateCertificate(algorithm: string | { readonly name: string }): RTCCertificate {
  const name = (typeof algorithm === 'string' ? algorithm : algorithm.name).toLowerCase();
  if (name !== 'ecdsa' && name !== 'ed25519') throw new DOMException(`${name} is not supported`, 'NotSupportedError');
  const made = createCertificate({ keyType: name === 'ed25519' ? 'ed25519' : 'ecdsa-p256' });
  return new RTCCertificate(made, made.fingerprint, Date.UTC(2049, 0));
}
