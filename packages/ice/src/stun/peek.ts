/**
 * What the reader of a shared socket must know of a STUN message to say whose it is:
 * class, transaction, and whom a check names (RFC 8489 §5, §14.3). Nothing is verified.
 */

export type PeekedStun =
  | { readonly class: 'request'; readonly transaction: string; readonly usernameFragment: string | undefined }
  | { readonly class: 'response'; readonly transaction: string }
  | { readonly class: 'indication' };

const HEADER_BYTES = 20;
const MAGIC_COOKIE = 0x2112_a442;
const USERNAME = 0x0006;
const COLON = 0x3a;

/** Undefined when it is no STUN message. */
export function peekStun(bytes: Uint8Array): PeekedStun | undefined {
  if (bytes.length < HEADER_BYTES || uint16(bytes, 0) > 0x3fff || bytes.length % 4 !== 0) return undefined;
  if (uint16(bytes, 4) * 65_536 + uint16(bytes, 6) !== MAGIC_COOKIE) return undefined;
  // The class is two bits amid the method: 00 request, 01 indication, 10 success, 11 error.
  const isResponse = ((bytes[0] as number) & 0x01) !== 0;
  if (!isResponse && ((bytes[1] as number) & 0x10) !== 0) return { class: 'indication' };
  const transaction = Buffer.from(bytes.buffer, bytes.byteOffset + 8, 12).toString('latin1');
  if (isResponse) return { class: 'response', transaction };
  return { class: 'request', transaction, usernameFragment: namedBy(bytes) };
}

/** The part of USERNAME before the colon: the receiver's own (RFC 8445 §7.2.2). */
function namedBy(bytes: Uint8Array): string | undefined {
  for (let at = HEADER_BYTES; at + 4 <= bytes.length; ) {
    const length = uint16(bytes, at + 2);
    const end = at + 4 + length;
    if (end > bytes.length) return undefined;
    if (uint16(bytes, at) === USERNAME) {
      const colonAt = bytes.subarray(at + 4, end).indexOf(COLON);
      if (colonAt < 0) return undefined;
      return Buffer.from(bytes.buffer, bytes.byteOffset + at + 4, colonAt).toString('latin1');
    }
    at += 4 + ((length + 3) & ~3);
  }
  return undefined;
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}
