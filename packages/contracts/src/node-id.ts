/**
 * A node's name on the fabric: base32 (RFC 4648, lower case, no padding) of its
 * 32-byte Ed25519 public key. Whoever has the id can verify the node's signatures.
 */

import { fromBase32, toBase32 } from '@claw/base';

declare const brand: unique symbol;
export type NodeId = string & { readonly [brand]: 'NodeId' };

export const PUBLIC_KEY_BYTES = 32;
/** Characters in a node id: 32 bytes in base32. */
export const NODE_ID_LENGTH = 52;

/** The id of a raw Ed25519 public key of 32 bytes. */
export function nodeIdOf(publicKey: Uint8Array): NodeId {
  if (publicKey.length !== PUBLIC_KEY_BYTES) {
    throw new RangeError(`an Ed25519 public key has 32 bytes, got ${publicKey.length}`);
  }
  return toBase32(publicKey) as NodeId;
}

/** The raw public key behind an id. */
export function publicKeyOf(id: NodeId): Buffer {
  const key = fromBase32(id);
  if (!key) throw new RangeError(`not a node id: ${id}`);
  return key;
}

/** True for text that is a canonical node id. */
export function isNodeId(text: string): text is NodeId {
  return text.length === NODE_ID_LENGTH && text === text.toLowerCase() && fromBase32(text) !== undefined;
}
