/** ServerKeyExchange of DTLS 1.2 (RFC 8422 §5.4): a named curve, a point, a signature over both. */

import { ByteReader } from './byte-reader.ts';
import { u8, u16, vector8 } from './byte-writer.ts';
import { fault } from './errors.ts';
import { type GroupName, groupIds, groupOf } from './key-exchange.ts';

export interface EcdheParameters {
  readonly group: GroupName;
  readonly publicBytes: Buffer;
  /** What is signed, beside the randoms. */
  readonly parameters: Buffer;
  /** At the signature. */
  readonly signed: ByteReader;
}

const NAMED_CURVE = 3;

export function encodeEcdheParameters(group: GroupName, publicBytes: Uint8Array): Buffer {
  return Buffer.concat([u8(NAMED_CURVE), u16(groupIds[group]), vector8(publicBytes)]);
}

/** @throws ClawError `DTLS_ILLEGAL_PARAMETER` when the group is not one of `offered`. */
export function readEcdheParameters(body: Buffer, offered: readonly GroupName[]): EcdheParameters {
  const signed = new ByteReader(body);
  const type = signed.u8();
  const group = groupOf(signed.u16());
  const publicBytes = signed.vector8(1);
  if (type !== NAMED_CURVE || !group || !offered.includes(group) || group === 'X25519MLKEM768') {
    throw fault('DTLS_ILLEGAL_PARAMETER', 'the server chose a group that was not offered');
  }
  return { group, publicBytes, parameters: body.subarray(0, body.length - signed.remaining), signed };
}
