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
export { RTCDataChannel } from './rtc-data-channel.ts';
export { RTCError, RTCErrorEvent } from './rtc-error.ts';
export {
  RTCCertificate,
  type RTCConfiguration,
  RTCDataChannelEvent,
  type RTCDataChannelInit,
  RTCIceCandidate,
  type RTCIceCandidateInit,
  RTCPeerConnection,
  RTCPeerConnectionIceEvent,
} from './rtc-peer-connection.ts';
