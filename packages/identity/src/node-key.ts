/**
 * The node key at work: the only object that holds it. It lives in the
 * key-holder process; tests may hold one in process. It answers exactly what
 * {@link KeyHolder} lists and signs nothing that its caller could pass off as
 * something else.
 */

import { createPrivateKey, createPublicKey, hkdfSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { ClawError, type Clock, systemClock } from '@claw/base';
import {
  type KeyHolder,
  type NodeId,
  nodeIdOf,
  type Proof,
  type ProofRequest,
  type RuntimeFacts,
  type SealingKey,
  type SignPurpose,
} from '@claw/contracts';
import { assembleLeaf, CLOCK_SKEW_MS, leafToBeSigned } from './leaf-certificate.ts';
import { proofStatement } from './proof.ts';
import { rawPublicKey, signedBytes } from './signature.ts';

export const SEED_BYTES = 32;
/** Longest life of a leaf certificate. */
export const MAX_LEAF_LIFETIME_MS = 15 * 60_000;

/** DER of a PKCS #8 PrivateKeyInfo up to the 32 key bytes (RFC 8410 §7). */
const ED25519_PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const X25519_PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');

export class NodeKey implements KeyHolder {
  readonly nodeId: NodeId;
  readonly facts: RuntimeFacts;
  readonly #clock: Clock;
  #key: KeyObject | undefined;
  readonly #sealingPrivate: Buffer;

  /** Takes over `seed` (32 bytes) and wipes it. */
  constructor(seed: Buffer, facts: RuntimeFacts, clock: Clock = systemClock) {
    if (seed.length !== SEED_BYTES) throw new RangeError(`a seed has ${SEED_BYTES} bytes, got ${seed.length}`);
    this.#key = privateKey(ED25519_PKCS8_PREFIX, seed);
    this.#sealingPrivate = Buffer.from(hkdfSync('sha256', seed, '', 'claw sealing key v1', 32));
    seed.fill(0);
    this.nodeId = nodeIdOf(rawPublicKey(createPublicKey(this.#key)));
    this.facts = facts;
    this.#clock = clock;
  }

  async sign(purpose: SignPurpose, message: Uint8Array): Promise<Uint8Array> {
    return this.#sign(signedBytes(purpose, message));
  }

  async issueLeaf(publicKey: Uint8Array, lifetimeMs: number): Promise<Uint8Array> {
    if (publicKey.length !== 32) throw new RangeError(`a leaf's public key has 32 bytes, got ${publicKey.length}`);
    if (!(lifetimeMs > 0 && lifetimeMs <= MAX_LEAF_LIFETIME_MS)) {
      throw new RangeError(`a leaf lives up to ${MAX_LEAF_LIFETIME_MS} ms, asked for ${lifetimeMs}`);
    }
    const now = this.#clock.now();
    const toBeSigned = leafToBeSigned({
      nodeId: this.nodeId,
      leafPublicKey: publicKey,
      serial: randomBytes(16),
      notBeforeMs: now - CLOCK_SKEW_MS,
      notAfterMs: now + lifetimeMs,
    });
    return assembleLeaf(toBeSigned, this.#sign(toBeSigned));
  }

  async issueSealingKey(): Promise<SealingKey> {
    const privateHalf = privateKey(X25519_PKCS8_PREFIX, this.#sealingPrivate);
    const publicHalf = createPublicKey(privateHalf).export({ format: 'der', type: 'spki' }).subarray(-32);
    return { publicKey: publicHalf, privateKey: Buffer.from(this.#sealingPrivate) };
  }

  async prove(request: ProofRequest): Promise<Proof> {
    const statement = proofStatement(this.nodeId, request, this.facts);
    return { facts: this.facts, signature: this.#sign(signedBytes('proof', statement)) };
  }

  async close(): Promise<void> {
    this.#key = undefined;
    this.#sealingPrivate.fill(0);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #sign(bytes: Buffer): Buffer {
    if (!this.#key) throw new ClawError('KEY_HOLDER_CLOSED', 'the node key was closed');
    return sign(null, bytes, this.#key);
  }
}

function privateKey(prefix: Buffer, secret: Buffer): KeyObject {
  const pkcs8 = Buffer.concat([prefix, secret]);
  try {
    return createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  } finally {
    pkcs8.fill(0);
  }
}
