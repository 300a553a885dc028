/**
 * The extension list of hello, certificate and request messages (RFC 8446 §4.2) and
 * the content of each extension that we speak. An extension comes once; unknown ones
 * in a ClientHello are passed over, in an answer they were not asked for.
 */

import { ByteReader, u16List } from './byte-reader.ts';
import { u8, u16, vector8, vector16 } from './byte-writer.ts';
import { fault } from './errors.ts';

/** By number, in the order of the wire. */
export type Extensions = ReadonlyMap<number, Buffer>;

/** A group's number and the public bytes. */
export interface KeyShareEntry {
  readonly group: number;
  readonly publicBytes: Buffer;
}

const MAX_EXTENSIONS = 64;

export function encodeExtensions(extensions: Extensions): Buffer {
  return vector16(...[...extensions].flatMap(([type, content]) => [u16(type), vector16(content)]));
}

/** Reads the list that ends a message; none at all is an empty one. */
export function readExtensions(reader: ByteReader): Extensions {
  const extensions = new Map<number, Buffer>();
  if (reader.remaining === 0) return extensions;
  const list = new ByteReader(reader.vector16());
  while (list.remaining > 0) {
    const type = list.u16();
    if (extensions.has(type)) throw fault('DTLS_ILLEGAL_PARAMETER', `extension ${type} comes twice`);
    if (extensions.size >= MAX_EXTENSIONS) throw fault('DTLS_MALFORMED', 'too many extensions');
    extensions.set(type, list.vector16());
  }
  return extensions;
}

/** @throws ClawError `DTLS_ILLEGAL_PARAMETER` when one is there that the other side did not ask for. */
export function allowOnly(extensions: Extensions, allowed: readonly number[]): void {
  for (const type of extensions.keys()) {
    if (!allowed.includes(type)) throw fault('DTLS_ILLEGAL_PARAMETER', `extension ${type} was not asked for`);
  }
}

/** A vector of 16-bit numbers behind a length of two bytes, as in supported_groups. */
export function readU16Vector(content: Buffer): number[] {
  const reader = new ByteReader(content);
  const list = u16List(reader.vector16(2));
  reader.end();
  return list;
}

export function encodeU16Vector(values: readonly number[]): Buffer {
  return vector16(u16(...values));
}

/** supported_versions of a ClientHello. */
export function readVersionList(content: Buffer): number[] {
  const reader = new ByteReader(content);
  const list = u16List(reader.vector8(2, 254));
  reader.end();
  return list;
}

export function encodeVersionList(versions: readonly number[]): Buffer {
  return vector8(u16(...versions));
}

/** A single 16-bit number: the version or the group that a server chose. */
export function readU16(content: Buffer): number {
  const reader = new ByteReader(content);
  const value = reader.u16();
  reader.end();
  return value;
}

export function readKeyShares(content: Buffer): KeyShareEntry[] {
  const reader = new ByteReader(content);
  const list = new ByteReader(reader.vector16());
  reader.end();
  const shares: KeyShareEntry[] = [];
  while (list.remaining > 0) {
    const share = readEntry(list);
    if (shares.some(({ group }) => group === share.group)) {
      throw fault('DTLS_ILLEGAL_PARAMETER', `two key shares are of group ${share.group}`);
    }
    if (shares.length >= MAX_EXTENSIONS) throw fault('DTLS_MALFORMED', 'too many key shares');
    shares.push(share);
  }
  return shares;
}

export function readKeyShare(content: Buffer): KeyShareEntry {
  const reader = new ByteReader(content);
  const share = readEntry(reader);
  reader.end();
  return share;
}

export function encodeKeyShare({ group, publicBytes }: KeyShareEntry): Buffer {
  return Buffer.concat([u16(group), vector16(publicBytes)]);
}

/** Profile numbers of use_srtp (RFC 5764 §4.1.1); an MKI is read and left aside. */
export function readSrtpProfiles(content: Buffer): { profiles: number[]; mki: Buffer } {
  const reader = new ByteReader(content);
  const profiles = u16List(reader.vector16(2));
  const mki = reader.vector8();
  reader.end();
  return { profiles, mki };
}

export function encodeSrtpProfiles(profiles: readonly number[]): Buffer {
  return Buffer.concat([encodeU16Vector(profiles), u8(0)]);
}

/** The cookie extension of DTLS 1.3. */
export function readCookie(content: Buffer): Buffer {
  const reader = new ByteReader(content);
  const cookie = reader.vector16(1);
  reader.end();
  return cookie;
}

function readEntry(reader: ByteReader): KeyShareEntry {
  return { group: reader.u16(), publicBytes: reader.vector16(1) };
}
