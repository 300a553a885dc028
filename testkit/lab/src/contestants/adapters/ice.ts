/** ICE servers of the topology as URLs (RFC 7064, RFC 7065), and what a selected candidate pair says of a path. */

import type { LabServices, PathFacts, PeerContext } from '../contract.ts';

export interface IceServer {
  readonly urls: string;
  readonly username?: string;
  readonly credential?: string;
}

/** STUN and TURN over UDP first; TURN over TCP and TLS for engines that take such URLs. */
export function iceServersOf({ turn }: LabServices, transports: readonly ('udp' | 'tcp' | 'tls')[]): IceServer[] {
  if (!turn) return [];
  const host = turn.host.includes(':') ? `[${turn.host}]` : turn.host;
  const { username, credential } = turn;
  const urls = {
    udp: `turn:${host}:${turn.udp}?transport=udp`,
    tcp: `turn:${host}:${turn.tcp}?transport=tcp`,
    tls: `turns:${host}:${turn.tls}?transport=tcp`,
  };
  const relays = transports.map((transport) => ({ urls: urls[transport], username, credential }));
  return [{ urls: `stun:${host}:${turn.udp}` }, ...relays];
}

/** The address to bind to when the peers share one machine without a network; engines leave loopback out by default. */
export function loopbackOf({ peerAddresses }: PeerContext): string | undefined {
  const only = peerAddresses.length > 0 && peerAddresses.every((address) => address.startsWith('127.'));
  return only ? '127.0.0.1' : undefined;
}

export interface CandidateEnd {
  readonly type: string;
  readonly address?: string | undefined;
  readonly protocol?: string | undefined;
  /** How this side speaks to its relay. */
  readonly relayProtocol?: string | undefined;
}

export function icePath(local: CandidateEnd, remote: CandidateEnd): PathFacts {
  const relayed = local.type === 'relay' || remote.type === 'relay';
  const spoken = (local.type === 'relay' ? local.relayProtocol : undefined) ?? local.protocol ?? 'udp';
  const protocol = (['udp', 'tcp', 'tls'] as const).find((known) => known === spoken.toLowerCase()) ?? 'udp';
  const name = ({ type, address }: CandidateEnd) => (address ? `${type} ${address}` : type);
  return { type: relayed ? 'relayed' : 'direct', protocol, detail: `${name(local)} → ${name(remote)}` };
}
