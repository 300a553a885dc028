/**
 * INIT and INIT ACK (RFC 9260 §3.3.2) and what the two ends agree on by them.
 * An INIT chunk in a session description is the same bytes (draft-hancke-tsvwg-snap).
 */

import { readU16, readU32, writeU16, writeU32 } from './byte-order.ts';
import { decodeParameters, encodeChunk, encodeParameter, encodeU32s } from './chunk-codec.ts';
import { ChunkType, ParameterType, ZERO_CHECKSUM_DTLS } from './chunk-types.ts';

export interface InitParameters {
  readonly tag: number;
  readonly receiveWindowBytes: number;
  readonly outboundStreams: number;
  readonly inboundStreams: number;
  readonly initialTsn: number;
  readonly hasForwardTsn: boolean;
  readonly hasInterleaving: boolean;
  readonly hasReconfig: boolean;
  readonly hasPieces: boolean;
  readonly acceptsZeroChecksum: boolean;
  readonly cookie: Buffer | undefined;
  /** Whole parameters to report back (RFC 9260 §3.2.1). */
  readonly unrecognized: readonly Buffer[];
}

export type InitOffer = Omit<InitParameters, 'cookie' | 'unrecognized' | 'hasReconfig' | 'hasForwardTsn' | 'hasPieces'>;

const FIXED_BYTES = 16;
const HIGH_BIT_SKIP = 0x8000;
const HIGH_BIT_REPORT = 0x4000;

/** `extra`: parameters already encoded, such as the state cookie. */
export function encodeInit(type: number, offer: InitOffer, ...extra: readonly Uint8Array[]): Buffer {
  const fixed = Buffer.alloc(FIXED_BYTES);
  writeU32(fixed, 0, offer.tag);
  writeU32(fixed, 4, offer.receiveWindowBytes);
  writeU16(fixed, 8, offer.outboundStreams);
  writeU16(fixed, 10, offer.inboundStreams);
  writeU32(fixed, 12, offer.initialTsn);
  const extensions: number[] = [ChunkType.reconfig, ChunkType.forwardTsn, ChunkType.piece];
  if (offer.hasInterleaving) extensions.push(ChunkType.iData, ChunkType.iForwardTsn);
  const parameters = [
    encodeParameter(ParameterType.supportedExtensions, Uint8Array.from(extensions)),
    encodeParameter(ParameterType.forwardTsnSupported, new Uint8Array(0)),
  ];
  if (offer.acceptsZeroChecksum) {
    parameters.push(encodeParameter(ParameterType.zeroChecksumAcceptable, encodeU32s(ZERO_CHECKSUM_DTLS)));
  }
  return encodeChunk(type, 0, fixed, ...parameters, ...extra);
}

/** Reads the body of an INIT or INIT ACK; `undefined` when it is malformed or breaks a rule of RFC 9260 §3.3.2. */
export function decodeInit(body: Buffer): InitParameters | undefined {
  if (body.length < FIXED_BYTES) return undefined;
  const parameters = decodeParameters(body.subarray(FIXED_BYTES));
  const tag = readU32(body, 0);
  const outboundStreams = readU16(body, 8);
  const inboundStreams = readU16(body, 10);
  if (!parameters || tag === 0 || outboundStreams === 0 || inboundStreams === 0) return undefined;
  let extensions: Buffer | undefined;
  let cookie: Buffer | undefined;
  let hasForwardTsn = false;
  let acceptsZeroChecksum = false;
  const unrecognized: Buffer[] = [];
  for (const { type, value } of parameters) {
    if (type === ParameterType.supportedExtensions) extensions = value;
    else if (type === ParameterType.stateCookie) cookie = value;
    else if (type === ParameterType.forwardTsnSupported) hasForwardTsn = true;
    else if (type === ParameterType.zeroChecksumAcceptable) {
      acceptsZeroChecksum = value.length >= 4 && readU32(value, 0) === ZERO_CHECKSUM_DTLS;
    } else if (!isKnown(type)) {
      if (type & HIGH_BIT_REPORT && unrecognized.length < 16) unrecognized.push(encodeParameter(type, value));
      if (!(type & HIGH_BIT_SKIP)) break;
    }
  }
  return {
    tag,
    receiveWindowBytes: readU32(body, 4),
    outboundStreams,
    inboundStreams,
    initialTsn: readU32(body, 12),
    hasForwardTsn,
    hasInterleaving: extensions?.includes(ChunkType.iData) ?? false,
    hasReconfig: extensions?.includes(ChunkType.reconfig) ?? false,
    hasPieces: extensions?.includes(ChunkType.piece) ?? false,
    acceptsZeroChecksum,
    cookie,
    unrecognized,
  };
}

/** Reads a whole INIT chunk as a session description carries it. */
export function decodeInitChunk(chunk: Buffer): InitParameters | undefined {
  if (chunk.length < 4 || chunk[0] !== ChunkType.init) return undefined;
  const length = readU16(chunk, 2);
  return length < 4 || length > chunk.length ? undefined : decodeInit(chunk.subarray(4, length));
}

/** Addresses, cookie preservative, supported addresses, ECN and the AUTH family: known, and no use over DTLS. */
function isKnown(type: number): boolean {
  return (type >= 5 && type <= 12) || (type >= 0x8002 && type <= 0x8004);
}
