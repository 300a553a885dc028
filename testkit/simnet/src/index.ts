export type { SimnetErrorCode } from './errors.ts';
export type { Host, HostAddress } from './host/host.ts';
export type { TcpConnectOptions, TcpListener, TcpListenOptions, TcpOptions } from './host/tcp.ts';
export type { UdpBinding, UdpProblem, UdpSocket } from './host/udp.ts';
export type { Endpoint, Flow, NatMapping, NatProtocol } from './nat/flow.ts';
export { NatCore, type NatCoreOptions } from './nat/nat-core.ts';
export {
  type ReferenceOutputs,
  ReferencePeer,
  type ReferencePeerOptions,
  type ReferenceSignal,
  type ReferenceState,
} from './reference/reference-peer.ts';
export {
  type ReferenceResult,
  type ReferenceStream,
  type RunReferenceOptions,
  runReference,
} from './reference/run-reference.ts';
export type { StreamPlan, TrafficCounts } from './reference/traffic.ts';
export { SIMNET_PROXY } from './services/http-proxy.ts';
export { SIMNET_TURN } from './services/turn-server.ts';
export { openSimnet, type Simnet, type SimnetOptions } from './simnet.ts';
export type { TcpStream } from './tcp/stream.ts';
