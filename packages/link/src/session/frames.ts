/**
 * Frames inside sealed records: a type byte, then fields as QUIC integers
 * (RFC 9000 §16), then the payload up to the record's end. The table with every
 * field is docs/protocols/sub-channels.md.
 */

import { Reader, varintLength, writeVarint } from '@claw/wire';
import { violated } from '../errors.ts';

/** Longest plaintext of a record: frame header and payload. */
export const MAX_FRAME_BYTES = 64 * 1024 - 64;
export const MAX_SERVICE_BYTES = 128;
export const MAX_META_BYTES = 4096;
const MAX_REASON_BYTES = 256;

const TYPE = {
  operational: 0x01,
  ping: 0x02,
  pong: 0x03,
  credit: 0x04,
  close: 0x05,
  mark: 0x06,
  report: 0x07,
  open: 0x10,
  accept: 0x11,
  data: 0x12,
  end: 0x13,
  reset: 0x14,
  message: 0x20,
  messagePart: 0x21,
} as const;

export type ChannelKind = 'stream' | 'message';

export type Frame =
  | { readonly type: 'operational' }
  | { readonly type: 'ping' | 'pong'; readonly id: number }
  /** `channel` may send up to byte `limit` in all; channel 0 is the link as a whole. */
  | { readonly type: 'credit'; readonly channel: number; readonly limit: number }
  | { readonly type: 'close'; readonly code: number; readonly reason: string }
  /** Lossy lanes: "I sent records below `sequence`", and "I have seen so far". */
  | { readonly type: 'mark' | 'report'; readonly lane: number; readonly sequence: number }
  | {
      readonly type: 'open';
      readonly channel: number;
      readonly kind: ChannelKind;
      readonly service: string;
      readonly meta: Buffer;
    }
  | { readonly type: 'accept'; readonly channel: number; readonly meta: Buffer }
  | { readonly type: 'data'; readonly channel: number; readonly payload: Buffer }
  | { readonly type: 'end'; readonly channel: number }
  | { readonly type: 'reset'; readonly channel: number; readonly code: number; readonly reason: string }
  | { readonly type: 'message'; readonly channel: number; readonly last: boolean; readonly payload: Buffer };

/** The head of a `data` or `message` frame; the payload follows it in the same record. */
export function payloadHead(type: 'data' | 'message' | 'messagePart', channel: number): Buffer {
  const head = Buffer.allocUnsafe(1 + varintLength(channel));
  head[0] = TYPE[type];
  writeVarint(head, channel, 1);
  return head;
}

/** The whole plaintext of any frame that is not bulk. */
export function encodeFrame(frame: Exclude<Frame, { type: 'data' | 'message' }>): Buffer {
  switch (frame.type) {
    case 'operational':
      return Buffer.from([TYPE.operational]);
    case 'ping':
    case 'pong':
      return build(TYPE[frame.type], [frame.id]);
    case 'credit':
      return build(TYPE.credit, [frame.channel, frame.limit]);
    case 'close':
      return build(TYPE.close, [frame.code], text(frame.reason, MAX_REASON_BYTES));
    case 'mark':
    case 'report':
      return build(TYPE[frame.type], [frame.lane, frame.sequence]);
    case 'open': {
      const service = Buffer.from(frame.service);
      return build(TYPE.open, [frame.channel, frame.kind === 'stream' ? 0 : 1, service.length], service, frame.meta);
    }
    case 'accept':
      return build(TYPE.accept, [frame.channel], frame.meta);
    case 'end':
      return build(TYPE.end, [frame.channel]);
    case 'reset':
      return build(TYPE.reset, [frame.channel, frame.code], text(frame.reason, MAX_REASON_BYTES));
  }
}

/**
 * The frame in `plain`; its payload is over the same memory.
 * @throws ClawError `LINK_PROTOCOL_VIOLATED` or `WIRE_MALFORMED`.
 */
export function decodeFrame(plain: Buffer): Frame {
  const reader = new Reader(plain);
  const type = reader.u8();
  switch (type) {
    case TYPE.data:
      return { type: 'data', channel: reader.varint(), payload: reader.rest() };
    case TYPE.message:
    case TYPE.messagePart:
      return { type: 'message', channel: reader.varint(), last: type === TYPE.message, payload: reader.rest() };
    case TYPE.credit:
      return whole(reader, { type: 'credit', channel: reader.varint(), limit: reader.varint() });
    case TYPE.operational:
      return whole(reader, { type: 'operational' });
    case TYPE.ping:
      return whole(reader, { type: 'ping', id: reader.varint() });
    case TYPE.pong:
      return whole(reader, { type: 'pong', id: reader.varint() });
    case TYPE.mark:
      return whole(reader, { type: 'mark', lane: reader.varint(), sequence: reader.varint() });
    case TYPE.report:
      return whole(reader, { type: 'report', lane: reader.varint(), sequence: reader.varint() });
    case TYPE.close:
      return { type: 'close', code: reader.varint(), reason: limited(reader, MAX_REASON_BYTES, 'reason').toString() };
    case TYPE.open: {
      const channel = reader.varint();
      const kind = reader.varint();
      const serviceLength = reader.varint();
      if (kind > 1 || serviceLength > MAX_SERVICE_BYTES)
        throw violated('an open frame has an unknown kind or a long name');
      const service = reader.bytes(serviceLength).toString();
      const meta = limited(reader, MAX_META_BYTES, 'metadata');
      return { type: 'open', channel, kind: kind === 0 ? 'stream' : 'message', service, meta };
    }
    case TYPE.accept:
      return { type: 'accept', channel: reader.varint(), meta: limited(reader, MAX_META_BYTES, 'metadata') };
    case TYPE.end:
      return whole(reader, { type: 'end', channel: reader.varint() });
    case TYPE.reset: {
      const channel = reader.varint();
      const code = reader.varint();
      return { type: 'reset', channel, code, reason: limited(reader, MAX_REASON_BYTES, 'reason').toString() };
    }
    default:
      throw violated(`frame type ${type} is unknown`);
  }
}

function build(type: number, integers: readonly number[], ...tail: readonly Uint8Array[]): Buffer {
  const head = Buffer.allocUnsafe(1 + integers.reduce((sum, value) => sum + varintLength(value), 0));
  head[0] = type;
  let at = 1;
  for (const value of integers) at = writeVarint(head, value, at);
  return tail.length === 0 ? head : Buffer.concat([head, ...tail]);
}

function whole(reader: Reader, frame: Frame): Frame {
  if (reader.remaining > 0) throw violated(`a ${frame.type} frame has ${reader.remaining} bytes too many`);
  return frame;
}

function limited(reader: Reader, maxBytes: number, what: string): Buffer {
  if (reader.remaining > maxBytes)
    throw violated(`${what} of ${reader.remaining} bytes, at most ${maxBytes} are taken`);
  return reader.rest();
}

function text(value: string, maxBytes: number): Buffer {
  return Buffer.from(value).subarray(0, maxBytes);
}
