/**
 * A key holder without a process: an Ed25519 key in memory, for tests of what
 * signs and verifies. Certificates and proofs need the real one.
 */

import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { type Random, systemRandom } from '@claw/base';
import { type KeyHolder, nodeIdOf, type SealingKey } from '@claw/contracts';

/** DER before a raw private key, and before a raw public key (RFC 8410). */
const PKCS8 = { ed25519: '302e020100300506032b657004220420', x25519: '302e020100300506032b656e04220420' };
const SPKI_PREFIX_BYTES = 12;

export function createFakeKeyHolder(random: Random = systemRandom): KeyHolder {
  const nodeKey = importPrivateKey('ed25519', random.bytes(32));
  return {
    nodeId: nodeIdOf(rawPublicKey(nodeKey)),
    facts: { integrity: '0'.repeat(64), version: '0.0.0-test' },
    async sign(purpose, message) {
      // The same domain separation as @claw/identity, whose verifySignature must take it.
      return sign(null, Buffer.concat([Buffer.from(`claw ${purpose} v1\0`), message]), nodeKey);
    },
    async issueSealingKey(): Promise<SealingKey> {
      const privateKey = random.bytes(32);
      return { privateKey, publicKey: rawPublicKey(importPrivateKey('x25519', privateKey)) };
    },
    issueLeaf: () => Promise.reject(new TypeError('the fake key holder issues no certificates')),
    prove: () => Promise.reject(new TypeError('the fake key holder proves nothing')),
    async close() {},
    async [Symbol.asyncDispose]() {},
  };
}

function importPrivateKey(type: keyof typeof PKCS8, raw: Buffer): KeyObject {
  return createPrivateKey({ key: Buffer.concat([Buffer.from(PKCS8[type], 'hex'), raw]), format: 'der', type: 'pkcs8' });
}

function rawPublicKey(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX_BYTES);
}
