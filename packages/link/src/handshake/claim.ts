/**
 * The claim that each side makes inside the inner TLS session, once: who it is,
 * what it runs, which nonce it answers, which outer connection it sees, and the
 * key holder's proof over all of it. On the TLS stream: u16 length, then CBOR.
 */

import { isVersion } from '@claw/base';
import { decodeCbor, encodeCbor, fixedBytes } from '@claw/wire';
import * as v from 'valibot';

const MAX_CLAIM_BYTES = 2048;

const claimSchema = v.strictObject({
  /** Protocol versions the sender speaks, lowest and highest. */
  protocol: v.strictTuple([v.pipe(v.number(), v.safeInteger()), v.pipe(v.number(), v.safeInteger())]),
  node: fixedBytes(32),
  integrity: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits')),
  version: v.pipe(v.string(), v.check(isVersion, 'expected a semantic version')),
  /** The receiver's nonce, answered. */
  nonce: fixedBytes(32),
  binding: fixedBytes(32),
  timeMs: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  signature: fixedBytes(64),
});

export type Claim = v.InferOutput<typeof claimSchema>;

export function encodeClaim(claim: Claim): Buffer {
  const body = encodeCbor(claim);
  const out = Buffer.allocUnsafe(2 + body.length);
  out.writeUInt16BE(body.length, 0);
  out.set(body, 2);
  return out;
}

/** Collects TLS plaintext until one claim is whole. */
export class ClaimReader {
  #held = Buffer.alloc(0);

  /**
   * The claim once it is complete.
   * @throws ClawError `WIRE_MALFORMED` or `WIRE_TOO_LARGE`.
   */
  push(bytes: Buffer): Claim | undefined {
    this.#held = Buffer.concat([this.#held, bytes]);
    if (this.#held.length < 2) return undefined;
    const end = 2 + this.#held.readUInt16BE(0);
    if (this.#held.length < end && end <= MAX_CLAIM_BYTES) return undefined;
    return decodeCbor('a claim', claimSchema, this.#held.subarray(2, end), MAX_CLAIM_BYTES);
  }
}
