/** The SRTP protection profiles that can be negotiated (RFC 5764 §4.1.2, RFC 7714 §14.2). */

export type SrtpProfile = 'SRTP_AEAD_AES_128_GCM' | 'SRTP_AEAD_AES_256_GCM' | 'SRTP_AES128_CM_HMAC_SHA1_80';

export const srtpProfileIds: Record<SrtpProfile, number> = {
  SRTP_AEAD_AES_128_GCM: 0x0007,
  SRTP_AEAD_AES_256_GCM: 0x0008,
  SRTP_AES128_CM_HMAC_SHA1_80: 0x0001,
};
