/** Just enough DER (ITU-T X.690) to write one self-signed certificate. Foreign ones are read by node:crypto. */

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

export const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts);
export const setOf = (part: Uint8Array): Buffer => der(0x31, part);
export const bitString = (content: Uint8Array): Buffer => der(0x03, Buffer.from([0]), content);
export const utf8String = (text: string): Buffer => der(0x0c, Buffer.from(text));
/** An OBJECT IDENTIFIER from its encoded content. */
export const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
/** `[0] EXPLICIT`. */
export const explicit0 = (part: Uint8Array): Buffer => der(0xa0, part);

/** An INTEGER; the first byte's top bit must be clear and the number minimal. */
export const integer = (bytes: Uint8Array): Buffer => der(0x02, bytes);

/** UTCTime, for the years 1950 to 2049 (RFC 5280 §4.1.2.5.1). */
export function utcTime(timeMs: number): Buffer {
  const digits = new Date(timeMs).toISOString().replace(/[-:T]/g, '').slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}
