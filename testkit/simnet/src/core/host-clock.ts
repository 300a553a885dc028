/**
 * The clock of one host. Asleep, monotonic time and timers stand still and what
 * was pending fires later by as much; the wall clock is right again on waking,
 * as after a suspend, unless it was stepped.
 */

import type { Clock, Timer } from '@claw/base';
import type { Scheduler } from './scheduler.ts';

interface HostTimer {
  /** In the host's own monotonic time. */
  readonly atMs: number;
  readonly fire: () => void;
  event: Timer | undefined;
}

export class HostClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #timers = new Set<HostTimer>();
  #wallStartMs: number;
  #sleptMs = 0;
  #asleepSinceMs: number | undefined;

  constructor(scheduler: Scheduler, wallStartMs: number) {
    this.#scheduler = scheduler;
    this.#wallStartMs = wallStartMs;
  }

  now(): number {
    return Math.floor(this.#wallStartMs + this.#scheduler.nowMs);
  }

  monotonicMs(): number {
    return (this.#asleepSinceMs ?? this.#scheduler.nowMs) - this.#sleptMs;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    return this.#add(delayMs, () => {
      this.#scheduler.touch();
      fire();
    });
  }

  /** A timer of the simulated kernel, which needs no pause for promises after it. */
  setKernelTimer(delayMs: number, fire: () => void): Timer {
    return this.#add(delayMs, fire);
  }

  step(byMs: number): void {
    this.#wallStartMs += byMs;
  }

  sleep(): void {
    if (this.#asleepSinceMs !== undefined) return;
    this.#asleepSinceMs = this.#scheduler.nowMs;
    for (const timer of this.#timers) timer.event?.cancel();
  }

  wake(): void {
    if (this.#asleepSinceMs === undefined) return;
    this.#sleptMs += this.#scheduler.nowMs - this.#asleepSinceMs;
    this.#asleepSinceMs = undefined;
    for (const timer of this.#timers) this.#arm(timer);
  }

  #add(delayMs: number, fire: () => void): Timer {
    const timer: HostTimer = { atMs: this.monotonicMs() + Math.max(0, delayMs), fire, event: undefined };
    this.#timers.add(timer);
    if (this.#asleepSinceMs === undefined) this.#arm(timer);
    return {
      cancel: () => {
        timer.event?.cancel();
        this.#timers.delete(timer);
      },
    };
  }

  #arm(timer: HostTimer): void {
    timer.event = this.#scheduler.at(timer.atMs + this.#sleptMs, () => {
      this.#timers.delete(timer);
      timer.fire();
    });
  }
}
