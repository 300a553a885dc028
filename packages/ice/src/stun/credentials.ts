/**
 * The long-term credential mechanism (RFC 8489 §9.2): what a client learns from a
 * 401 or 438 and how it then signs. MD5 keys with MESSAGE-INTEGRITY for servers of
 * old, SHA-256 keys with MESSAGE-INTEGRITY-SHA256 where the nonce says so, and a
 * USERHASH where the server wishes anonymity.
 */

import { createHash } from 'node:crypto';
import { ATTRIBUTE } from './constants.ts';
import type { StunWriter } from './encode.ts';
import { type IntegrityAlgorithm, verifyIntegrity } from './integrity.ts';
import { type StunMessage, textOf } from './message.ts';

export interface LongTermSecret {
  readonly username: string;
  readonly password: string;
}

interface Challenge {
  readonly realm: string;
  readonly nonce: Buffer;
  readonly key: Buffer;
  readonly algorithm: IntegrityAlgorithm;
  /** PASSWORD-ALGORITHMS as the server sent it, to be echoed against downgrades. */
  readonly offered: Buffer | undefined;
  readonly hidesUsername: boolean;
}

const NONCE_COOKIE = 'obMatJos2';
// Bit 0 is the least significant one, as the vector of RFC 8489, appendix B.1, shows.
const FEATURE_PASSWORD_ALGORITHMS = 1;
const FEATURE_USERNAME_ANONYMITY = 2;
const ALGORITHM_MD5 = 1;
const ALGORITHM_SHA256 = 2;
const MAX_NONCE_BYTES = 763;

export function longTermKey(secret: LongTermSecret, realm: string, hash: 'md5' | 'sha256'): Buffer {
  // The OpaqueString profile of RFC 8265, as far as it changes text that people type.
  const text = [secret.username, realm, secret.password].map((part) => part.normalize('NFC')).join(':');
  return createHash(hash).update(text, 'utf8').digest();
}

export class LongTermCredentials {
  readonly #secret: LongTermSecret;
  #challenge: Challenge | undefined;

  constructor(secret: LongTermSecret) {
    this.#secret = secret;
  }

  get hasChallenge(): boolean {
    return this.#challenge !== undefined;
  }

  /** Takes realm and nonce of a 401 or 438. False when they cannot be answered, or smell of a downgrade. */
  challenge(message: StunMessage): boolean {
    const realm = textOf(message, ATTRIBUTE.realm) ?? this.#challenge?.realm;
    const nonce = message.attributes.get(ATTRIBUTE.nonce)?.value;
    if (realm === undefined || !nonce || nonce.length > MAX_NONCE_BYTES) return false;
    const features = featuresOf(nonce.toString('latin1'));
    const offered = message.attributes.get(ATTRIBUTE.passwordAlgorithms)?.value;
    if (((features & FEATURE_PASSWORD_ALGORITHMS) !== 0) !== (offered !== undefined)) return false;
    const algorithms = offered ? readAlgorithms(offered) : [];
    if (offered && !algorithms.includes(ALGORITHM_SHA256) && !algorithms.includes(ALGORITHM_MD5)) return false;
    const hash = algorithms.includes(ALGORITHM_SHA256) ? 'sha256' : 'md5';
    this.#challenge = {
      realm,
      // Views die with their datagram.
      nonce: Buffer.from(nonce),
      key: longTermKey(this.#secret, realm, hash),
      algorithm: offered ? 'sha256' : 'sha1',
      offered: offered && Buffer.from(offered),
      hidesUsername: (features & FEATURE_USERNAME_ANONYMITY) !== 0,
    };
    return true;
  }

  /** Adds the credentials and the integrity; without a challenge so far, nothing. */
  sign(writer: StunWriter): StunWriter {
    const challenge = this.#challenge;
    if (!challenge) return writer;
    const { realm, nonce, key, algorithm, offered, hidesUsername } = challenge;
    if (hidesUsername) {
      const text = `${this.#secret.username.normalize('NFC')}:${realm.normalize('NFC')}`;
      writer.bytes(ATTRIBUTE.userhash, createHash('sha256').update(text).digest());
    } else writer.text(ATTRIBUTE.username, this.#secret.username);
    writer.text(ATTRIBUTE.realm, realm).bytes(ATTRIBUTE.nonce, nonce);
    if (offered) {
      const chosen = readAlgorithms(offered).includes(ALGORITHM_SHA256) ? ALGORITHM_SHA256 : ALGORITHM_MD5;
      writer.bytes(ATTRIBUTE.passwordAlgorithms, offered);
      writer.bytes(ATTRIBUTE.passwordAlgorithm, Buffer.from([0, chosen, 0, 0]));
    }
    return writer.integrity(key, algorithm);
  }

  verify(message: StunMessage): boolean {
    const challenge = this.#challenge;
    return challenge !== undefined && verifyIntegrity(message, challenge.key, challenge.algorithm);
  }
}

function featuresOf(nonce: string): number {
  if (!nonce.startsWith(NONCE_COOKIE)) return 0;
  const bits = Buffer.from(nonce.slice(NONCE_COOKIE.length, NONCE_COOKIE.length + 4), 'base64');
  return bits.length === 3 ? bits.readUIntBE(0, 3) : 0;
}

function readAlgorithms(value: Buffer): number[] {
  const algorithms: number[] = [];
  for (let at = 0; at + 4 <= value.length && algorithms.length < 16; ) {
    algorithms.push(value.readUInt16BE(at));
    at += 4 + ((value.readUInt16BE(at + 2) + 3) & ~3);
  }
  return algorithms;
}
