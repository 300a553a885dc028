/** Candidates of ours from what gathering found out (RFC 8445 §5.1.1.3, §5.1.2). */

import type { TransportAddress } from '../address.ts';
import {
  type CandidateType,
  candidatePriority,
  foundationOf,
  type LocalCandidate,
  type TcpType,
} from '../candidate/candidate.ts';

export interface LocalCandidateFacts extends TransportAddress {
  readonly type: CandidateType;
  /** Of the local address, 0 to 8,191. */
  readonly preference: number;
  readonly tcpType?: TcpType;
  /** What it is sent from, where that is not its own address. */
  readonly base?: TransportAddress;
  /** Default: the base. */
  readonly related?: TransportAddress;
  readonly relayProtocol?: 'udp' | 'tcp' | 'tls';
  readonly url?: string;
}

/** Without a username fragment: it outlives restarts. */
export function makeLocalCandidate(facts: LocalCandidateFacts): LocalCandidate {
  const { type, address, port, tcpType, relayProtocol, url } = facts;
  const protocol = tcpType ? 'tcp' : 'udp';
  const related = facts.related ?? facts.base;
  return {
    foundation: foundationOf(type, facts.base?.address ?? address, relayProtocol ?? protocol, url),
    component: 1,
    protocol,
    priority: candidatePriority({ type, protocol, tcpType, relayProtocol, localPreference: facts.preference }),
    address,
    port,
    type,
    ...(tcpType ? { tcpType } : {}),
    ...(related ? { related } : {}),
    ...(relayProtocol ? { relayProtocol } : {}),
    ...(url === undefined ? {} : { url }),
  };
}
