/** The state that is told (W3C WebRTC §5.6.4), from what paths and checks have come to. */

import type { IceState } from './types.ts';

/** Of an agent without a pair. */
export interface WaitingFacts {
  readonly hasPendingChecks: boolean;
  /** Everything was tried, and nothing more can come. */
  readonly isHopeless: boolean;
  /** When any pair answered last. */
  readonly lastAnswerMs: number;
}

export class StateKeeper {
  readonly #expiryMs: number;
  readonly #onChange: (state: IceState) => void;
  #state: IceState = 'new';
  /** Since when there is no pair. */
  #checkingSinceMs: number | undefined;

  /** `expiryMs`: how long there may be no pair. */
  constructor(expiryMs: number, onChange: (state: IceState) => void) {
    this.#expiryMs = expiryMs;
    this.#onChange = onChange;
  }

  get state(): IceState {
    return this.#state;
  }

  /** When it fails, unless a pair is found; Infinity when that is not to be feared. */
  get deadlineMs(): number {
    return this.#state === 'failed' ? Number.POSITIVE_INFINITY : this.#failAtMs;
  }

  /** The peer is known: checks may begin. */
  begin(nowMs: number): void {
    this.#checkingSinceMs ??= nowMs;
  }

  /** There is as much time again. */
  restart(): void {
    this.#checkingSinceMs = undefined;
  }

  /** A pair carries data; `isLive`: and answers. */
  connected(isLive: boolean, isNominated: boolean): void {
    this.#checkingSinceMs = undefined;
    if (!isLive) this.#set('disconnected');
    else this.#set(isNominated ? 'completed' : 'connected');
  }

  /** None does, and the peer is known. */
  waiting(facts: WaitingFacts, nowMs: number): void {
    const wasConnected = this.#state === 'connected' || this.#state === 'completed' || this.#state === 'disconnected';
    // Whose address went may have another one soon; whose consent expired has waited long enough.
    this.#checkingSinceMs ??= wasConnected ? facts.lastAnswerMs : nowMs;
    if (nowMs >= this.#failAtMs || (!wasConnected && facts.isHopeless)) return this.#set('failed');
    if (wasConnected) this.#set('disconnected');
    else if (this.#state !== 'failed' || facts.hasPendingChecks) this.#set('checking');
  }

  close(): void {
    this.#set('closed');
  }

  get #failAtMs(): number {
    return (this.#checkingSinceMs ?? Number.POSITIVE_INFINITY) + this.#expiryMs;
  }

  #set(state: IceState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#onChange(state);
  }
}
