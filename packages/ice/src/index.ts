export { canonicalAddress, formatAddress, type TransportAddress } from './address.ts';
export { MAX_EMBEDDED_BYTES } from './agent/embedded-flight.ts';
export type { LocalAddress } from './agent/host-gatherer.ts';
export { IceAgent } from './agent/ice-agent.ts';
export { randomParameters } from './agent/parameters.ts';
export type {
  CandidateFacts,
  CheckObservation,
  EgressFacts,
  EgressKind,
  IceAgentOptions,
  IceAgentStats,
  IceConfiguration,
  IceHooks,
  IceLimits,
  IceOutput,
  IceParameters,
  IceRequest,
  IceServerError,
  IceState,
  IceTiming,
  PairFacts,
  PairState,
} from './agent/types.ts';
export { type Candidate, type CandidateType, type LocalCandidate, type TcpType } from './candidate/candidate.ts';
export { formatCandidate, parseCandidate } from './candidate/candidate-line.ts';
export { type IceServer, parseServers } from './candidate/server-url.ts';
export type { IceErrorCode } from './errors.ts';
export { classifyDatagram, type DatagramKind } from './stun/demultiplex.ts';
export type {
  Closable,
  IceSocket,
  IceSockets,
  IncomingConnection,
  ListenerEvents,
  SocketEvents,
  TcpTarget,
} from './transport/ice-sockets.ts';
export { IceTransport, type IceTransportOptions } from './transport/ice-transport.ts';
export { SharedSockets } from './transport/shared-sockets.ts';
