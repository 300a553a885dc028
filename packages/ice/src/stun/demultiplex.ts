/** What a datagram is, by its first byte: RFC 7983 as updated by RFC 9443 §3. */

export type DatagramKind = 'stun' | 'channel-data' | 'application' | 'unknown';

export function classifyDatagram(bytes: Uint8Array): DatagramKind {
  const first = bytes[0];
  if (first === undefined) return 'unknown';
  if (first < 4) return 'stun';
  // Channel numbers are 0x4000 to 0x4FFF (RFC 8656 §12).
  if (first >= 64 && first < 80) return 'channel-data';
  // DTLS 20–63, QUIC long headers 80–127 and 192–255, RTP and RTCP 128–191; ZRTP (16–19) has no use here.
  if (first >= 20) return 'application';
  return 'unknown';
}
