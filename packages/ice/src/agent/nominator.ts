/**
 * Which valid pair carries the data, and when the controlling side says so
 * (RFC 8445 §8.1.1). Data may flow on any valid pair (§12.1), so nothing waits for
 * a nomination; it is made at once for the best pair there can be, and after a
 * short grace for one that a better one may still overtake. A session that found
 * only a relay moves to a direct pair when one turns up.
 */

import type { CandidatePair } from './candidate-pair.ts';
import type { Liveness } from './consent.ts';
import type { Session } from './session.ts';
import type { IceTiming } from './types.ts';

type LivenessOf = (pair: CandidatePair) => Liveness;

/** Untried pairs that are kept after a direct pair was nominated, for a later failover. */
const KEPT_UNTRIED = 4;

export class Nominator {
  readonly #timing: Required<IceTiming>;
  #deadlineMs = Number.POSITIVE_INFINITY;

  constructor(timing: Required<IceTiming>) {
    this.#timing = timing;
  }

  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  /** The pair that data should take now. */
  bestPair(session: Session, liveness: LivenessOf): CandidatePair | undefined {
    const { selected } = session;
    if (selected?.state === 'succeeded' && liveness(selected) > 0) return selected;
    let best: CandidatePair | undefined;
    for (const pair of session.list.pairs()) {
      if (pair.state === 'succeeded' && (!best || isBetter(pair, best, liveness))) best = pair;
    }
    return best;
  }

  /** Of the controlling side: nominates if there is reason to. */
  consider(session: Session, liveness: LivenessOf, nowMs: number): void {
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    let target: CandidatePair | undefined;
    for (const pair of session.list.pairs()) {
      // One at a time, unless the pair of that one went silent.
      if (pair.check && pair.state === 'succeeded' && liveness(pair) > 0 && pair.nomination === session.nomination)
        return;
      if (pair.state === 'succeeded' && (!target || isBetter(pair, target, liveness))) target = pair;
    }
    if (!target || target === session.selected || target.check || liveness(target) < 2) return;
    if (session.selected && !this.#shouldMove(session.selected, target, liveness)) return;
    if (!session.selected) {
      const atMs = this.#nominateAtMs(session, target);
      if (atMs > nowMs) {
        this.#deadlineMs = atMs;
        return;
      }
    }
    session.startCheck(target, 'nominate', nowMs);
  }

  /** After a direct pair was nominated: no further checks but a few for later (RFC 8445 §8.1.2). */
  settle(session: Session, hush: (pair: CandidatePair) => void): void {
    // A connection is made when the path has died, and not before.
    session.list.tcpFromMs = Number.POSITIVE_INFINITY;
    let kept = 0;
    for (const pair of [...session.list.pairs()]) {
      if (pair.state === 'in-progress') hush(pair);
      else if (pair.state === 'frozen' || pair.state === 'waiting') {
        if (pair.quality < 2 && kept < KEPT_UNTRIED) kept += 1;
        else session.list.delete(pair);
      }
    }
  }

  #shouldMove(from: CandidatePair, to: CandidatePair, liveness: LivenessOf): boolean {
    if (from.state !== 'succeeded' || liveness(from) === 0) return true;
    return to.quality > from.quality;
  }

  #nominateAtMs(session: Session, target: CandidatePair): number {
    const validSinceMs = target.validSinceMs ?? 0;
    let canImprove = false;
    for (const pair of session.list.pairs()) {
      if (pair.state === 'succeeded' || pair.state === 'failed') continue;
      if (pair.quality > target.quality || (pair.quality === target.quality && pair.priority > target.priority)) {
        canImprove = true;
        break;
      }
    }
    if (!canImprove && (target.isDirect || (session.remoteEnded && !session.hasPendingChecks))) return validSinceMs;
    return validSinceMs + (target.isDirect ? this.#timing.directGraceMs : this.#timing.relayGraceMs);
  }
}

function isBetter(a: CandidatePair, b: CandidatePair, liveness: LivenessOf): boolean {
  if (liveness(a) !== liveness(b)) return liveness(a) > liveness(b);
  if (a.quality !== b.quality) return a.quality > b.quality;
  return a.priority > b.priority;
}
