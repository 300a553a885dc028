export {
  type CreateCertificateOptions,
  type CreatedCertificate,
  createCertificate,
  type Fingerprint,
  type FingerprintAlgorithm,
  fingerprintOf,
  type Identity,
} from './certificate.ts';
export type { CipherName } from './cipher-suites.ts';
export { DtlsConnection, type DtlsState } from './connection.ts';
export type { DtlsError, DtlsErrorCode } from './errors.ts';
export { createShare, type GroupName, hasMlKem, type KeyShare } from './key-exchange.ts';
export type { DtlsEvent, DtlsOptions, NegotiatedFacts } from './options.ts';
export type { KeyLimits } from './record-layer.ts';
export type { DtlsVersion, Role } from './registry.ts';
export type { SignatureScheme } from './signature-schemes.ts';
export type { SrtpProfile } from './srtp-profiles.ts';
