export type { RTCConfiguration } from './configuration.ts';
export { createWebrtcEngine, type WebrtcEngineOptions } from './engine.ts';
export type { EngineErrorCode } from './errors.ts';
export type { SessionDescription } from './negotiation.ts';
export type {
  ConnectionState,
  GatheringState,
  SessionOptions,
  SignalingState,
} from './peer-session.ts';
export { rehearse } from './rehearse.ts';
export { RTCCertificate } from './rtc-certificate.ts';
export { RTCDataChannel } from './rtc-data-channel.ts';
export { RTCError, RTCErrorEvent } from './rtc-error.ts';
export { RTCDataChannelEvent, RTCPeerConnectionIceErrorEvent, RTCPeerConnectionIceEvent } from './rtc-events.ts';
export { RTCIceCandidate, type RTCIceCandidateInit } from './rtc-ice-candidate.ts';
export { type RTCDataChannelInit, RTCPeerConnection } from './rtc-peer-connection.ts';
export { RTCSessionDescription } from './rtc-session-description.ts';
export { RTCDtlsTransport, RTCIceTransport, RTCSctpTransport } from './rtc-transports.ts';
