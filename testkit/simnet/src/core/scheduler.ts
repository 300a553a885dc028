/**
 * Virtual time. It moves on only when nothing is runnable: after every event
 * that called into code outside of the simulator, all promises that are ready
 * run before the next event. Events of the simulator alone need no such pause,
 * which is what makes a minute cheap.
 */

import type { Timer } from '@claw/base';
import { simnetError } from '../errors.ts';
import { EventHeap, SimEvent } from './event-heap.ts';

/** So many events at one instant mean that two programs answer each other without any delay between them. */
const MAX_EVENTS_AT_ONCE = 5_000_000;
const COMPACT_ABOVE = 1024;

export class Scheduler {
  readonly #heap = new EventHeap();
  #nowMs = 0;
  #order = 0;
  #pending = 0;
  #touched = true;
  #running = false;
  #closed = false;

  /** Since the start, milliseconds with fractions. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that are still to come. */
  get pendingEvents(): number {
    return this.#pending;
  }

  /** Calls `run` at `atMs`, at once when that is past. */
  at(atMs: number, run: () => void): Timer {
    const event = new SimEvent(Math.max(atMs, this.#nowMs), this.#order, run);
    this.#order += 1;
    if (this.#closed) return { cancel: () => {} };
    this.#pending += 1;
    this.#heap.push(event);
    return { cancel: () => this.#cancel(event) };
  }

  after(delayMs: number, run: () => void): Timer {
    return this.at(this.#nowMs + Math.max(0, delayMs), run);
  }

  /** To be said before any call into code outside, and before a promise is settled. */
  touch(): void {
    this.#touched = true;
  }

  /** Runs what is due until `untilMs`, then stands there. */
  async run(untilMs: number): Promise<void> {
    await this.#loop(untilMs, () => false);
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** Runs until `promise` settles, and returns or throws what it does. SIMNET_STALLED when it does not by `limitMs`. */
  async runUntil<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    let settled = false;
    const note = () => {
      settled = true;
    };
    promise.then(note, note);
    await this.#loop(limitMs, () => settled);
    if (settled) return promise;
    const when = this.#pending === 0 ? 'with nothing left to happen' : `at the limit of ${limitMs} ms`;
    throw simnetError('SIMNET_STALLED', `the promise is open at ${this.#nowMs} ms, ${when}`);
  }

  /** Nothing happens any more. */
  close(): void {
    this.#closed = true;
    for (let event = this.#heap.pop(); event; event = this.#heap.pop()) event.run = undefined;
    this.#pending = 0;
  }

  async #loop(untilMs: number, isDone: () => boolean): Promise<void> {
    if (this.#running) throw new TypeError('run was called while the simulation runs');
    this.#running = true;
    let atOnce = 0;
    try {
      await settle();
      for (let next = this.#next(); next && next.atMs <= untilMs && !isDone(); next = this.#next()) {
        this.#heap.pop();
        atOnce = next.atMs > this.#nowMs ? 0 : atOnce + 1;
        if (atOnce > MAX_EVENTS_AT_ONCE)
          throw simnetError('SIMNET_STALLED', `time does not move on from ${this.#nowMs} ms`);
        this.#nowMs = next.atMs;
        this.#pending -= 1;
        this.#touched = false;
        const { run } = next;
        next.run = undefined;
        run?.();
        if (this.#touched) await settle();
      }
    } finally {
      this.#running = false;
    }
  }

  #next(): SimEvent | undefined {
    let next = this.#heap.peek();
    while (next && !next.run) {
      this.#heap.pop();
      next = this.#heap.peek();
    }
    return next;
  }

  #cancel(event: SimEvent): void {
    if (!event.run) return;
    event.run = undefined;
    this.#pending -= 1;
    if (this.#heap.size > COMPACT_ABOVE && this.#heap.size > 4 * this.#pending) this.#heap.compact();
  }
}

/** Lets everything that is ready to run do so, with no time passing. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
