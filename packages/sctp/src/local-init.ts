/** What we offer in our INIT: made afresh, or read back from the one in our session description (SNAP). */

import { readU32 } from './byte-order.ts';
import { ChunkType } from './chunk-types.ts';
import { sctpError } from './errors.ts';
import { decodeInitChunk, encodeInit, type InitOffer } from './init-chunk.ts';
import { MAX_STREAMS, type ResolvedOptions, resolveOptions, type SctpOptions } from './options.ts';
import { initialWindowBytes } from './receiver.ts';

/** An INIT chunk for a session description that is written before the association is made (SNAP). */
export function createInit(options: SctpOptions): Buffer {
  return encodeInit(ChunkType.init, makeOffer(resolveOptions(options)));
}

export function makeOffer(options: ResolvedOptions): InitOffer {
  const random = options.random.bytes(8);
  return {
    tag: readU32(random, 0) || 1,
    receiveWindowBytes: initialWindowBytes(options.receiveWindowBytes, options.maxMessageBytes),
    outboundStreams: MAX_STREAMS,
    inboundStreams: MAX_STREAMS,
    initialTsn: readU32(random, 4),
    hasInterleaving: options.interleaving,
    acceptsZeroChecksum: options.zeroChecksum,
  };
}

/** @throws SCTP_MALFORMED */
export function readOwnInit(chunk: Buffer): InitOffer {
  const own = decodeInitChunk(chunk);
  if (!own) throw sctpError('SCTP_MALFORMED', 'localInit is no INIT chunk');
  return own;
}
