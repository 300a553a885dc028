/** Sizes that every cipher here has (RFC 5116 §5.1, RFC 8439 §2.8), in bytes. */

export const AEAD_TAG_BYTES = 16;
export const AEAD_NONCE_BYTES = 12;
export const BLOCK_BYTES = 16;
