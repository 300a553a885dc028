/**
 * The pair that carries the data: chosen among the valid ones of the current
 * session, or of the one before a restart; watched for consent; left for another
 * when it falls silent. Packets are accepted on every pair at any time, so a move
 * loses nothing that arrives.
 */

import type { Random } from '@claw/base';
import type { TransportAddress } from '../address.ts';
import type { Base } from './base.ts';
import type { CandidatePair } from './candidate-pair.ts';
import { ConsentMonitor, type Liveness } from './consent.ts';
import { Nominator } from './nominator.ts';
import type { Session } from './session.ts';
import type { IceTiming } from './types.ts';

const PROBE_INTERVAL_MS = 500;

export interface PathKeeperEvents {
  onActive(pair: CandidatePair, nowMs: number): void;
  /** The path is dead or gone: everything that might work is to be tried again. */
  onDead(nowMs: number): void;
  /** A direct pair over UDP was nominated. */
  onSettled(): void;
  /** The path of a restarted session has taken over. */
  onPreviousEnded(): void;
  /** A pair that only the session before the restart used. */
  onUnused(pair: CandidatePair, nowMs: number): void;
  /** No more retransmissions of its check. */
  hush(pair: CandidatePair, nowMs: number): void;
}

export class PathKeeper {
  session: Session;
  /** Carries the data while a restarted session has no valid pair. */
  previous: Session | undefined;
  active: CandidatePair | undefined;
  /** What a restart took the place of, until the peer has answered it. */
  #replaced: { readonly session: Session; readonly previous: Session | undefined } | undefined;
  /** When any pair last answered a check, or a restart began. */
  lastAnswerMs = Number.NEGATIVE_INFINITY;
  readonly #nominator: Nominator;
  readonly #consent: ConsentMonitor;
  readonly #events: PathKeeperEvents;
  /** The pair in use misses answers, and the others have been asked. */
  #isSuspecting = false;
  #probedMs = Number.NEGATIVE_INFINITY;

  constructor(session: Session, timing: Required<IceTiming>, random: Random, events: PathKeeperEvents) {
    this.session = session;
    this.#nominator = new Nominator(timing);
    this.#consent = new ConsentMonitor(timing, random);
    this.#events = events;
  }

  get isActiveLive(): boolean {
    return this.active !== undefined && this.#liveness(this.active) > 0;
  }

  deadlineMs(isControlling: boolean): number {
    const nominating = isControlling ? this.#nominator.deadlineMs : Number.POSITIVE_INFINITY;
    return Math.min(this.#consent.deadlineMs, nominating);
  }

  /** A new generation; the old one stays while it has a path. A restart that nobody has answered is replaced. */
  restart(session: Session, nowMs: number): void {
    if (this.#replaced) this.session.close();
    const { session: old, previous } = this.#replaced ?? this;
    this.#replaced = { session: old, previous };
    this.lastAnswerMs = nowMs;
    this.session = session;
    this.previous = old.validPairs().length > 0 ? old : previous;
  }

  /** The peer has answered: there is no way back from the restart. */
  commit(): void {
    const { session, previous } = this.#replaced ?? {};
    this.#replaced = undefined;
    for (const each of [session, previous]) if (each !== this.previous) each?.close();
  }

  /** Takes the restart back that the peer has not answered. False when there is none. */
  rollback(): boolean {
    if (!this.#replaced) return false;
    this.session.close();
    ({ session: this.session, previous: this.previous } = this.#replaced);
    this.#replaced = undefined;
    return true;
  }

  find(base: Base, from: TransportAddress): CandidatePair | undefined {
    const { active } = this;
    const isActive = active?.base === base && active.peer.port === from.port && active.peer.address === from.address;
    return isActive ? active : (this.session.findPair(base, from) ?? this.previous?.findPair(base, from));
  }

  answered(pair: CandidatePair, nowMs: number): void {
    this.lastAnswerMs = nowMs;
    pair.base.prepare(pair.peer, nowMs);
    this.#consent.answered(pair, pair === this.active, nowMs);
    this.choose(nowMs);
  }

  asked(pair: CandidatePair, nowMs: number): void {
    this.#consent.asked(pair, nowMs);
  }

  nominated(pair: CandidatePair, nowMs: number): void {
    if (this.session.selected !== pair) return;
    this.#endPrevious(nowMs);
    if (pair.isDirect) {
      this.#nominator.settle(this.session, (other) => this.#events.hush(other, nowMs));
      this.#events.onSettled();
    }
    this.choose(nowMs);
  }

  baseLost(base: Base, nowMs: number): void {
    const hadPath = this.active !== undefined;
    for (const session of new Set([this.session, this.previous, this.#replaced?.session, this.#replaced?.previous])) {
      for (const pair of session?.list.pairs() ?? []) if (pair.base === base) this.#consent.forget(pair);
      session?.removeBase(base);
    }
    this.choose(nowMs);
    // Else it was one that was tried in vain, such as a connection that was refused.
    if (hadPath && !this.active) this.#events.onDead(nowMs);
  }

  /** Somebody misses answers, or has something to say on a dead path: what is in use is asked now, or else everything. */
  probe(nowMs: number): void {
    if (nowMs < this.#probedMs + PROBE_INTERVAL_MS) return;
    this.#probedMs = nowMs;
    this.#consent.probe(nowMs);
    if (!this.isActiveLive) this.#events.onDead(nowMs);
  }

  considerNomination(nowMs: number): void {
    this.#nominator.consider(this.session, this.#liveness, nowMs);
  }

  handleTimeout(nowMs: number): void {
    const { active } = this;
    const wasLive = this.isActiveLive;
    for (const pair of this.#consent.handleTimeout((each) => this.#ask(each, nowMs), nowMs)) this.#expire(pair);
    if (!active || !this.#consent.isSuspect(active, nowMs)) this.#isSuspecting = false;
    else if (!this.#isSuspecting) {
      this.#isSuspecting = true;
      this.#consent.probe(nowMs);
    }
    if (wasLive && !this.isActiveLive) this.#events.onDead(nowMs);
    this.choose(nowMs);
  }

  choose(nowMs: number): void {
    const best =
      this.#nominator.bestPair(this.session, this.#liveness) ??
      (this.previous && this.#nominator.bestPair(this.previous, this.#liveness));
    if (best === this.active) return;
    this.active = best;
    if (!best) return;
    this.#consent.activate(best, nowMs);
    this.#events.onActive(best, nowMs);
  }

  close(): void {
    this.#consent.forgetAll();
    this.active = undefined;
  }

  readonly #liveness = (pair: CandidatePair): Liveness => this.#consent.liveness(pair);

  /** With the credentials of the session that the pair belongs to. */
  #ask(pair: CandidatePair, nowMs: number): void {
    const owner = [this.session, this.previous].find((session) => session?.list.byId(pair.id) === pair);
    owner?.startCheck(pair, 'consent', nowMs);
  }

  #expire(pair: CandidatePair): void {
    pair.state = 'failed';
    pair.validSinceMs = undefined;
    pair.isNominated = false;
    for (const session of [this.session, this.previous]) if (session?.selected === pair) session.selected = undefined;
  }

  /** The restarted session has taken over. */
  #endPrevious(nowMs: number): void {
    const { previous } = this;
    this.previous = undefined;
    if (!previous) return;
    previous.close();
    for (const pair of previous.list.pairs()) {
      this.#consent.forget(pair);
      if (!this.session.findPair(pair.base, pair.peer)) this.#events.onUnused(pair, nowMs);
    }
    this.#events.onPreviousEnded();
  }
}
