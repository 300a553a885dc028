/**
 * Structured lifetimes. A scope owns the tasks started in it: closing it aborts
 * their signal and waits for them, so no promise outlives the object it serves.
 */

import { type Clock, systemClock } from './clock.ts';

export interface TaskScopeOptions {
  /** Told of each task that fails for any reason but the scope's own abort. */
  readonly onError: (error: unknown, task: string) => void;
  /** How long {@link TaskScope.close} waits for tasks to end. Default 5,000 ms. */
  readonly closeDeadlineMs?: number;
  readonly clock?: Clock;
}

export class TaskScope implements AsyncDisposable {
  readonly #abort = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  readonly #options: TaskScopeOptions;
  #closing: Promise<void> | undefined;

  constructor(options: TaskScopeOptions) {
    this.#options = options;
  }

  /** Aborted when the scope closes. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get closed(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Starts `task` at once; it is skipped when the scope has closed. */
  run(name: string, task: (signal: AbortSignal) => Promise<unknown>): void {
    if (this.closed) return;
    const running = this.#guard(name, task);
    this.#tasks.add(running);
    void running.finally(() => this.#tasks.delete(running));
  }

  /** Aborts every task and waits for them, up to the deadline. Idempotent. */
  close(reason: Error = new Error('the scope was closed')): Promise<void> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #guard(name: string, task: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
    try {
      await task(this.signal);
    } catch (error) {
      if (!(this.closed && error === this.signal.reason)) this.#options.onError(error, name);
    }
  }

  async #close(reason: Error): Promise<void> {
    this.#abort.abort(reason);
    if (this.#tasks.size === 0) return;
    const clock = this.#options.clock ?? systemClock;
    const deadline = Promise.withResolvers<void>();
    const timer = clock.setTimer(this.#options.closeDeadlineMs ?? 5000, deadline.resolve);
    await Promise.race([Promise.allSettled(this.#tasks), deadline.promise]);
    timer.cancel();
  }
}
