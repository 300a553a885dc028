/**
 * Packets out of a byte stream. Two framings: RFC 4571 for ICE-TCP (a length of
 * 16 bits before each packet) and TURN's own (RFC 8656 §12.5: STUN messages and
 * ChannelData carry their length, ChannelData is padded to four bytes).
 *
 * Each byte is copied at most once, memory is bounded by one packet whatever the
 * chunks, and a stream that cannot be either ends with ICE_FRAME_TOO_LARGE.
 */

import { iceError } from '../errors.ts';
import { HEADER_BYTES } from './constants.ts';

export type StreamFraming = 'rfc4571' | 'turn';

interface FrameSize {
  /** Bytes before the packet that are not part of it. */
  readonly skip: number;
  readonly packetBytes: number;
  /** Bytes behind the packet that are not part of it. */
  readonly padding: number;
}

export class StreamDeframer {
  readonly #sizeOf: (head: Buffer) => FrameSize | undefined;
  readonly #maxBytes: number;
  readonly #head = Buffer.alloc(4);
  #headBytes = 0;
  #size: FrameSize | undefined;
  #packet = Buffer.alloc(0);
  #filled = 0;

  /** `maxBytes`: of one packet. Default: what 16 bits can say. */
  constructor(framing: StreamFraming, maxBytes = 0xffff + HEADER_BYTES) {
    this.#sizeOf = framing === 'turn' ? turnSize : rfc4571Size;
    this.#maxBytes = maxBytes;
  }

  /** Packets that `chunk` completes; each owns its bytes. Throws ICE_FRAME_TOO_LARGE, after which the stream is lost. */
  push(chunk: Uint8Array): Buffer[] {
    const packets: Buffer[] = [];
    let at = 0;
    while (at < chunk.length || this.#isComplete) {
      if (!this.#size) {
        this.#head[this.#headBytes++] = chunk[at++] ?? 0;
        this.#size = this.#sizeOf(this.#head.subarray(0, this.#headBytes));
        if (this.#size) this.#begin(this.#size);
        continue;
      }
      const { packetBytes, padding } = this.#size;
      const take = Math.min(chunk.length - at, packetBytes + padding - this.#filled);
      const useful = Math.max(0, Math.min(take, packetBytes - this.#filled));
      if (useful > 0) this.#packet.set(chunk.subarray(at, at + useful), this.#filled);
      this.#filled += take;
      at += take;
      if (!this.#isComplete) break;
      packets.push(this.#packet);
      this.#size = undefined;
      this.#headBytes = 0;
    }
    return packets;
  }

  get #isComplete(): boolean {
    return this.#size !== undefined && this.#filled >= this.#size.packetBytes + this.#size.padding;
  }

  #begin({ skip, packetBytes }: FrameSize): void {
    if (packetBytes > this.#maxBytes) {
      throw iceError('ICE_FRAME_TOO_LARGE', `a frame of ${packetBytes} bytes is above the limit of ${this.#maxBytes}`);
    }
    this.#packet = Buffer.alloc(packetBytes);
    this.#packet.set(this.#head.subarray(skip, this.#headBytes));
    this.#filled = this.#headBytes - skip;
  }
}

/** The packet with its length before it, in new memory. Throws ICE_FRAME_TOO_LARGE. */
export function frameRfc4571(packet: Uint8Array): Buffer {
  if (packet.length > 0xffff) throw iceError('ICE_FRAME_TOO_LARGE', `a packet of ${packet.length} bytes has no frame`);
  const framed = Buffer.allocUnsafe(2 + packet.length);
  framed.writeUInt16BE(packet.length, 0);
  framed.set(packet, 2);
  return framed;
}

function rfc4571Size(head: Buffer): FrameSize | undefined {
  return head.length < 2 ? undefined : { skip: 2, packetBytes: head.readUInt16BE(0), padding: 0 };
}

function turnSize(head: Buffer): FrameSize | undefined {
  if (head.length < 4) return undefined;
  const length = head.readUInt16BE(2);
  const first = head[0] ?? 255;
  if (first < 4) return { skip: 0, packetBytes: HEADER_BYTES + length, padding: 0 };
  if (first >= 64 && first < 80) return { skip: 0, packetBytes: 4 + length, padding: -length & 3 };
  throw iceError('ICE_FRAME_TOO_LARGE', `neither STUN nor ChannelData begins with ${first}`);
}
