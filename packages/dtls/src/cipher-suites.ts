/**
 * The cipher suites that we speak: AEAD only, and in DTLS 1.2 only with ephemeral
 * keys and an ECDSA or EdDSA signature (RFC 5289, RFC 7905, RFC 8446 §B.4).
 */

import type { DtlsVersion } from './registry.ts';

/** One name for the suite's record protection; each version has its own number for it. */
export type CipherName = 'AES_128_GCM' | 'AES_256_GCM' | 'CHACHA20_POLY1305';
export type HashName = 'sha256' | 'sha384';

export interface CipherSuite {
  readonly id: number;
  readonly version: DtlsVersion;
  readonly cipher: CipherName;
  readonly hash: HashName;
  readonly hashBytes: number;
  readonly keyBytes: number;
  /** How node:crypto calls the AEAD. */
  readonly algorithm: 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';
}

const AES_128 = {
  cipher: 'AES_128_GCM',
  hash: 'sha256',
  hashBytes: 32,
  keyBytes: 16,
  algorithm: 'aes-128-gcm',
} as const;
const AES_256 = {
  cipher: 'AES_256_GCM',
  hash: 'sha384',
  hashBytes: 48,
  keyBytes: 32,
  algorithm: 'aes-256-gcm',
} as const;
const CHACHA = {
  cipher: 'CHACHA20_POLY1305',
  hash: 'sha256',
  hashBytes: 32,
  keyBytes: 32,
  algorithm: 'chacha20-poly1305',
} as const;

const SUITES: readonly CipherSuite[] = [
  { id: 0x1301, version: '1.3', ...AES_128 },
  { id: 0x1302, version: '1.3', ...AES_256 },
  { id: 0x1303, version: '1.3', ...CHACHA },
  { id: 0xc02b, version: '1.2', ...AES_128 },
  { id: 0xc02c, version: '1.2', ...AES_256 },
  { id: 0xcca9, version: '1.2', ...CHACHA },
];

export const allCiphers: readonly CipherName[] = ['AES_128_GCM', 'AES_256_GCM', 'CHACHA20_POLY1305'];

/** The suites of a version in the order of `ciphers`. */
export function suitesOf(version: DtlsVersion, ciphers: readonly CipherName[]): CipherSuite[] {
  return ciphers.flatMap((cipher) => SUITES.filter((suite) => suite.version === version && suite.cipher === cipher));
}
