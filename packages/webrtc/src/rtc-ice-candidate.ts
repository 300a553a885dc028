/** `RTCIceCandidate` (W3C WebRTC §4.8.1): the line as it came, and what it says. */

import { type Candidate, type LocalCandidate, parseCandidate } from '@claw/ice';

export interface RTCIceCandidateInit {
  readonly candidate?: string;
  readonly sdpMid?: string | null;
  readonly sdpMLineIndex?: number | null;
  readonly usernameFragment?: string | null;
}

/** What a line does not say of a candidate of ours. */
export type OwnFacts = Pick<LocalCandidate, 'relayProtocol' | 'url'>;

export class RTCIceCandidate {
  readonly candidate: string;
  readonly sdpMid: string | null;
  readonly sdpMLineIndex: number | null;
  readonly usernameFragment: string | null;
  /** Null in a line that cannot be read; so are the others that follow. */
  readonly foundation: string | null;
  readonly component: 'rtp' | 'rtcp' | null;
  readonly priority: number | null;
  readonly address: string | null;
  readonly protocol: 'udp' | 'tcp' | null;
  readonly port: number | null;
  readonly type: Candidate['type'] | null;
  readonly tcpType: NonNullable<Candidate['tcpType']> | null;
  readonly relatedAddress: string | null;
  readonly relatedPort: number | null;
  /** Of a relayed candidate of ours: how we speak with the server. */
  readonly relayProtocol: 'udp' | 'tcp' | 'tls' | null;
  /** Of a candidate of ours: the server that it came from. */
  readonly url: string | null;

  /** @throws TypeError when neither section is named */
  constructor(init: RTCIceCandidateInit, own: OwnFacts = {}) {
    const { candidate = '', sdpMid = null, sdpMLineIndex = null, usernameFragment = null } = init;
    if (sdpMid === null && sdpMLineIndex === null)
      throw new TypeError('a candidate needs an sdpMid or an sdpMLineIndex');
    this.candidate = candidate;
    this.sdpMid = sdpMid;
    this.sdpMLineIndex = sdpMLineIndex;
    this.usernameFragment = usernameFragment;
    const facts = read(candidate);
    this.foundation = facts?.foundation ?? null;
    this.component = facts ? (facts.component === 1 ? 'rtp' : 'rtcp') : null;
    this.priority = facts?.priority ?? null;
    this.address = facts?.address ?? null;
    this.protocol = facts?.protocol ?? null;
    this.port = facts?.port ?? null;
    this.type = facts?.type ?? null;
    this.tcpType = facts?.tcpType ?? null;
    this.relatedAddress = facts?.related?.address ?? null;
    this.relatedPort = facts?.related?.port ?? null;
    this.relayProtocol = own.relayProtocol ?? null;
    this.url = own.url ?? null;
  }

  toJSON(): RTCIceCandidateInit {
    const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = this;
    return { candidate, sdpMid, sdpMLineIndex, usernameFragment };
  }
}

function read(line: string): Candidate | undefined {
  try {
    return parseCandidate(line);
  } catch {
    return undefined;
  }
}
