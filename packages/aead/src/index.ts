export { type AeadAlgorithm, AeadKey } from './aead-key.ts';
export { BlockKey } from './block-key.ts';
export { loadOpenssl } from './openssl.ts';
export { AEAD_NONCE_BYTES, AEAD_TAG_BYTES } from './sizes.ts';
