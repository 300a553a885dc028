/**
 * The private channel between a node and its key holder: JSON messages over the
 * socket pair that the two inherit from their fork, bytes as base64. The holder
 * checks every request against this schema and answers nothing else.
 */

import * as v from 'valibot';

const bytes = (maxBytes: number) =>
  v.pipe(
    v.string(),
    v.maxLength(Math.ceil(maxBytes / 3) * 4),
    v.base64(),
    v.transform((text) => Buffer.from(text, 'base64')),
  );

/** Longest message that a node may have signed, in bytes. */
const MAX_SIGNED_BYTES = 64 * 1024;

export const openRequestSchema = v.strictObject({
  op: v.literal('open'),
  home: v.string(),
  unlock: v.variant('protection', [
    v.strictObject({ protection: v.literal('none') }),
    v.strictObject({ protection: v.literal('passphrase'), passphrase: v.string() }),
    v.strictObject({ protection: v.literal('keyring') }),
  ]),
});

const id = v.pipe(v.number(), v.safeInteger());

export const holderRequestSchema = v.variant('op', [
  v.strictObject({
    id,
    op: v.literal('sign'),
    purpose: v.picklist(['envelope', 'invite', 'relay-login']),
    message: bytes(MAX_SIGNED_BYTES),
  }),
  v.strictObject({ id, op: v.literal('issue-leaf'), publicKey: bytes(32), lifetimeMs: v.number() }),
  v.strictObject({ id, op: v.literal('issue-sealing-key') }),
  v.strictObject({
    id,
    op: v.literal('prove'),
    channelBinding: bytes(64),
    role: v.picklist(['client', 'server']),
    peer: v.pipe(v.string(), v.length(52)),
    nonce: bytes(64),
    timeMs: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  }),
]);

/** A request as its sender writes it: bytes are base64 text. */
export type HolderRequest = v.InferInput<typeof holderRequestSchema>;

/** The holder's first message, in answer to `open`. */
export type OpenReply =
  | {
      readonly opened: {
        readonly publicKey: string;
        readonly integrity: string;
        readonly version: string;
        readonly protection: 'none' | 'passphrase' | 'keyring';
        readonly created: boolean;
        readonly confinement: { readonly seccomp: boolean; readonly undumpable: boolean; readonly detail: string };
      };
    }
  | { readonly failed: { readonly code: string; readonly message: string; readonly hint?: string } };

/** Any later answer; `result` holds one or two byte strings, base64. */
export interface HolderReply {
  readonly id: number;
  readonly result?: readonly string[];
  readonly error?: { readonly code: string; readonly message: string };
}
