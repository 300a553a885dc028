/**
 * Just enough DER (ITU-T X.690) to write a certificate: the inner handshake's leaf
 * and the self-signed one of DTLS. Writing only: foreign certificates are read by
 * node:crypto. An ASN.1 library costs the key holder 7 to 23 MB of memory for this
 * (docs/adr/0004-key-holder.md).
 */

/** One element: tag, definite length, content. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

export const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts);
export const setOf = (part: Uint8Array): Buffer => der(0x31, part);
export const octetString = (content: Uint8Array): Buffer => der(0x04, content);
export const bitString = (content: Uint8Array): Buffer => der(0x03, Buffer.from([0]), content);
export const utf8String = (text: string): Buffer => der(0x0c, Buffer.from(text));
export const boolean = (value: boolean): Buffer => der(0x01, Buffer.from([value ? 0xff : 0]));
/** Context-specific and constructed: `[number] EXPLICIT`. */
export const explicit = (number: number, part: Uint8Array): Buffer => der(0xa0 | number, part);

/** A positive INTEGER from big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const trimmed = bytes.subarray(start);
  return (trimmed[0] as number) & 0x80 ? der(0x02, Buffer.from([0]), trimmed) : der(0x02, trimmed);
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const septets = [arc & 0x7f];
    for (let value = arc >>> 7; value > 0; value >>>= 7) septets.unshift((value & 0x7f) | 0x80);
    bytes.push(...septets);
  }
  return der(0x06, Buffer.from(bytes));
}

/** GeneralizedTime, UTC, whole seconds (RFC 5280 §4.1.2.5.2). */
export function generalizedTime(timeMs: number): Buffer {
  const digits = new Date(timeMs).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return der(0x18, Buffer.from(`${digits}Z`));
}

/** UTCTime, which RFC 5280 §4.1.2.5.1 demands up to the year 2049. */
export function utcTime(timeMs: number): Buffer {
  const digits = new Date(timeMs).toISOString().replace(/[-:T]/g, '').slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}
