export { boundedBytes, decodeCbor, encodeCbor, fixedBytes, type WireErrorCode } from './cbor.ts';
export { Reader, varintLength, writeVarint } from './varint.ts';
