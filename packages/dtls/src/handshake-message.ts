/** Handshake messages and the 12-byte header of their fragments (RFC 6347 §4.2.2, RFC 9147 §5.2). */

import { ByteReader } from './byte-reader.ts';
import { fault } from './errors.ts';

export const FRAGMENT_HEADER_BYTES = 12;
/** The longest message we take; a certificate chain of four fits. */
const MAX_MESSAGE_BYTES = 16_384;

export interface HandshakeMessage {
  readonly type: number;
  /** message_seq. */
  readonly sequence: number;
  readonly body: Buffer;
}

export interface Fragment {
  readonly type: number;
  /** Of the whole message. */
  readonly length: number;
  readonly sequence: number;
  readonly offset: number;
  readonly bytes: Buffer;
}

export function writeFragmentHeader(
  out: Buffer,
  message: HandshakeMessage,
  offset: number,
  fragmentLength: number,
): void {
  out[0] = message.type;
  out.writeUIntBE(message.body.length, 1, 3);
  out.writeUInt16BE(message.sequence, 4);
  out.writeUIntBE(offset, 6, 3);
  out.writeUIntBE(fragmentLength, 9, 3);
}

/**
 * The fragments in a record's content, which may hold several.
 * @throws ClawError `DTLS_MALFORMED` when one is cut short, oversize or outside of its message.
 */
export function parseFragments(content: Buffer): Fragment[] {
  const reader = new ByteReader(content);
  const fragments: Fragment[] = [];
  do {
    const type = reader.u8();
    const length = reader.u24();
    const sequence = reader.u16();
    const offset = reader.u24();
    const bytes = reader.vector24();
    if (length > MAX_MESSAGE_BYTES || offset + bytes.length > length || (bytes.length === 0 && length > 0)) {
      throw fault('DTLS_MALFORMED', `a handshake fragment does not fit a message of ${length} bytes`);
    }
    fragments.push({ type, length, sequence, offset, bytes });
  } while (reader.remaining > 0);
  return fragments;
}
