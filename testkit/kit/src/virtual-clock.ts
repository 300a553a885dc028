/**
 * A clock that stands still until told to advance. Timers fire in order of
 * their time, then of their making; between two of them pending promises run, and
 * what was asked of the disk is done: on a slow one time would else run ahead.
 */

import type { Clock, Timer } from '@claw/base';

/** A read that never ends, of a pipe say, must not hold up time for ever. */
const MAX_DISK_WAIT_MS = 1000;

interface PendingTimer {
  readonly atMs: number;
  readonly fire: () => void;
}

export class VirtualClock implements Clock {
  #startMs: number;
  readonly #timers = new Set<PendingTimer>();
  #elapsedMs = 0;

  /** `nowMs`: the wall-clock time it starts at. Default 2026-01-01. */
  constructor(options: { readonly nowMs?: number } = {}) {
    this.#startMs = options.nowMs ?? Date.UTC(2026, 0, 1);
  }

  get pendingTimers(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#startMs + Math.floor(this.#elapsedMs);
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const timer = { atMs: this.#elapsedMs + Math.max(0, delayMs), fire };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Moves time on by `ms`, firing every timer that falls due on the way, those set on the way included. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#elapsedMs + ms;
    await settle();
    for (let next = this.#nextTimer(untilMs); next; next = this.#nextTimer(untilMs)) {
      this.#timers.delete(next);
      this.#elapsedMs = Math.max(this.#elapsedMs, next.atMs);
      next.fire();
      await settle();
    }
    this.#elapsedMs = untilMs;
  }

  /** Steps the wall clock alone, as a time server or a person would. */
  stepWallClock(ms: number): void {
    this.#startMs += ms;
  }

  #nextTimer(untilMs: number): PendingTimer | undefined {
    let next: PendingTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.atMs <= untilMs && (!next || timer.atMs < next.atMs)) next = timer;
    }
    return next;
  }
}

/** Lets everything that is ready to run do so, and the disk do what it was asked, with no time passing. */
async function settle(): Promise<void> {
  const giveUpAt = performance.now() + MAX_DISK_WAIT_MS;
  do {
    await new Promise((resolve) => setImmediate(resolve));
  } while (isDiskBusy() && performance.now() < giveUpAt);
}

function isDiskBusy(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq') || name === 'CloseReq');
}
