export type { CountedCarrierStatus } from './carriers/carrier-counters.ts';
export {
  HAND_TEXT_PREFIX,
  type HandCarrier,
  type HandCarrierOptions,
  openHandCarrier,
  readHandText,
  writeHandText,
} from './carriers/hand-carrier.ts';
export {
  LAN_MAX_ENVELOPE_BYTES,
  type LanCarrier,
  type LanCarrierOptions,
  openLanCarrier,
} from './carriers/lan-carrier.ts';
export { openRelayCarrier, type RelayCarrier, type RelayCarrierOptions } from './carriers/relay-carrier.ts';
export { parseRelayUrl } from './carriers/relay-url.ts';
export {
  createEnvelopeReader,
  type EnvelopeContent,
  type EnvelopeReader,
  isEnvelopeFor,
  MAX_BODY_BYTES,
  MAX_CLOCK_SKEW_MS,
  MAX_ENVELOPE_BYTES,
  MAX_LIFETIME_MS,
  type OpenedEnvelope,
  openEnvelope,
  type Recipient,
  sealEnvelope,
} from './envelope.ts';
export type { EnvelopeErrorCode, SignalingErrorCode } from './errors.ts';
export type { Message } from './inbox.ts';
export type { RelayStats } from './relay/relay-hub.ts';
export { DEFAULT_RELAY_LIMITS, type RelayLimits } from './relay/relay-limits.ts';
export { openRelay, type Relay, type RelayOptions } from './relay/relay-server.ts';
export { openRouter, type Posted, type PostOptions, type Router, type RouterOptions } from './router.ts';
export type { RouterStats } from './router-stats.ts';
export { TokenBucket } from './token-bucket.ts';
