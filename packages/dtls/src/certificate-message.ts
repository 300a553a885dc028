/** Certificate, CertificateRequest and CertificateVerify of both versions (RFC 5246 §7.4, RFC 8446 §4.4). */

import { ByteReader, u16List } from './byte-reader.ts';
import { u8, u16, vector8, vector16, vector24 } from './byte-writer.ts';
import { fault } from './errors.ts';
import { allowOnly, encodeExtensions, encodeU16Vector, readExtensions, readU16Vector } from './extensions.ts';
import { type DtlsVersion, extensionType } from './registry.ts';
import { allSchemeIds } from './signature-schemes.ts';

const ECDSA_SIGN = 64;

export interface SignedBy {
  readonly scheme: number;
  readonly signature: Buffer;
}

export function encodeCertificate(version: DtlsVersion, certificate: Uint8Array): Buffer {
  if (version === '1.2') return vector24(vector24(certificate));
  return Buffer.concat([vector8(), vector24(vector24(certificate), u16(0))]);
}

/** The peer's own certificate; others of a chain mean nothing here. @throws ClawError when there is none. */
export function parseCertificate(version: DtlsVersion, body: Buffer): Buffer {
  const reader = new ByteReader(body);
  if (version === '1.3' && reader.vector8().length > 0) {
    throw fault('DTLS_ILLEGAL_PARAMETER', 'a Certificate answers a request that was not made');
  }
  const list = new ByteReader(reader.vector24());
  reader.end();
  if (list.remaining === 0) throw fault('DTLS_CERTIFICATE_INVALID', 'the peer has no certificate');
  const certificate = list.vector24(1);
  if (version === '1.3') allowOnly(readExtensions(new ByteReader(prefixed(list))), []);
  while (list.remaining > 0) {
    list.vector24(1);
    if (version === '1.3') list.vector16();
  }
  return Buffer.from(certificate);
}

export function encodeCertificateRequest(version: DtlsVersion): Buffer {
  const schemes = encodeU16Vector(allSchemeIds);
  if (version === '1.2') return Buffer.concat([vector8(u8(ECDSA_SIGN)), schemes, vector16()]);
  return Buffer.concat([vector8(), encodeExtensions(new Map([[extensionType.signatureAlgorithms, schemes]]))]);
}

/** The signature schemes that the server takes. */
export function parseCertificateRequest(version: DtlsVersion, body: Buffer): number[] {
  const reader = new ByteReader(body);
  if (version === '1.2') {
    const types = reader.vector8(1);
    const schemes = u16List(reader.vector16(2));
    reader.vector16();
    reader.end();
    if (!types.includes(ECDSA_SIGN)) throw fault('DTLS_NEGOTIATION_FAILED', 'the server takes no ECDSA certificate');
    return schemes;
  }
  if (reader.vector8().length > 0) throw fault('DTLS_ILLEGAL_PARAMETER', 'a CertificateRequest has a context');
  const schemes = readExtensions(reader).get(extensionType.signatureAlgorithms);
  reader.end();
  if (!schemes) throw fault('DTLS_ILLEGAL_PARAMETER', 'a CertificateRequest names no signature schemes');
  return readU16Vector(schemes);
}

export function encodeSigned({ scheme, signature }: SignedBy): Buffer {
  return Buffer.concat([u16(scheme), vector16(signature)]);
}

/** Reads the signature that ends a message. */
export function readSigned(reader: ByteReader): SignedBy {
  const scheme = reader.u16();
  const signature = reader.vector16();
  reader.end();
  return { scheme, signature };
}

function prefixed(list: ByteReader): Buffer {
  return vector16(list.vector16());
}
