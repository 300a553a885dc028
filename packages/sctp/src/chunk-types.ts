/** Numbers on the wire: chunk types, parameters, error causes and payload protocols, with the RFC that gives each. */

export const ChunkType = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  heartbeat: 4,
  heartbeatAck: 5,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  error: 9,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
  /** RFC 8260. */
  iData: 64,
  /** RFC 6525. */
  reconfig: 130,
  /** RFC 4820. */
  pad: 132,
  /** Ours: a part of a data chunk that is too large for the path; see `chunk-pieces.ts`. */
  piece: 161,
  /** RFC 3758. */
  forwardTsn: 192,
  /** RFC 8260. */
  iForwardTsn: 194,
} as const;

/** Flags of DATA and I-DATA; the I flag is RFC 7053. */
export const DataFlag = { end: 1, begin: 2, unordered: 4, immediate: 8 } as const;

/** ABORT and SHUTDOWN COMPLETE: the verification tag is the one of the receiver's packet. */
export const TAG_REFLECTED = 1;

export const ParameterType = {
  heartbeatInfo: 1,
  stateCookie: 7,
  unrecognized: 8,
  /** RFC 6525. */
  outgoingReset: 13,
  incomingReset: 14,
  associationReset: 15,
  reconfigResponse: 16,
  addOutgoingStreams: 17,
  addIncomingStreams: 18,
  /** RFC 9653. */
  zeroChecksumAcceptable: 0x8001,
  /** RFC 5061. */
  supportedExtensions: 0x8008,
  /** RFC 3758. */
  forwardTsnSupported: 0xc000,
} as const;

export const ErrorCause = {
  invalidStream: 1,
  missingParameter: 2,
  staleCookie: 3,
  outOfResource: 4,
  unrecognizedChunk: 6,
  invalidParameter: 7,
  unrecognizedParameters: 8,
  noUserData: 9,
  cookieInShutdown: 10,
  userInitiated: 12,
  protocolViolation: 13,
} as const;

/** Payload protocol identifiers (RFC 8831 §8, RFC 8832 §8.1). */
export const Ppid = {
  dcep: 50,
  string: 51,
  binaryPartial: 52,
  binary: 53,
  stringPartial: 54,
  stringEmpty: 56,
  binaryEmpty: 57,
} as const;

/** RFC 9653 §4: the error detection method "SCTP over DTLS". */
export const ZERO_CHECKSUM_DTLS = 1;

export const COMMON_HEADER_BYTES = 12;
export const CHUNK_HEADER_BYTES = 4;
export const DATA_HEADER_BYTES = 16;
export const I_DATA_HEADER_BYTES = 20;
