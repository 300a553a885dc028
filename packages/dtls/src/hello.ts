/** ClientHello, ServerHello and HelloVerifyRequest (RFC 9147 §5.3, RFC 6347 §4.2.1, RFC 5246 §7.4.1). */

import { ByteReader, u16List } from './byte-reader.ts';
import { u8, u16, vector8, vector16 } from './byte-writer.ts';
import { fault } from './errors.ts';
import { type Extensions, encodeExtensions, readExtensions } from './extensions.ts';
import { wireVersion } from './registry.ts';

export const RANDOM_BYTES = 32;

export interface ClientHello {
  readonly random: Buffer;
  readonly sessionId: Buffer;
  /** Of DTLS 1.2; that of 1.3 is an extension. */
  readonly cookie: Buffer;
  readonly cipherSuites: readonly number[];
  readonly extensions: Extensions;
}

export interface ServerHello {
  readonly random: Buffer;
  readonly sessionId: Buffer;
  readonly cipherSuite: number;
  readonly extensions: Extensions;
}

/** The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3). */
export const retryRandom = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');

/** The end of a server's random that could have spoken 1.3 and spoke 1.2 (RFC 8446 §4.1.3). */
export const downgradeMark12 = Buffer.from('444f574e47524401', 'hex');
/** The same of one that spoke less than 1.2, which we refuse anyway. */
export const downgradeMark11 = Buffer.from('444f574e47524400', 'hex');

const NULL_COMPRESSION = 0;

export function encodeClientHello(hello: ClientHello): Buffer {
  return Buffer.concat([
    u16(wireVersion.dtls12),
    hello.random,
    vector8(hello.sessionId),
    vector8(hello.cookie),
    vector16(u16(...hello.cipherSuites)),
    vector8(u8(NULL_COMPRESSION)),
    encodeExtensions(hello.extensions),
  ]);
}

export function parseClientHello(body: Buffer): ClientHello {
  const reader = new ByteReader(body);
  const version = reader.u16();
  // Versions of DTLS count downwards: 1.0 is 0xfeff.
  if (version > wireVersion.dtls12 || version < 0xfe00) {
    throw fault('DTLS_NEGOTIATION_FAILED', 'the client speaks no DTLS 1.2');
  }
  const random = reader.bytes(RANDOM_BYTES);
  const sessionId = reader.vector8(0, 32);
  const cookie = reader.vector8();
  const cipherSuites = u16List(reader.vector16(2));
  const compressions = reader.vector8(1);
  if (!compressions.includes(NULL_COMPRESSION)) {
    throw fault('DTLS_ILLEGAL_PARAMETER', 'the client insists on compression');
  }
  const extensions = readExtensions(reader);
  reader.end();
  return { random, sessionId, cookie, cipherSuites, extensions };
}

export function encodeServerHello(hello: ServerHello): Buffer {
  return Buffer.concat([
    u16(wireVersion.dtls12),
    hello.random,
    vector8(hello.sessionId),
    u16(hello.cipherSuite),
    u8(NULL_COMPRESSION),
    encodeExtensions(hello.extensions),
  ]);
}

export function parseServerHello(body: Buffer): ServerHello {
  const reader = new ByteReader(body);
  if (reader.u16() !== wireVersion.dtls12) throw fault('DTLS_NEGOTIATION_FAILED', 'the server speaks no DTLS 1.2');
  const random = reader.bytes(RANDOM_BYTES);
  const sessionId = reader.vector8(0, 32);
  const cipherSuite = reader.u16();
  if (reader.u8() !== NULL_COMPRESSION) throw fault('DTLS_ILLEGAL_PARAMETER', 'the server chose compression');
  const extensions = readExtensions(reader);
  reader.end();
  return { random, sessionId, cipherSuite, extensions };
}

export function encodeHelloVerifyRequest(cookie: Buffer): Buffer {
  // RFC 6347 §4.2.1: the version is that of DTLS 1.0, whatever will be negotiated.
  return Buffer.concat([u16(wireVersion.dtls10), vector8(cookie)]);
}

/** The cookie. */
export function parseHelloVerifyRequest(body: Buffer): Buffer {
  const reader = new ByteReader(body);
  if (reader.u16() >> 8 !== 0xfe) throw fault('DTLS_MALFORMED', 'a HelloVerifyRequest is not of DTLS');
  const cookie = reader.vector8();
  reader.end();
  return cookie;
}
