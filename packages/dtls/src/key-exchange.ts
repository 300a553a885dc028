/**
 * Ephemeral key agreement: X25519 (RFC 7748), P-256 (RFC 8446 §4.2.8.2) and
 * X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem) where the platform has ML-KEM.
 * A point off the curve, one of small order and a key that is no key are refused;
 * the caller wipes the secret that it gets.
 */

import {
  createECDH,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { fault } from './errors.ts';

export type GroupName = 'X25519' | 'P-256' | 'X25519MLKEM768';

export const groupIds: Record<GroupName, number> = { X25519: 0x001d, 'P-256': 0x0017, X25519MLKEM768: 0x11ec };

/** Our half of an agreement that waits for the peer's. */
export interface KeyShare {
  readonly group: GroupName;
  readonly publicBytes: Buffer;
  /**
   * Once: the private key is dropped with it.
   * @throws ClawError `DTLS_ILLEGAL_PARAMETER` when the peer's bytes are no key of the group; TypeError the second time.
   */
  agree(peerBytes: Buffer): Buffer;
  /** Drops the private key. */
  wipe(): void;
}

const ENCAPSULATION_KEY_BYTES = 1184;
const CIPHERTEXT_BYTES = 1088;
const X25519_BYTES = 32;
const P256_BYTES = 65;

/** Whether this Node.js has ML-KEM-768. */
export const hasMlKem: boolean = detectMlKem();

export function groupOf(id: number): GroupName | undefined {
  return (Object.keys(groupIds) as GroupName[]).find((name) => groupIds[name] === id);
}

/** A fresh share, for the side that speaks first. */
export function createShare(group: GroupName): KeyShare {
  if (group === 'P-256') return p256Share();
  return group === 'X25519' ? x25519Share() : hybridShare();
}

/** The answer to the peer's share: what to send back, and the secret. `prepared` is used if it is of the group. */
export function answerShare(
  group: GroupName,
  peerBytes: Buffer,
  prepared?: KeyShare,
): { publicBytes: Buffer; secret: Buffer } {
  if (group !== 'X25519MLKEM768') {
    const share = prepared?.group === group ? prepared : createShare(group);
    return { publicBytes: share.publicBytes, secret: share.agree(peerBytes) };
  }
  return refusing(group, () => {
    expectLength(group, peerBytes, ENCAPSULATION_KEY_BYTES + X25519_BYTES);
    const key = rawPublicKey('ml-kem-768', peerBytes.subarray(0, ENCAPSULATION_KEY_BYTES));
    const { ciphertext, sharedKey } = encapsulate(key);
    const classic = x25519Share();
    const secret = joinSecrets(sharedKey, classic.agree(peerBytes.subarray(ENCAPSULATION_KEY_BYTES)));
    return { publicBytes: Buffer.concat([ciphertext, classic.publicBytes]), secret };
  });
}

function x25519Share(): KeyShare {
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  const key = new OwnKey(privateKey);
  return {
    group: 'X25519',
    publicBytes: rawBytes(publicKey),
    agree: (peerBytes) => {
      const own = key.take();
      return refusing('X25519', () => {
        expectLength('X25519', peerBytes, X25519_BYTES);
        // OpenSSL fails on the all-zero result that RFC 8446 §7.4.2 forbids.
        return diffieHellman({ privateKey: own, publicKey: rawPublicKey('x25519', peerBytes) });
      });
    },
    wipe: () => key.wipe(),
  };
}

function p256Share(): KeyShare {
  const ecdh = createECDH('prime256v1');
  const publicBytes = ecdh.generateKeys();
  const key = new OwnKey(ecdh);
  return {
    group: 'P-256',
    publicBytes,
    agree: (peerBytes) => {
      const own = key.take();
      return refusing('P-256', () => {
        expectLength('P-256', peerBytes, P256_BYTES);
        if (peerBytes[0] !== 4) throw new RangeError('the point is not uncompressed');
        return own.computeSecret(peerBytes);
      });
    },
    wipe: () => key.wipe(),
  };
}

function hybridShare(): KeyShare {
  const { publicKey, privateKey } = generateKeyPairSync('ml-kem-768');
  const classic = x25519Share();
  const key = new OwnKey(privateKey);
  return {
    group: 'X25519MLKEM768',
    publicBytes: Buffer.concat([rawBytes(publicKey), classic.publicBytes]),
    agree: (peerBytes) => {
      const own = key.take();
      return refusing('X25519MLKEM768', () => {
        expectLength('X25519MLKEM768', peerBytes, CIPHERTEXT_BYTES + X25519_BYTES);
        const shared = decapsulate(own, peerBytes.subarray(0, CIPHERTEXT_BYTES));
        return joinSecrets(shared, classic.agree(peerBytes.subarray(CIPHERTEXT_BYTES)));
      });
    },
    wipe: () => {
      key.wipe();
      classic.wipe();
    },
  };
}

/** A private key that is used once. */
class OwnKey<Key> {
  #key: Key | undefined;

  constructor(key: Key) {
    this.#key = key;
  }

  take(): Key {
    if (this.#key === undefined) throw new TypeError('a key share agrees once');
    const key = this.#key;
    this.wipe();
    return key;
  }

  wipe(): void {
    this.#key = undefined;
  }
}

function joinSecrets(first: Buffer, second: Buffer): Buffer {
  const joined = Buffer.concat([first, second]);
  first.fill(0);
  second.fill(0);
  return joined;
}

function refusing<T>(group: GroupName, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw fault('DTLS_ILLEGAL_PARAMETER', `the peer's key share is no key of ${group}`, cause);
  }
}

function expectLength(group: GroupName, bytes: Buffer, length: number): void {
  if (bytes.length !== length) throw new RangeError(`${group} has ${length} bytes, not ${bytes.length}`);
}

function rawBytes(key: KeyObject): Buffer {
  return key.export({ format: 'raw-public' } as never) as unknown as Buffer;
}

function rawPublicKey(asymmetricKeyType: string, key: Buffer): KeyObject {
  return createPublicKey({ key, format: 'raw-public', asymmetricKeyType } as never);
}

function detectMlKem(): boolean {
  try {
    generateKeyPairSync('ml-kem-768');
    return typeof encapsulate === 'function';
  } catch {
    return false;
  }
}
