/** Writes the presentation language of RFC 8446 §3, for messages that are made once a handshake. */

export function u8(value: number): Buffer {
  return Buffer.from([value]);
}

export function u16(...values: number[]): Buffer {
  const out = Buffer.allocUnsafe(values.length * 2);
  values.forEach((value, index) => out.writeUInt16BE(value, index * 2));
  return out;
}

function u24(value: number): Buffer {
  const out = Buffer.allocUnsafe(3);
  out.writeUIntBE(value, 0, 3);
  return out;
}

export function u64(value: number): Buffer {
  const out = Buffer.allocUnsafe(8);
  out.writeUInt32BE(Math.floor(value / 2 ** 32), 0);
  out.writeUInt32BE(value % 2 ** 32, 4);
  return out;
}

/** The parts behind their length in one byte. */
export function vector8(...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([u8(content.length), content]);
}

export function vector16(...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([u16(content.length), content]);
}

export function vector24(...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([u24(content.length), content]);
}
