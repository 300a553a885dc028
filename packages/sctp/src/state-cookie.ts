/**
 * The state cookie of the four-way handshake (RFC 9260 §5.1.3): everything the
 * answerer needs to build the association, authenticated, so that it keeps nothing.
 */

import { equalBytes, hmac } from '@claw/base';
import { readU32, writeU32 } from './byte-order.ts';

export interface StateCookie {
  readonly createdMs: number;
  readonly localTag: number;
  readonly peerTag: number;
  readonly localTsn: number;
  /** The tags of the association that existed when the INIT came, 0 when none (RFC 9260 §5.2.2). */
  readonly localTieTag: number;
  readonly peerTieTag: number;
  /** The peer's INIT, as sent. */
  readonly peerInit: Buffer;
}

const MAC_BYTES = 32;
const FIXED_BYTES = 28;

export function sealCookie(key: Uint8Array, cookie: StateCookie): Buffer {
  const body = Buffer.alloc(FIXED_BYTES + cookie.peerInit.length);
  body.writeDoubleBE(cookie.createdMs, 0);
  writeU32(body, 8, cookie.localTag);
  writeU32(body, 12, cookie.peerTag);
  writeU32(body, 16, cookie.localTsn);
  writeU32(body, 20, cookie.localTieTag);
  writeU32(body, 24, cookie.peerTieTag);
  body.set(cookie.peerInit, FIXED_BYTES);
  return Buffer.concat([mac(key, body), body]);
}

/** The cookie, or `undefined` when it is not one of ours. */
export function openCookie(key: Uint8Array, bytes: Buffer): StateCookie | undefined {
  if (bytes.length < MAC_BYTES + FIXED_BYTES) return undefined;
  const body = bytes.subarray(MAC_BYTES);
  if (!equalBytes(bytes.subarray(0, MAC_BYTES), mac(key, body))) return undefined;
  return {
    createdMs: body.readDoubleBE(0),
    localTag: readU32(body, 8),
    peerTag: readU32(body, 12),
    localTsn: readU32(body, 16),
    localTieTag: readU32(body, 20),
    peerTieTag: readU32(body, 24),
    peerInit: body.subarray(FIXED_BYTES),
  };
}

function mac(key: Uint8Array, body: Uint8Array): Buffer {
  return hmac('sha256', key).update(body).digest();
}
