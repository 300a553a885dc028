/**
 * The check list (RFC 8445 §6.1.2, RFC 8838 §10): which pairs there are and which
 * is checked next.
 *
 * The order differs from the RFC's plain priority, which is our own affair on the
 * wire: kinds of pairs take turns, and within a kind those go first whose base has
 * heard from outside, then those in one subnet, then by priority. So 32 addresses
 * that lead nowhere do not stand before the one that works. Pairs over TCP wait
 * until UDP has had its chance: most peers need no connection, no SYN and no port.
 */

import type { TransportAddress } from '../address.ts';
import type { Base } from './base.ts';
import type { CandidatePair } from './candidate-pair.ts';

export class CheckList {
  readonly #pairs = new Map<string, CandidatePair>();
  readonly #triggered: CandidatePair[] = [];
  readonly #sentByGroup = new Map<string, number>();
  readonly #maxPairs: number;
  /** Until then pairs over TCP wait, while there may be others. */
  tcpFromMs = Number.POSITIVE_INFINITY;
  /** The peer has told all its candidates. */
  isComplete = false;

  constructor(maxPairs: number) {
    this.#maxPairs = maxPairs;
  }

  get size(): number {
    return this.#pairs.size;
  }

  pairs(): IterableIterator<CandidatePair> {
    return this.#pairs.values();
  }

  find(base: Base, peer: TransportAddress): CandidatePair | undefined {
    return this.#pairs.get(keyOf(base, peer));
  }

  byId(id: number): CandidatePair | undefined {
    for (const pair of this.#pairs.values()) if (pair.id === id) return pair;
    return undefined;
  }

  /** False when the list is full of better ones. A pair that must be kept pushes an untried one out. */
  add(pair: CandidatePair, mustKeep: boolean): boolean {
    if (this.#pairs.size >= this.#maxPairs) {
      const worst = this.#worstUntried();
      if (!worst || (!mustKeep && !comesBefore(pair, worst))) return false;
      this.delete(worst);
    }
    this.#pairs.set(keyOf(pair.base, pair.peer), pair);
    pair.state = this.#initialState(pair);
    return true;
  }

  delete(pair: CandidatePair): void {
    this.#pairs.delete(keyOf(pair.base, pair.peer));
    const at = this.#triggered.indexOf(pair);
    if (at >= 0) this.#triggered.splice(at, 1);
  }

  /** RFC 8445 §7.3.1.4: to the end of the triggered-check queue, once. */
  trigger(pair: CandidatePair): void {
    pair.isTriggered = true;
    pair.state = 'waiting';
    if (!this.#triggered.includes(pair)) this.#triggered.push(pair);
  }

  get hasWork(): boolean {
    return this.workFromMs < Number.POSITIVE_INFINITY;
  }

  /** When there is a pair to check: Infinity for never, in the past for now. */
  get workFromMs(): number {
    if (this.#triggered.length > 0) return Number.NEGATIVE_INFINITY;
    let fromMs = Number.POSITIVE_INFINITY;
    const tcpFromMs = this.#mayUseUdp ? this.tcpFromMs : Number.NEGATIVE_INFINITY;
    for (const { state, remote } of this.#pairs.values()) {
      if (state !== 'waiting' && state !== 'frozen') continue;
      if (remote.protocol === 'udp') return Number.NEGATIVE_INFINITY;
      fromMs = tcpFromMs;
    }
    return fromMs;
  }

  /** The pair to check now, taken from its queue. */
  takeNext(nowMs: number): CandidatePair | undefined {
    const triggered = this.#triggered.shift();
    if (triggered) return triggered;
    const isTcpHeld = nowMs < this.tcpFromMs && this.#mayUseUdp;
    const candidates = [...this.#pairs.values()].filter(({ remote }) => !isTcpHeld || remote.protocol === 'udp');
    const next = this.#bestOf(candidates, 'waiting') ?? this.#thaw(candidates);
    if (next) this.#sentByGroup.set(next.group, (this.#sentByGroup.get(next.group) ?? 0) + 1);
    return next;
  }

  /** RFC 8445 §7.2.5.3.3: what works for one pair of a foundation is worth trying for the others. */
  unfreeze(foundation: string): void {
    for (const pair of this.#pairs.values()) {
      if (pair.state === 'frozen' && pair.foundation === foundation) pair.state = 'waiting';
    }
  }

  #initialState(added: CandidatePair): 'frozen' | 'waiting' {
    let state: 'frozen' | 'waiting' = 'waiting';
    for (const pair of this.#pairs.values()) {
      if (pair === added || pair.foundation !== added.foundation) continue;
      if (pair.state === 'succeeded') return 'waiting';
      if (pair.state === 'waiting' || pair.state === 'in-progress') state = 'frozen';
    }
    return state;
  }

  get #mayUseUdp(): boolean {
    if (!this.isComplete) return true;
    for (const { state, remote } of this.#pairs.values())
      if (remote.protocol === 'udp' && state !== 'failed') return true;
    return false;
  }

  /** Nothing waits: the best frozen pair whose foundation is not being tried, or else the best (RFC 8445 §6.1.4.2). */
  #thaw(candidates: readonly CandidatePair[]): CandidatePair | undefined {
    const busy = new Set<string>();
    for (const pair of this.#pairs.values()) if (pair.state === 'in-progress') busy.add(pair.foundation);
    return this.#bestOf(candidates, 'frozen', busy) ?? this.#bestOf(candidates, 'frozen');
  }

  #bestOf(
    candidates: readonly CandidatePair[],
    state: 'waiting' | 'frozen',
    busy?: ReadonlySet<string>,
  ): CandidatePair | undefined {
    let best: CandidatePair | undefined;
    for (const pair of candidates) {
      if (pair.state !== state || busy?.has(pair.foundation)) continue;
      if (!best || this.#goesFirst(pair, best)) best = pair;
    }
    return best;
  }

  #goesFirst(a: CandidatePair, b: CandidatePair): boolean {
    const sentA = this.#sentByGroup.get(a.group) ?? 0;
    const sentB = this.#sentByGroup.get(b.group) ?? 0;
    return sentA === sentB ? comesBefore(a, b) : sentA < sentB;
  }

  #worstUntried(): CandidatePair | undefined {
    let worst: CandidatePair | undefined;
    for (const pair of this.#pairs.values()) {
      if (pair.isValid || pair.state === 'in-progress' || pair.isTriggered) continue;
      if (!worst || comesBefore(worst, pair)) worst = pair;
    }
    return worst;
  }
}

function comesBefore(a: CandidatePair, b: CandidatePair): boolean {
  if (a.rank !== b.rank) return a.rank > b.rank;
  if (a.isNear !== b.isNear) return a.isNear;
  if (a.base.isProven !== b.base.isProven) return a.base.isProven;
  return a.priority > b.priority;
}

function keyOf(base: Base, { address, port }: TransportAddress): string {
  return `${base.id} ${port} ${address}`;
}
