/** What goes in and out of an agent: options, requests for I/O, hooks and facts. */

import type { Random } from '@claw/base';
import type { TransportAddress } from '../address.ts';
import type { Candidate, CandidateType, LocalCandidate, TcpType } from '../candidate/candidate.ts';
import type { IceServer } from '../candidate/server-url.ts';

export interface IceParameters {
  readonly usernameFragment: string;
  readonly password: string;
  /** The peer is an ICE-lite agent (RFC 8445 §2.5). */
  readonly isLite?: boolean;
  /** `a=ice-options` has `renomination`: NOMINATION attributes order nominations. */
  readonly canRenominate?: boolean;
  /** `a=ice-options` has `sped`: flights of the DTLS handshake may ride in checks. */
  readonly canEmbed?: boolean;
}

/**
 * `new`: nothing to check yet. `checking`: no valid pair. `connected`: a valid pair exists and
 * carries data. `completed`: one is nominated. `disconnected`: the pair in use has not answered
 * for a few seconds. `failed`: nothing works, or consent expired. `closed`.
 */
export type IceState = 'new' | 'checking' | 'connected' | 'completed' | 'disconnected' | 'failed' | 'closed';

/** What the agent asks of its driver. Each `id` is answered once, the answer's name is in the comment. */
export type IceRequest =
  /** `transportOpened` with the local address, or `transportFailed`. */
  | {
      readonly type: 'bind-udp';
      readonly id: number;
      readonly address: string;
      /** Not to be shared with other agents, where sockets are shared. */
      readonly isPrivate?: boolean;
    }
  /** The same. Connections come in by `transportAccepted`. */
  | { readonly type: 'listen-tcp'; readonly id: number; readonly address: string }
  /** The same, with a port that `connect-tcp` can take as `localPort`: nobody listens there (RFC 6544 §4.1, `so`). */
  | { readonly type: 'reserve-tcp'; readonly id: number; readonly address: string }
  /** The same. `remote.address` may be a name if there is a proxy. */
  | {
      readonly type: 'connect-tcp';
      readonly id: number;
      readonly remote: TransportAddress;
      readonly localAddress?: string;
      /** Simultaneous open: the port of the `so` candidate. */
      readonly localPort?: number;
      /** TLS on top, for this server name. */
      readonly tlsServerName?: string;
      /** Whether to go through the HTTP proxy that the driver knows. */
      readonly useProxy?: boolean;
    }
  /** `nameResolved` with the addresses found, empty when none. */
  | { readonly type: 'resolve'; readonly id: number; readonly name: string }
  /** No answer. */
  | { readonly type: 'close'; readonly id: number };

/** A STUN or TURN server that refused, or that nobody could reach. */
export interface IceServerError {
  readonly url: string;
  /** Of STUN (RFC 8489 §14.8); 701 when no answer came from any address of ours (W3C WebRTC §4.8.2). */
  readonly code: number;
  readonly reason: string;
  /** The socket that was refused. */
  readonly local: TransportAddress | undefined;
}

/** Where packets, candidates and news go. None of these may call back into the agent except through a later turn. */
export interface IceOutput {
  /**
   * The only way out for packets. `prefix`, if any, goes before `bytes` in the same datagram.
   * Over TCP and TLS the bytes are part of the stream. Both are the driver's from then on.
   */
  send(transportId: number, bytes: Uint8Array, remote: TransportAddress, prefix: Uint8Array | undefined): void;
  request(request: IceRequest): void;
  /** An application datagram (DTLS): a part of what `receive` got, which the listener may keep and write to. */
  onDatagram(bytes: Uint8Array): void;
  /** A new local candidate, or `null` when gathering is complete. */
  onCandidate?(candidate: LocalCandidate | null): void;
  /** During gathering; each server that cannot be reached is told once. */
  onServerError?(error: IceServerError): void;
  /** After a restart, and while the path is dead: wants {@link IceAgent.gather} with the machine's addresses as they are now. */
  onAddressesWanted?(): void;
  onStateChange?(state: IceState): void;
  /** The pair that carries data changed. */
  onSelectedPair?(pair: PairFacts): void;
}

export type EgressKind = 'check' | 'consent' | 'response' | 'gather' | 'turn' | 'data' | 'connect' | 'resolve';

/** What is about to leave. One object is reused: copy what you keep. */
export interface EgressFacts {
  kind: EgressKind;
  protocol: 'udp' | 'tcp' | 'tls' | 'none';
  /** Of our socket; undefined before there is one. */
  local: TransportAddress | undefined;
  /** Where the packet goes on the wire. For `resolve`, the name and port 0. */
  remote: TransportAddress;
  /** Whom it is for in the end: differs from `remote` when relayed. */
  peer: TransportAddress;
  bytes: number;
}

export type PairState = 'frozen' | 'waiting' | 'in-progress' | 'succeeded' | 'failed';

export interface CandidateFacts {
  readonly type: CandidateType;
  readonly protocol: 'udp' | 'tcp';
  readonly address: string;
  readonly port: number;
  readonly tcpType?: TcpType;
  readonly relayProtocol?: 'udp' | 'tcp' | 'tls';
}

export interface PairFacts {
  readonly id: number;
  readonly local: CandidateFacts;
  readonly remote: CandidateFacts;
  readonly state: PairState;
  readonly isNominated: boolean;
  readonly isSelected: boolean;
  readonly priority: bigint;
  /** Smoothed over checks (RFC 6298 weights), milliseconds. */
  readonly roundTripMs: number | undefined;
  /** Of all checks that were answered, `answersReceived`. */
  readonly totalRoundTripMs: number;
  /** Application bytes and packets, without headers. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
  readonly checksSent: number;
  readonly checksReceived: number;
  readonly answersReceived: number;
}

export interface CheckObservation {
  readonly pairId: number;
  readonly atMs: number;
  /** `undefined`: no answer came. */
  readonly rttMs: number | undefined;
  readonly isRttExact: boolean;
  readonly purpose: 'check' | 'nominate' | 'consent';
}

/** Hooks of path prediction and policy; each may be left out. */
export interface IceHooks {
  /** Asked for each remote candidate: further ones worth trying, such as predicted ports. */
  propose?(remote: Candidate, known: readonly Candidate[]): readonly Candidate[];
  /** A score that goes before priority in the order of checks, default 0; `undefined` keeps the pair from being made. */
  rank?(local: CandidateFacts, remote: CandidateFacts): number | undefined;
  onCheck?(observation: CheckObservation): void;
}

export interface IceTiming {
  /** Ta of the first checks (RFC 8445 §14.2: never below 5). Default 5 ms. */
  readonly firstPacingMs?: number;
  /** How many checks go at that pace. Default 64. */
  readonly firstChecks?: number;
  /** Ta afterwards. Default 50 ms. */
  readonly pacingMs?: number;
  /** How long pairs over TCP wait for those over UDP, as long as there may be any. Default 200. */
  readonly tcpDelayMs?: number;
  /** First retransmission time-out where no round trip is known. Default 200 ms. */
  readonly rtoMs?: number;
  /** Between consent checks of a pair that carries data, ± 20 %. Default 5,000 (RFC 7675 §5.1). */
  readonly consentIntervalMs?: number;
  /** Without an answer. Default 30,000. */
  readonly consentExpiryMs?: number;
  /** Silence, after a check went unanswered, until `disconnected`. Default 2,500. */
  readonly disconnectedMs?: number;
  /** How long a direct pair that is not the best possible waits for a better one. Default 50. */
  readonly directGraceMs?: number;
  /** The same for relayed pairs and TCP. Default 500. */
  readonly relayGraceMs?: number;
}

export interface IceLimits {
  /** Candidate pairs of a session. Default 256. */
  readonly maxPairs?: number;
  /** Remote candidates, peer-reflexive ones included. Default 128. */
  readonly maxRemoteCandidates?: number;
  /** Peer-reflexive remote candidates. Default 32. */
  readonly maxPeerReflexive?: number;
  /** TCP connections, both ways. Default 32. */
  readonly maxConnections?: number;
}

/** What the next gathering goes by. */
export interface IceConfiguration {
  readonly servers?: readonly IceServer[];
  /** `relay`: no other candidate is gathered, shown or used. Default `all`. */
  readonly transportPolicy?: 'all' | 'relay';
}

export interface IceAgentOptions extends IceConfiguration {
  /** The offerer controls, unless the peer is lite. */
  readonly controlling: boolean;
  readonly random: Random;
  readonly output: IceOutput;
  /** Default: random. */
  readonly tieBreaker?: bigint;
  /** Default: random, 8 and 24 characters. */
  readonly localParameters?: IceParameters;
  /** ICE-TCP host candidates. Default `['active', 'passive']`; `[]` for none. */
  readonly tcpTypes?: readonly TcpType[];
  /** TURN over TCP and TLS goes through the driver's HTTP proxy. Default false. */
  readonly useProxy?: boolean;
  /** The driver's UDP sockets serve other agents too: TURN over UDP has some of its own. Default false. */
  readonly sharesUdp?: boolean;
  /** The choke point: false keeps the packet, connection or look-up from happening. Default: everything passes. */
  readonly egress?: (facts: Readonly<EgressFacts>) => boolean;
  readonly hooks?: IceHooks;
  readonly timing?: IceTiming;
  readonly limits?: IceLimits;
}

export interface IceAgentStats {
  readonly state: IceState;
  readonly isControlling: boolean;
  readonly selected: PairFacts | undefined;
  readonly pairs: readonly PairFacts[];
  readonly packetsOut: number;
  /** Packets, connections and look-ups that the egress policy kept in. */
  readonly refused: number;
  /** Packets that came in and were none of ours. */
  readonly packetsIgnored: number;
}
