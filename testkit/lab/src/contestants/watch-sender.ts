/** Sends a small message each 50 ms for the length of a run; one that the session will not take is left out, not queued. */

import type { Clock, Timer } from '@claw/base';
import type { Session } from './contract.ts';
import { encodeMeasure } from './measure-messages.ts';

const INTERVAL_MS = 50;

export class WatchSender {
  sent = 0;
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #run: number;
  readonly #startMs: number;
  readonly #durationMs: number;
  #pending = false;
  #timer: Timer | undefined;

  /** `startMs` and `durationMs` are the run's; messages leave until it ends or {@link stop}. */
  constructor(session: Session, clock: Clock, run: { id: number; startMs: number; durationMs: number }) {
    this.#session = session;
    this.#clock = clock;
    this.#run = run.id;
    this.#startMs = run.startMs;
    this.#durationMs = run.durationMs;
    this.#tick();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #tick(): void {
    const sentMs = this.#clock.monotonicMs();
    if (sentMs >= this.#startMs + this.#durationMs) return;
    // Timers fire a little early or late; the count of intervals since the start does not drift.
    const next = Math.round((sentMs - this.#startMs) / INTERVAL_MS) + 1;
    this.#timer = this.#clock.setTimer(this.#startMs + next * INTERVAL_MS - sentMs, () => this.#tick());
    if (this.#pending) return;
    this.#pending = true;
    this.sent += 1;
    const header = { run: this.#run, startMs: this.#startMs, sentMs, number: this.#durationMs };
    this.#session.send(encodeMeasure({ kind: 'watch', ...header })).then(
      () => {
        this.#pending = false;
      },
      () => this.stop(),
    );
  }
}
