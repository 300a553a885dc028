/** Multicast DNS responses for tests. */

export interface MdnsRecord {
  readonly name: string;
  readonly type: number;
  readonly data: Buffer;
  /** Default: IN, and all there is. */
  readonly class?: number;
  /** Seconds. Default 120. */
  readonly ttl?: number;
}

export function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.of(0)]);
}

/** `answers`: how many of the records are; the others stand beside them. `cut`: bytes that are missing at the end. */
export function mdnsResponse(
  records: readonly MdnsRecord[],
  { flags = 0x8400, answers = records.length, cut = 0 } = {},
): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(flags, 2);
  header.writeUInt16BE(answers, 6);
  header.writeUInt16BE(records.length - answers, 10);
  const bodies = records.map(({ name, type, data, class: kind = 0x8001, ttl = 120 }) => {
    const fixed = Buffer.alloc(10);
    fixed.writeUInt16BE(type, 0);
    fixed.writeUInt16BE(kind, 2);
    fixed.writeUInt32BE(ttl, 4);
    fixed.writeUInt16BE(data.length, 8);
    return Buffer.concat([encodeName(name), fixed, data]);
  });
  const whole = Buffer.concat([header, ...bodies]);
  return whole.subarray(0, whole.length - cut);
}
