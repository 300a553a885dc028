/**
 * What a node may ask of whoever holds its node key. The key itself never
 * crosses this interface. Every operation is domain-separated: a signature made
 * for one purpose verifies for no other.
 */

import type { NodeId } from './node-id.ts';

/** What the software of a node is, as its key holder measured it. */
export interface RuntimeFacts {
  /** SHA-256 over the installed package's files, hexadecimal (docs/protocols/integrity.md). */
  readonly integrity: string;
  /** Semantic version of the package. */
  readonly version: string;
}

/** Purposes for which {@link KeyHolder.sign} signs; the label goes under the signature. */
export type SignPurpose = 'envelope' | 'invite' | 'relay-login';

/** What {@link KeyHolder.prove} vouches for, once per inner handshake. */
export interface ProofRequest {
  /** Hash over the inner TLS session's flights and what it is bound to of the outer one: 32 bytes. */
  readonly channelBinding: Uint8Array;
  readonly role: 'client' | 'server';
  readonly peer: NodeId;
  /** The peer's nonce, which this proof answers: 32 bytes. */
  readonly nonce: Uint8Array;
  /** Wall-clock time of the proof, milliseconds since 1970. */
  readonly timeMs: number;
}

export interface Proof {
  readonly facts: RuntimeFacts;
  /** Ed25519 over the request and the facts: 64 bytes. */
  readonly signature: Uint8Array;
}

/** A key pair for HPKE (X25519), derived for this node and handed out to open its envelopes. */
export interface SealingKey {
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

export interface KeyHolder extends AsyncDisposable {
  readonly nodeId: NodeId;
  readonly facts: RuntimeFacts;
  sign(purpose: SignPurpose, message: Uint8Array): Promise<Uint8Array>;
  /** An X.509 leaf (DER) for an Ed25519 public key (raw, 32 bytes), issued under the node key. */
  issueLeaf(publicKey: Uint8Array, lifetimeMs: number): Promise<Uint8Array>;
  issueSealingKey(): Promise<SealingKey>;
  prove(request: ProofRequest): Promise<Proof>;
  /** Wipes the key and ends the holder. Idempotent. */
  close(): Promise<void>;
}
