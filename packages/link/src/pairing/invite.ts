/**
 * An invite: what one person gives another so that their machines pair. Node id,
 * sealing key, ways to reach the inviter, a secret of 128 bits and an expiry,
 * signed by the inviter's node key. Text form: `CLAW:` and base32 in upper case,
 * which a QR code packs well (alphanumeric mode).
 */

import { createHash } from 'node:crypto';
import { fromBase32, isClawError, toBase32 } from '@claw/base';
import { type KeyHolder, type NodeId, nodeIdOf, publicKeyOf } from '@claw/contracts';
import { verifySignature } from '@claw/identity';
import { decodeCbor, encodeCbor, fixedBytes } from '@claw/wire';
import * as v from 'valibot';
import { linkError } from '../errors.ts';

export const INVITE_SECRET_BYTES = 16;
export const INVITE_LIFETIME_MS = 10 * 60_000;
const PREFIX = 'CLAW:';
const SIGNATURE_BYTES = 64;
const MAX_TEXT_LENGTH = 4096;
export const MAX_RELAYS = 8;

const contentSchema = v.strictTuple([
  v.literal(1),
  fixedBytes(32),
  fixedBytes(32),
  fixedBytes(INVITE_SECRET_BYTES),
  /** Expiry, seconds since 1970. */
  v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  v.pipe(v.string(), v.maxLength(32)),
  v.pipe(v.array(v.pipe(v.string(), v.maxLength(256))), v.maxLength(MAX_RELAYS)),
]);

export interface Invite {
  readonly inviter: NodeId;
  /** X25519 public key of the inviter, 32 bytes. */
  readonly sealingKey: Uint8Array;
  readonly secret: Uint8Array;
  readonly expiresAtMs: number;
  /** The inviter's name for itself. */
  readonly name: string;
  readonly relays: readonly string[];
}

/** The text of an invite by the node that `keyHolder` stands for. */
export async function encodeInvite(keyHolder: KeyHolder, invite: Omit<Invite, 'inviter'>): Promise<string> {
  const { sealingKey, secret, expiresAtMs, name, relays } = invite;
  const fields = [1, publicKeyOf(keyHolder.nodeId), sealingKey, secret, Math.floor(expiresAtMs / 1000), name, relays];
  const content = encodeCbor(fields);
  const signature = await keyHolder.sign('invite', content);
  return PREFIX + toBase32(Buffer.concat([signature, content])).toUpperCase();
}

/**
 * The invite in `text`; case and white space do not matter.
 * @throws ClawError `PAIR_INVITE_INVALID`: not an invite. `PAIR_INVITE_ALTERED`: cut off or changed. `PAIR_INVITE_EXPIRED`.
 */
export function decodeInvite(text: string, nowMs: number): Invite {
  const invite = parseInvite(text);
  if (nowMs >= invite.expiresAtMs) {
    throw linkError('PAIR_INVITE_EXPIRED', `this invite expired at ${new Date(invite.expiresAtMs).toISOString()}`, {
      hint: 'Make a new one with "claw pair --new" on the other machine. If it is fresh, compare the clocks.',
    });
  }
  return invite;
}

/** Names an invite's secret without revealing it: 8 bytes. */
export function inviteIdOf(secret: Uint8Array): Buffer {
  return createHash('sha256').update('claw invite id v1').update(secret).digest().subarray(0, 8);
}

function parseInvite(text: string): Invite {
  if (text.length > MAX_TEXT_LENGTH) throw notAnInvite('it is too long');
  const compact = text.replace(/\s+/g, '').toUpperCase();
  if (!compact.startsWith(PREFIX)) throw notAnInvite(`it does not begin with ${PREFIX}`);
  const bytes = fromBase32(compact.slice(PREFIX.length));
  if (!bytes || bytes.length <= SIGNATURE_BYTES) throw altered();
  const signature = bytes.subarray(0, SIGNATURE_BYTES);
  const content = bytes.subarray(SIGNATURE_BYTES);
  try {
    const [, publicKey, sealingKey, secret, expires, name, relays] = decodeCbor(
      'an invite',
      contentSchema,
      content,
      MAX_TEXT_LENGTH,
    );
    if (!verifySignature(publicKey, 'invite', content, signature)) throw altered();
    return { inviter: nodeIdOf(publicKey), sealingKey, secret, expiresAtMs: expires * 1000, name, relays };
  } catch (error) {
    if (isClawError(error, 'WIRE_MALFORMED', 'WIRE_TOO_LARGE')) throw altered();
    throw error;
  }
}

function notAnInvite(detail: string) {
  return linkError('PAIR_INVITE_INVALID', `this is not an invite: ${detail}`, {
    hint: 'An invite is the text that "claw pair --new" printed on the other machine.',
  });
}

function altered() {
  return linkError('PAIR_INVITE_ALTERED', 'this invite was cut off or changed on its way', {
    hint: 'Copy the whole text again, or make a new invite with "claw pair --new".',
  });
}
