/** The packages of the js-libp2p family, loaded together, and what is used of their interfaces. */

import type { Libp2pStream } from './libp2p-stream.ts';
import { loadInstalled } from './packages.ts';
import type { StatsReport } from './webrtc-stats.ts';

export interface Libp2pConnection {
  /** A peer id; its text is what is looked at. */
  readonly remotePeer: { toString(): string };
  /** A multiaddr; its text is what is looked at. */
  readonly remoteAddr: { toString(): string };
  readonly status: string;
  /** Beneath a /webrtc connection, not part of the public interface: the only place that tells its candidate pair. */
  readonly maConn?: { readonly peerConnection?: { getStats(): Promise<StatsReport> } };
  newStream(protocols: readonly string[], options: { runOnLimitedConnection: boolean }): Promise<Libp2pStream>;
}

export interface Libp2pNode {
  getMultiaddrs(): readonly { toString(): string }[];
  getConnections(): readonly Libp2pConnection[];
  dial(addresses: readonly unknown[]): Promise<Libp2pConnection>;
  handle(
    protocol: string,
    handler: (stream: Libp2pStream, connection: Libp2pConnection) => void,
    options: { runOnLimitedConnection: boolean },
  ): Promise<void>;
  stop(): Promise<void>;
}

type Make = (options?: object) => unknown;

export interface Libp2pModules {
  createLibp2p(options: object): Promise<Libp2pNode>;
  multiaddr(text: string): unknown;
  readonly tcp: Make;
  readonly webSockets: Make;
  readonly webRTC: Make;
  readonly circuitRelayTransport: Make;
  readonly circuitRelayServer: Make;
  readonly identify: Make;
  readonly dcutr: Make;
  /** Noise and yamux. */
  security(): object;
}

export async function loadLibp2p(): Promise<Libp2pModules> {
  const [core, tcp, webSockets, webRtc, relay, identify, dcutr, noise, yamux, multiaddr] = await Promise.all([
    loadInstalled<Pick<Libp2pModules, 'createLibp2p'>>('libp2p'),
    loadInstalled<Pick<Libp2pModules, 'tcp'>>('@libp2p/tcp'),
    loadInstalled<Pick<Libp2pModules, 'webSockets'>>('@libp2p/websockets'),
    loadInstalled<Pick<Libp2pModules, 'webRTC'>>('@libp2p/webrtc'),
    loadInstalled<Pick<Libp2pModules, 'circuitRelayTransport' | 'circuitRelayServer'>>('@libp2p/circuit-relay-v2'),
    loadInstalled<Pick<Libp2pModules, 'identify'>>('@libp2p/identify'),
    loadInstalled<Pick<Libp2pModules, 'dcutr'>>('@libp2p/dcutr'),
    loadInstalled<{ noise: Make }>('@libp2p/noise'),
    loadInstalled<{ yamux: Make }>('@libp2p/yamux'),
    loadInstalled<Pick<Libp2pModules, 'multiaddr'>>('@multiformats/multiaddr'),
  ]);
  return {
    createLibp2p: core.createLibp2p,
    multiaddr: multiaddr.multiaddr,
    tcp: tcp.tcp,
    webSockets: webSockets.webSockets,
    webRTC: webRtc.webRTC,
    circuitRelayTransport: relay.circuitRelayTransport,
    circuitRelayServer: relay.circuitRelayServer,
    identify: identify.identify,
    dcutr: dcutr.dcutr,
    security: () => ({ connectionEncrypters: [noise.noise()], streamMuxers: [yamux.yamux()] }),
  };
}
