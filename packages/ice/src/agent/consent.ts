/**
 * Consent freshness (RFC 7675): the pair in use is asked every five seconds, and
 * after thirty without an answer nothing is sent on it any more. An answer that is
 * late is asked for again soon, so that a dead path shows within seconds. A pair on
 * which nothing moves, in use or in reserve, is asked less often, which also keeps
 * NAT mappings open (RFC 8445 §11).
 *
 * Only an answer of the peer to our own check is consent. But where both ends have
 * to ask, they may as well ask at the same time: whoever is asked when its own check
 * might leave too asks back at once, so each end wakes up twice and not three times.
 */

import type { Random } from '@claw/base';
import type { CandidatePair } from './candidate-pair.ts';
import type { IceTiming } from './types.ts';

export type Liveness = 0 | 1 | 2;

interface Watch {
  dueMs: number;
  /** When a check of the peer is answered by one of ours. So long after the last that the two do not go on for ever. */
  askBackFromMs: number;
  /** Application packets both ways when it last answered. */
  packets: number;
  /** When the first check left that has not been answered. */
  silentSinceMs: number | undefined;
  isSilent: boolean;
}

/** Of pairs that carry nothing; NATs keep UDP mappings for 30 s or more. */
const IDLE_INTERVAL_MS = 15_000;
/** Agents of one process ask about what is idle at the same moments: it wakes up less often, and what it needs is at hand. */
const IDLE_GRID_MS = 1000;
/** Intervals are drawn between so many times their length and 2 less that (RFC 7675 §5.1). */
const LEAST_INTERVAL = 0.8;
const RESERVE_PAIRS = 4;
const RETRY_MS = 500;

export class ConsentMonitor {
  readonly #timing: Required<IceTiming>;
  readonly #random: Random;
  readonly #watches = new Map<CandidatePair, Watch>();

  constructor(timing: Required<IceTiming>, random: Random) {
    this.#timing = timing;
    this.#random = random;
  }

  /** Call when any check of the pair was answered. */
  answered(pair: CandidatePair, isActive: boolean, nowMs: number): void {
    if (!this.#watches.has(pair) && this.#watches.size > RESERVE_PAIRS && !isActive) return;
    const packets = pair.packetsSent + pair.packetsReceived;
    const isBusy = isActive && packets !== this.#watches.get(pair)?.packets;
    this.#watches.set(pair, { ...this.#plan(isBusy, nowMs), packets, silentSinceMs: undefined, isSilent: false });
  }

  /** The peer has asked on the pair. */
  asked(pair: CandidatePair, nowMs: number): void {
    const watch = this.#watches.get(pair);
    if (!watch || watch.silentSinceMs !== undefined || nowMs < watch.askBackFromMs) return;
    watch.dueMs = Math.min(watch.dueMs, nowMs);
  }

  forget(pair: CandidatePair): void {
    this.#watches.delete(pair);
  }

  forgetAll(): void {
    this.#watches.clear();
  }

  /** The pair became the one in use: asked at the shorter interval from now on. */
  activate(pair: CandidatePair, nowMs: number): void {
    const watch = this.#watches.get(pair);
    const { dueMs, askBackFromMs } = this.#plan(true, nowMs);
    if (!watch) {
      this.#watches.set(pair, { dueMs, askBackFromMs, packets: -1, silentSinceMs: undefined, isSilent: false });
      return;
    }
    watch.dueMs = Math.min(watch.dueMs, dueMs);
    watch.askBackFromMs = Math.min(watch.askBackFromMs, askBackFromMs);
  }

  /** Asks all pairs that are watched now: somebody suspects the path. */
  probe(nowMs: number): void {
    for (const watch of this.#watches.values()) watch.dueMs = Math.min(watch.dueMs, nowMs);
  }

  /** 2: has answered all it was asked. 1: an answer is due. 0: silent for too long. */
  liveness(pair: CandidatePair): Liveness {
    const watch = this.#watches.get(pair);
    if (watch?.isSilent) return 0;
    return watch?.silentSinceMs === undefined ? 2 : 1;
  }

  /** Whether two checks of the pair went unanswered: time to look at the others. */
  isSuspect(pair: CandidatePair, nowMs: number): boolean {
    const since = this.#watches.get(pair)?.silentSinceMs;
    return since !== undefined && nowMs - since >= 2 * RETRY_MS;
  }

  /** Sends what is due. Returns pairs whose consent has expired. */
  handleTimeout(ask: (pair: CandidatePair) => void, nowMs: number): CandidatePair[] {
    const expired: CandidatePair[] = [];
    for (const [pair, watch] of this.#watches) {
      if (nowMs >= pair.lastAnswerMs + this.#timing.consentExpiryMs) {
        expired.push(pair);
        continue;
      }
      if (nowMs >= this.#silentAtMs(pair, watch)) watch.isSilent = true;
      if (watch.dueMs > nowMs) continue;
      watch.silentSinceMs ??= nowMs;
      watch.dueMs = nowMs + (watch.isSilent ? 2 * RETRY_MS : RETRY_MS);
      ask(pair);
    }
    for (const pair of expired) this.#watches.delete(pair);
    return expired;
  }

  get deadlineMs(): number {
    let deadlineMs = Number.POSITIVE_INFINITY;
    for (const [pair, watch] of this.#watches) {
      const expiryMs = pair.lastAnswerMs + this.#timing.consentExpiryMs;
      deadlineMs = Math.min(deadlineMs, watch.dueMs, expiryMs);
      if (!watch.isSilent) deadlineMs = Math.min(deadlineMs, this.#silentAtMs(pair, watch));
    }
    return deadlineMs;
  }

  /** Five checks without an answer that had the time to come: with a quarter lost each way, 2 % of healthy paths. */
  #silentAtMs(pair: CandidatePair, { silentSinceMs }: Watch): number {
    if (silentSinceMs === undefined) return Number.POSITIVE_INFINITY;
    const answerMs = (pair.roundTripMs ?? 0) + 4 * pair.roundTripVarianceMs;
    return silentSinceMs + this.#timing.disconnectedMs + answerMs;
  }

  /** When to ask next after an answer. */
  #plan(isBusy: boolean, nowMs: number): Pick<Watch, 'dueMs' | 'askBackFromMs'> {
    const intervalMs = isBusy ? this.#timing.consentIntervalMs : IDLE_INTERVAL_MS;
    const leastMs = nowMs + LEAST_INTERVAL * intervalMs;
    const atMs = leastMs + 2 * (1 - LEAST_INTERVAL) * intervalMs * this.#random.fraction();
    if (isBusy) return { dueMs: atMs, askBackFromMs: leastMs };
    const onGridMs = Math.round(atMs / IDLE_GRID_MS) * IDLE_GRID_MS;
    return { dueMs: onGridMs, askBackFromMs: leastMs - IDLE_GRID_MS };
  }
}
