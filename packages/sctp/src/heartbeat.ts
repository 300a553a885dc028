/** HEARTBEAT chunks (RFC 9260 §8.3): proof of life on an idle path, and the carrier of path-MTU probes. */

import type { Random } from '@claw/base';
import { decodeParameters, encodeChunk, encodeParameter } from './chunk-codec.ts';
import { ChunkType, ParameterType } from './chunk-types.ts';

export interface HeartbeatInfo {
  readonly sentMs: number;
  /** Size of the packet as a path-MTU probe, 0 for a plain heartbeat. */
  readonly probeBytes: number;
}

const INFO_BYTES = 20;
/** Chunk and parameter header. */
const HEADER_BYTES = 4 + 4;

export class Heartbeats {
  readonly #nonce: Buffer;

  constructor(random: Random) {
    this.#nonce = random.bytes(8);
  }

  /**
   * A chunk of `chunkBytes`, a multiple of four, or just as large as it must be. A probe is filled within itself and
   * not by a PAD chunk (RFC 4820): werift ends over chunks that it does not know, and everybody knows this one.
   */
  encode(info: HeartbeatInfo, chunkBytes = 0): Buffer {
    const value = Buffer.alloc(Math.max(INFO_BYTES, chunkBytes - HEADER_BYTES));
    this.#nonce.copy(value, 0);
    value.writeDoubleBE(info.sentMs, 8);
    value.writeUInt32BE(info.probeBytes, 16);
    return encodeChunk(ChunkType.heartbeat, 0, encodeParameter(ParameterType.heartbeatInfo, value));
  }

  /** What we sent, read back from a HEARTBEAT ACK; `undefined` when it is not ours. */
  decode(body: Buffer): HeartbeatInfo | undefined {
    const info = decodeParameters(body)?.find(({ type }) => type === ParameterType.heartbeatInfo)?.value;
    if (!info || info.length < INFO_BYTES || !info.subarray(0, 8).equals(this.#nonce)) return undefined;
    return { sentMs: info.readDoubleBE(8), probeBytes: info.readUInt32BE(16) };
  }
}
