/**
 * Candidates (RFC 8445 §5.1): what they are, how they rank and what foundation
 * they have. TCP ranks below UDP of the same kind (RFC 6544 §4.2).
 */

import { createHash } from 'node:crypto';
import type { TransportAddress } from '../address.ts';

export type CandidateType = 'host' | 'srflx' | 'prflx' | 'relay';
export type TcpType = 'active' | 'passive' | 'so';

export interface Candidate {
  readonly foundation: string;
  /** Always 1: data has no RTCP. */
  readonly component: number;
  readonly protocol: 'udp' | 'tcp';
  readonly priority: number;
  /** An IP address, or a name ending in `.local`. */
  readonly address: string;
  readonly port: number;
  readonly type: CandidateType;
  readonly tcpType?: TcpType;
  readonly related?: TransportAddress;
  /** Generation, as libwebrtc writes it. */
  readonly usernameFragment?: string;
}

/** A candidate of our own. */
export interface LocalCandidate extends Candidate {
  /** Of relayed candidates: how we speak with the server. */
  readonly relayProtocol?: 'udp' | 'tcp' | 'tls';
  /** The URL of the STUN or TURN server that it came from. */
  readonly url?: string;
}

/** The port that an active TCP candidate shows (RFC 6544 §4.5). */
export const ACTIVE_TCP_PORT = 9;

const UDP_PREFERENCE = { host: 126, prflx: 110, srflx: 100, relay: 2 } as const;
const TCP_PREFERENCE = { host: 90, prflx: 80, srflx: 70, relay: 0 } as const;
/** RFC 6544 §4.2: by type, who can be connected to how. */
const TCP_DIRECTION = {
  direct: { active: 6, passive: 4, so: 2 },
  reflexive: { active: 4, passive: 2, so: 6 },
} as const;

export interface PriorityFacts {
  readonly type: CandidateType;
  readonly protocol: 'udp' | 'tcp';
  readonly tcpType?: TcpType | undefined;
  readonly relayProtocol?: 'udp' | 'tcp' | 'tls' | undefined;
  /** 0 to 8,191, the larger the better: interface and family. */
  readonly localPreference: number;
}

/** RFC 8445 §5.1.2.1. */
export function candidatePriority(facts: PriorityFacts): number {
  const { type, protocol, tcpType, relayProtocol } = facts;
  let preference: number = (protocol === 'udp' ? UDP_PREFERENCE : TCP_PREFERENCE)[type];
  if (relayProtocol === 'tcp') preference = 1;
  if (relayProtocol === 'tls') preference = 0;
  const directions = TCP_DIRECTION[type === 'host' || type === 'relay' ? 'direct' : 'reflexive'];
  const direction = tcpType ? directions[tcpType] : 7;
  const local = direction * 2 ** 13 + Math.min(Math.max(facts.localPreference, 0), 8191);
  return preference * 2 ** 24 + local * 2 ** 8 + 255;
}

/** Equal for candidates of one type, base address, protocol and server (RFC 8445 §5.1.1.3). */
export function foundationOf(type: CandidateType, baseAddress: string, protocol: string, server = ''): string {
  const digest = createHash('sha256').update(`${type}|${baseAddress}|${protocol}|${server}`).digest();
  return digest.readUInt32BE(0).toString();
}

/** RFC 8445 §6.1.2.3: G is the controlling side's candidate, D the other one's. */
export function pairPriority(controlling: number, controlled: number): bigint {
  const larger = Math.max(controlling, controlled);
  const smaller = Math.min(controlling, controlled);
  return BigInt(smaller) * 2n ** 32n + BigInt(larger) * 2n + (controlling > controlled ? 1n : 0n);
}
