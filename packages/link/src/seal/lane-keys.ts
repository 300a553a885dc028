/**
 * Keys of one direction of one lane (data channel), derived from the inner
 * handshake's exporter secrets with HKDF-Expand (RFC 5869) and replaced every
 * epoch, so that no AES-GCM key comes near its limits (RFC 8446 §5.5).
 */

import { AeadKey } from '@claw/aead';
import { hmac } from '@claw/base';

export interface LaneKey {
  readonly key: AeadKey;
  /** 12 bytes; the record number is XORed into the last six. */
  readonly iv: Buffer;
}

/** Records and bytes under one key, after which the sender moves on. */
export const EPOCH_RECORDS = 2 ** 22;
export const EPOCH_BYTES = 2 ** 36;
export const LAST_EPOCH = 255;

/** The key of `lane` in `epoch` (1 to 255) under a direction's 32-byte secret. */
export function deriveLaneKey(secret: Uint8Array, lane: number, epoch: number): LaneKey {
  const block = (counter: number, previous: Uint8Array) =>
    hmac('sha256', secret)
      .update(previous)
      .update('claw lane v1')
      .update(Buffer.from([lane, epoch, counter]))
      .digest();
  const first = block(1, Buffer.alloc(0));
  const second = block(2, first);
  const key = new AeadKey('aes-256-gcm', first);
  first.fill(0);
  return { key, iv: second.subarray(0, 12) };
}

/** The nonce of record `sequence` under `iv`, written into `out`. */
export function writeNonce(out: Buffer, iv: Buffer, sequence: number): void {
  iv.copy(out);
  const high = Math.floor(sequence / 2 ** 32);
  const low = sequence >>> 0;
  out.writeUInt16BE(out.readUInt16BE(6) ^ high, 6);
  out.writeUInt32BE((out.readUInt32BE(8) ^ low) >>> 0, 8);
}
