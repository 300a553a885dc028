export type { Carrier, CarrierStatus, EnvelopeHandler } from './carrier.ts';
export type { KeyHolder, Proof, ProofRequest, RuntimeFacts, SealingKey, SignPurpose } from './key-holder.ts';
export { isNodeId, NODE_ID_LENGTH, type NodeId, nodeIdOf, PUBLIC_KEY_BYTES, publicKeyOf } from './node-id.ts';
export type {
  RtcCandidateStats,
  RtcConfiguration,
  RtcDataChannel,
  RtcDataChannelInit,
  RtcDataChannelState,
  RtcEngine,
  RtcIceCandidate,
  RtcIceServer,
  RtcPathStats,
  RtcPeerConnection,
  RtcPeerConnectionState,
  RtcPriority,
  RtcSessionDescription,
} from './peer-connection.ts';
