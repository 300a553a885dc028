/** The messages of the data channel establishment protocol (RFC 8832 §5). */

export interface OpenMessage {
  readonly label: string;
  readonly protocol: string;
  readonly isOrdered: boolean;
  readonly maxRetransmits: number | undefined;
  readonly maxPacketLifeTimeMs: number | undefined;
  readonly priority: number;
}

export const ACK_MESSAGE = Buffer.of(2);
const OPEN_TYPE = 3;
const FIXED_BYTES = 12;
const UNORDERED = 0x80;
const Reliability = { full: 0, retransmits: 1, lifetime: 2 } as const;

export function encodeOpen(open: OpenMessage): Buffer {
  const label = Buffer.from(open.label);
  const protocol = Buffer.from(open.protocol);
  const reliability =
    open.maxRetransmits !== undefined
      ? Reliability.retransmits
      : open.maxPacketLifeTimeMs !== undefined
        ? Reliability.lifetime
        : Reliability.full;
  const bytes = Buffer.alloc(FIXED_BYTES + label.length + protocol.length);
  bytes[0] = OPEN_TYPE;
  bytes[1] = reliability | (open.isOrdered ? 0 : UNORDERED);
  bytes.writeUInt16BE(open.priority, 2);
  bytes.writeUInt32BE(open.maxRetransmits ?? open.maxPacketLifeTimeMs ?? 0, 4);
  bytes.writeUInt16BE(label.length, 8);
  bytes.writeUInt16BE(protocol.length, 10);
  label.copy(bytes, FIXED_BYTES);
  protocol.copy(bytes, FIXED_BYTES + label.length);
  return bytes;
}

/** The message, `ack`, or `undefined` when it is neither. */
export function decodeDcep(bytes: Buffer): OpenMessage | 'ack' | undefined {
  if (bytes[0] === ACK_MESSAGE[0]) return 'ack';
  if (bytes[0] !== OPEN_TYPE || bytes.length < FIXED_BYTES) return undefined;
  const type = bytes[1] as number;
  const reliability = type & ~UNORDERED;
  const labelEnd = FIXED_BYTES + bytes.readUInt16BE(8);
  const protocolEnd = labelEnd + bytes.readUInt16BE(10);
  if (reliability > Reliability.lifetime || protocolEnd > bytes.length) return undefined;
  const limit = bytes.readUInt32BE(4);
  return {
    label: bytes.toString('utf8', FIXED_BYTES, labelEnd),
    protocol: bytes.toString('utf8', labelEnd, protocolEnd),
    isOrdered: (type & UNORDERED) === 0,
    maxRetransmits: reliability === Reliability.retransmits ? limit : undefined,
    maxPacketLifeTimeMs: reliability === Reliability.lifetime ? limit : undefined,
    priority: bytes.readUInt16BE(2),
  };
}
