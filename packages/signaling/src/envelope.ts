/**
 * A sealed, signed, dated and numbered message between two nodes. Signed first
 * (with the encapsulated key, so a reader cannot seal it again to another), then
 * sealed: nobody but the reader learns who wrote it.
 *
 *   version u8 = 1 | hint 8 | HPKE enc 32 | ciphertext
 *
 * The hint is a hash over the reader's id and enc: it tells the reader for the
 * price of a hash that this one is its own, and tells others nothing.
 */

import { hash } from 'node:crypto';
import { equalBytes, isClawError, type Random, systemRandom } from '@claw/base';
import { type KeyHolder, type NodeId, nodeIdOf, publicKeyOf, type SealingKey } from '@claw/contracts';
import { verifySignature } from '@claw/identity';
import { boundedBytes, decodeCbor, encodeCbor, fixedBytes } from '@claw/wire';
import * as v from 'valibot';
import { signalingError } from './errors.ts';
import { HPKE_ENC_BYTES, HPKE_TAG_BYTES, HpkeReader, type SealingContext, startSealing } from './hpke.ts';

export const MAX_BODY_BYTES = 16 * 1024;
/** Longest an envelope may stay valid. */
export const MAX_LIFETIME_MS = 15 * 60_000;
/** How far two nodes' clocks may be apart. */
export const MAX_CLOCK_SKEW_MS = 2 * 60_000;
/** Everything but the body: 57 bytes outside, 220 inside; rounded up. */
export const MAX_ENVELOPE_BYTES = MAX_BODY_BYTES + 512;
/** Bytes from the start that {@link isEnvelopeFor} looks at. */
export const ENVELOPE_HEAD_BYTES = 1 + 8 + HPKE_ENC_BYTES;

const VERSION = 1;
const AAD_BYTES = 9;
const MIN_ENVELOPE_BYTES = ENVELOPE_HEAD_BYTES + HPKE_TAG_BYTES;
const INFO = Buffer.from('claw envelope v1');
const HINT_LABEL = Buffer.from('claw envelope hint v1');
const KIND = /^[\x21-\x7e]{1,32}$/;

const plaintextSchema = v.strictObject({
  from: fixedBytes(32),
  to: fixedBytes(32),
  seq: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  exp: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  kind: v.pipe(v.string(), v.regex(KIND)),
  body: boundedBytes(MAX_BODY_BYTES),
  sig: fixedBytes(64),
});

/** Whom an envelope is for: the node and the public half of its sealing key (X25519, 32 bytes). */
export interface Recipient {
  readonly to: NodeId;
  readonly sealingKey: Uint8Array;
}

export interface EnvelopeContent {
  /** What the body is, 1 to 32 printable ASCII characters; strangers may send only what `authorize` admits. */
  readonly kind: string;
  /** At most {@link MAX_BODY_BYTES}. */
  readonly body: Uint8Array;
  /** Unique for this sender; grows. */
  readonly sequence: number;
  /** Wall-clock time after which readers refuse it, milliseconds since 1970. */
  readonly expiresAtMs: number;
}

export interface OpenedEnvelope extends EnvelopeContent {
  readonly from: NodeId;
}

/** A node that opens its envelopes: made once, because reading the private key costs more than using it. */
export interface EnvelopeReader {
  readonly publicKey: Uint8Array;
  readonly hpke: HpkeReader;
}

export function createEnvelopeReader(nodeId: NodeId, sealingKey: SealingKey): EnvelopeReader {
  return { publicKey: publicKeyOf(nodeId), hpke: new HpkeReader(sealingKey) };
}

/** What may be computed before there is a message. @throws ClawError `SEALING_KEY_INVALID` */
export function startEnvelope(sealingKey: Uint8Array, random: Random): SealingContext {
  return startSealing(sealingKey, INFO, random);
}

/**
 * The envelope's bytes. `context` is a fresh one of {@link startEnvelope} for the recipient. One round trip to the key holder, the rest is synchronous.
 * @throws ClawError `ENVELOPE_TOO_LARGE`, `SEALING_KEY_INVALID`; RangeError for a kind or number out of range.
 */
export async function sealEnvelope(
  keyHolder: KeyHolder,
  recipient: Recipient,
  content: EnvelopeContent,
  context: SealingContext = startEnvelope(recipient.sealingKey, systemRandom),
): Promise<Buffer> {
  const { kind, body, sequence, expiresAtMs } = content;
  if (body.length > MAX_BODY_BYTES) {
    throw signalingError(
      'ENVELOPE_TOO_LARGE',
      `a body has at most ${MAX_BODY_BYTES} bytes, this one has ${body.length}`,
    );
  }
  if (!KIND.test(kind))
    throw new RangeError(`a kind is 1 to 32 printable ASCII characters, got ${JSON.stringify(kind)}`);
  const readerPublicKey = publicKeyOf(recipient.to);
  const unsigned = {
    from: publicKeyOf(keyHolder.nodeId),
    to: readerPublicKey,
    seq: checkInteger(sequence),
    exp: checkInteger(expiresAtMs),
    kind,
    body,
  };
  const sig = await keyHolder.sign('envelope', signedMessage(context.enc, unsigned));
  const head = Buffer.concat([Buffer.of(VERSION), envelopeHint(readerPublicKey, context.enc), context.enc]);
  return Buffer.concat([head, context.seal(encodeCbor({ ...unsigned, sig }), head.subarray(0, AAD_BYTES))]);
}

/** True when the bytes, or the first {@link ENVELOPE_HEAD_BYTES} of them, carry the hint of this node. */
export function isEnvelopeFor(readerPublicKey: Uint8Array, bytes: Uint8Array): boolean {
  if (bytes.length < ENVELOPE_HEAD_BYTES || bytes[0] !== VERSION) return false;
  return equalBytes(
    bytes.subarray(1, AAD_BYTES),
    envelopeHint(readerPublicKey, bytes.subarray(AAD_BYTES, ENVELOPE_HEAD_BYTES)),
  );
}

/**
 * What the envelope says, once its seal, date and signature hold. Replays are the router's to find.
 * @throws ClawError with one of the `ENVELOPE_…` codes.
 */
export function openEnvelope(reader: EnvelopeReader, bytes: Uint8Array, nowMs: number): OpenedEnvelope {
  if (bytes.length > MAX_ENVELOPE_BYTES) {
    throw signalingError(
      'ENVELOPE_TOO_LARGE',
      `an envelope has at most ${MAX_ENVELOPE_BYTES} bytes, this one has ${bytes.length}`,
    );
  }
  if (bytes.length < MIN_ENVELOPE_BYTES || bytes[0] !== VERSION) {
    throw signalingError(
      'ENVELOPE_MALFORMED',
      `not an envelope of version ${VERSION}: ${bytes.length} bytes, first ${bytes[0]}`,
    );
  }
  if (!isEnvelopeFor(reader.publicKey, bytes)) throw notForUs();
  const enc = bytes.subarray(AAD_BYTES, ENVELOPE_HEAD_BYTES);
  const plaintext = reader.hpke.open(enc, bytes.subarray(ENVELOPE_HEAD_BYTES), INFO, bytes.subarray(0, AAD_BYTES));
  if (!plaintext)
    throw signalingError('ENVELOPE_UNSEALABLE', 'the envelope was altered, or sealed to a key we no longer hold');
  const { sig, ...unsigned } = decodePlaintext(plaintext);
  if (!equalBytes(unsigned.to, reader.publicKey)) throw notForUs();
  // The date before the signature: it is the cheaper check, and a stranger's forgery learns nothing from it.
  if (unsigned.exp + MAX_CLOCK_SKEW_MS < nowMs) {
    throw signalingError('ENVELOPE_EXPIRED', `the envelope expired ${Math.round((nowMs - unsigned.exp) / 1000)} s ago`);
  }
  if (unsigned.exp > nowMs + MAX_LIFETIME_MS + MAX_CLOCK_SKEW_MS) {
    throw signalingError('ENVELOPE_FROM_FUTURE', 'the envelope claims to be valid for longer than any may be', {
      hint: "Compare this machine's clock with the sender's.",
    });
  }
  if (!verifySignature(unsigned.from, 'envelope', signedMessage(enc, unsigned), sig)) {
    throw signalingError('ENVELOPE_FORGED', 'the signature is not of the node that the envelope names');
  }
  const { from, kind, body, seq, exp } = unsigned;
  return { from: nodeIdOf(from), kind, body, sequence: seq, expiresAtMs: exp };
}

/** The 8 bytes by which a reader knows its envelopes. Exported for carriers and their tests. */
export function envelopeHint(readerPublicKey: Uint8Array, enc: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([HINT_LABEL, readerPublicKey, enc]), 'buffer').subarray(0, 8);
}

function signedMessage(enc: Uint8Array, unsigned: object): Buffer {
  return Buffer.concat([enc, encodeCbor(unsigned)]);
}

function decodePlaintext(plaintext: Buffer): v.InferOutput<typeof plaintextSchema> {
  try {
    return decodeCbor('an envelope', plaintextSchema, plaintext, MAX_ENVELOPE_BYTES);
  } catch (cause) {
    if (!isClawError(cause)) throw cause;
    throw signalingError('ENVELOPE_MALFORMED', cause.message, { cause });
  }
}

function checkInteger(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not a safe, positive integer: ${value}`);
  return value;
}

function notForUs() {
  return signalingError('ENVELOPE_NOT_FOR_US', 'the envelope is for another node');
}
