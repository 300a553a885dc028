/** One candidate pair (RFC 8445 §6.1.2): a base, a remote candidate, and what has happened between them. */

import { isNear, type TransportAddress } from '../address.ts';
import { type Candidate, type LocalCandidate, pairPriority } from '../candidate/candidate.ts';
import type { Transaction } from '../stun/transactions.ts';
import type { Base } from './base.ts';
import type { CandidateFacts, PairFacts, PairState } from './types.ts';

export class CandidatePair {
  readonly id: number;
  readonly base: Base;
  /** Replaced when a peer-reflexive candidate turns out to be one that was signalled. */
  remote: Candidate;
  /** What the peer sees us as: the base's candidate, or a reflexive one. Known once valid. */
  local: LocalCandidate;
  readonly peer: TransportAddress;
  readonly foundation: string;
  /** Of the fair order: pairs of one group take turns with those of others. */
  readonly group: string;
  readonly isNear: boolean;
  readonly rank: number;
  priority = 0n;
  state: PairState = 'frozen';
  isNominated = false;
  /** The value of the nomination last made or seen on it. */
  nomination = 0;
  /** USE-CANDIDATE arrived before the pair was valid (RFC 8445 §7.3.1.5). */
  isNominatedByPeer = false;
  /** Asks the next check to nominate. */
  wantsNomination = false;
  check: Transaction | undefined;
  isTriggered = false;
  roundTripMs: number | undefined;
  roundTripVarianceMs = 0;
  validSinceMs: number | undefined;
  lastAnswerMs = Number.NEGATIVE_INFINITY;
  lastReceivedMs = Number.NEGATIVE_INFINITY;
  bytesSent = 0;
  bytesReceived = 0;
  packetsSent = 0;
  packetsReceived = 0;
  checksSent = 0;
  checksReceived = 0;
  answersReceived = 0;
  totalRoundTripMs = 0;

  constructor(id: number, base: Base, remote: Candidate, rank: number, isControlling: boolean) {
    this.id = id;
    this.base = base;
    this.remote = remote;
    this.local = base.candidate;
    this.peer = { address: remote.address, port: remote.port };
    this.rank = rank;
    const { candidate } = base;
    this.foundation = `${candidate.foundation}/${remote.foundation}`;
    this.group = `${candidate.type}${candidate.relayProtocol ?? ''} ${remote.type} ${remote.protocol} ${remote.address.includes(':') ? 6 : 4}`;
    this.isNear = candidate.type === 'host' && isNear(candidate.address, remote.address);
    this.setRole(isControlling);
  }

  get isValid(): boolean {
    return this.validSinceMs !== undefined;
  }

  /** Neither relayed on a side that we know of nor TCP. */
  get isDirect(): boolean {
    return this.quality === 2;
  }

  /** 2 direct, 1 direct over TCP, 0 relayed. */
  get quality(): 0 | 1 | 2 {
    if (this.base.candidate.type === 'relay' || this.remote.type === 'relay') return 0;
    return this.remote.protocol === 'tcp' ? 1 : 2;
  }

  /** The peer-reflexive candidate turns out to be this one. */
  identify(remote: Candidate, isControlling: boolean): void {
    this.remote = remote;
    this.setRole(isControlling);
  }

  setRole(isControlling: boolean): void {
    const own = this.base.candidate.priority;
    const other = this.remote.priority;
    this.priority = isControlling ? pairPriority(own, other) : pairPriority(other, own);
  }

  /** RFC 6298 §2, for every check that was answered. */
  sampleRoundTrip(rttMs: number): void {
    if (this.roundTripMs === undefined) {
      this.roundTripMs = rttMs;
      this.roundTripVarianceMs = rttMs / 2;
      return;
    }
    this.roundTripVarianceMs += (Math.abs(this.roundTripMs - rttMs) - this.roundTripVarianceMs) / 4;
    this.roundTripMs += (rttMs - this.roundTripMs) / 8;
  }

  facts(isSelected: boolean): PairFacts {
    const { id, state, isNominated, priority, roundTripMs, totalRoundTripMs } = this;
    const { bytesSent, bytesReceived, packetsSent, packetsReceived, checksSent, checksReceived, answersReceived } =
      this;
    return {
      id,
      local: candidateFacts(this.local),
      remote: candidateFacts(this.remote),
      state,
      isNominated,
      isSelected,
      priority,
      roundTripMs,
      totalRoundTripMs,
      bytesSent,
      bytesReceived,
      packetsSent,
      packetsReceived,
      checksSent,
      checksReceived,
      answersReceived,
    };
  }
}

export function candidateFacts(candidate: LocalCandidate): CandidateFacts {
  const { type, protocol, address, port, tcpType, relayProtocol } = candidate;
  return {
    type,
    protocol,
    address,
    port,
    ...(tcpType ? { tcpType } : {}),
    ...(relayProtocol ? { relayProtocol } : {}),
  };
}
