/**
 * The peer's candidates of one generation: signalled, learnt from its checks (RFC 8445
 * §7.3.1.3), and proposed by who knows more. Their number is bounded.
 */

import { isUsableRemote, sameAddress, type TransportAddress } from '../address.ts';
import type { Candidate } from '../candidate/candidate.ts';
import type { IceHooks, IceLimits } from './types.ts';

export interface RemoteCandidatesOptions {
  readonly limits: Required<IceLimits>;
  readonly propose: NonNullable<IceHooks['propose']>;
  onAdded(candidate: Candidate): void;
  /** What was learnt turns out to be one that was signalled. */
  onIdentified(learnt: Candidate, candidate: Candidate): void;
}

export class RemoteCandidates {
  readonly #options: RemoteCandidatesOptions;
  readonly #all: Candidate[] = [];
  #peerReflexive = 0;

  constructor(options: RemoteCandidatesOptions) {
    this.#options = options;
  }

  get all(): readonly Candidate[] {
    return this.#all;
  }

  /** False when it is a duplicate, useless or one too many. */
  add(candidate: Candidate): boolean {
    const { limits, propose, onAdded, onIdentified } = this.#options;
    if (candidate.component !== 1 || !isUsableRemote(candidate)) return false;
    const at = this.#all.findIndex((each) => isSame(each, candidate));
    const known = this.#all[at];
    if (known) {
      if (known.type !== 'prflx' || candidate.type === 'prflx') return false;
      this.#all[at] = candidate;
      this.#peerReflexive -= 1;
      onIdentified(known, candidate);
      return true;
    }
    if (this.#all.length >= limits.maxRemoteCandidates) return false;
    if (candidate.type === 'prflx') this.#peerReflexive += 1;
    this.#all.push(candidate);
    onAdded(candidate);
    if (candidate.type === 'prflx') return true;
    for (const proposed of propose(candidate, this.#all)) {
      if (!this.#all.some((each) => isSame(each, proposed))) this.add(proposed);
    }
    return true;
  }

  /** Who checks from there: one that is known, or a peer-reflexive one. Undefined when there are too many. */
  from(address: TransportAddress, protocol: 'udp' | 'tcp', priority: number): Candidate | undefined {
    const known = this.#all.find((each) => each.protocol === protocol && sameAddress(each, address));
    if (known || this.#peerReflexive >= this.#options.limits.maxPeerReflexive) return known;
    const learnt: Candidate = {
      foundation: `prflx${address.address}`,
      component: 1,
      protocol,
      priority,
      ...address,
      type: 'prflx',
      ...(protocol === 'tcp' ? { tcpType: 'active' } : {}),
    };
    return this.add(learnt) ? learnt : undefined;
  }
}

function isSame(a: Candidate, b: Candidate): boolean {
  return a.protocol === b.protocol && a.tcpType === b.tcpType && sameAddress(a, b);
}
