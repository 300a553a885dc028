/**
 * The key schedule of DTLS 1.3 (RFC 8446 §7.1, RFC 9147 §5.9) without PSK and
 * early data. Each step takes what it needs and wipes what it supersedes.
 */

import { hash as hashOf } from 'node:crypto';
import type { HashName } from './cipher-suites.ts';
import { deriveSecret, emptyHash, expandLabel, hkdfExtract, hmacOf, type LabelPrefix } from './hkdf.ts';

export interface TrafficSecrets {
  readonly client: Buffer;
  readonly server: Buffer;
}

export class KeySchedule {
  readonly #hash: HashName;
  readonly #prefix: LabelPrefix;
  readonly #zeros: Buffer;
  #secret: Buffer;

  constructor(hash: HashName, prefix: LabelPrefix = 'dtls13') {
    this.#hash = hash;
    this.#prefix = prefix;
    this.#zeros = Buffer.alloc(emptyHash(hash).length);
    this.#secret = hkdfExtract(hash, this.#zeros, this.#zeros);
  }

  /** From the shared secret, which is wiped, and the hash through ServerHello. */
  handshakeSecrets(sharedSecret: Buffer, transcriptHash: Uint8Array): TrafficSecrets {
    this.#advance(sharedSecret);
    sharedSecret.fill(0);
    return this.#pair('hs', transcriptHash);
  }

  /** From the hash through the server's Finished. Ends the schedule. */
  applicationSecrets(transcriptHash: Uint8Array): TrafficSecrets & { readonly exporter: Buffer } {
    this.#advance(this.#zeros);
    const secrets = {
      ...this.#pair('ap', transcriptHash),
      exporter: deriveSecret(this.#hash, this.#secret, 'exp master', transcriptHash, this.#prefix),
    };
    this.wipe();
    return secrets;
  }

  wipe(): void {
    this.#secret.fill(0);
  }

  #advance(keyMaterial: Uint8Array): void {
    const salt = deriveSecret(this.#hash, this.#secret, 'derived', emptyHash(this.#hash), this.#prefix);
    this.#secret.fill(0);
    this.#secret = hkdfExtract(this.#hash, salt, keyMaterial);
    salt.fill(0);
  }

  #pair(stage: 'hs' | 'ap', transcriptHash: Uint8Array): TrafficSecrets {
    const derive = (label: string) => deriveSecret(this.#hash, this.#secret, label, transcriptHash, this.#prefix);
    return { client: derive(`c ${stage} traffic`), server: derive(`s ${stage} traffic`) };
  }
}

/** The verify_data of a Finished message (RFC 8446 §4.4.4). */
export function finishedData(
  hash: HashName,
  trafficSecret: Uint8Array,
  transcriptHash: Uint8Array,
  prefix?: LabelPrefix,
): Buffer {
  const key = expandLabel(hash, trafficSecret, 'finished', Buffer.alloc(0), transcriptHash.length, prefix);
  const data = hmacOf(hash, key, transcriptHash);
  key.fill(0);
  return data;
}

/** The traffic secret of the next generation (RFC 8446 §7.2). The old one is the caller's to wipe. */
export function nextTrafficSecret(hash: HashName, secret: Uint8Array): Buffer {
  return expandLabel(hash, secret, 'traffic upd', Buffer.alloc(0), secret.length);
}

/** RFC 8446 §7.5. */
export function exportKeys(
  hash: HashName,
  exporterSecret: Uint8Array,
  label: string,
  context: Uint8Array,
  length: number,
): Buffer {
  const derived = deriveSecret(hash, exporterSecret, label, emptyHash(hash));
  const contextHash = hashOf(hash, context, 'buffer');
  const keys = expandLabel(hash, derived, 'exporter', contextHash, length);
  derived.fill(0);
  return keys;
}
