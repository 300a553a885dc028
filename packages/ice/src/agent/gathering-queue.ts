/**
 * What gathering waits for: questions to servers, of which one leaves with each turn of
 * the pacer (RFC 8445 §14), and everything that has begun and not ended. In the end it
 * says which servers nobody could reach.
 */

import type { ServerAddress } from '../candidate/server-url.ts';

/** Of something that has begun. */
export interface Begun {
  /** It ends with this transport. */
  readonly transportId?: number;
  /** It tries to reach this server. */
  readonly server?: ServerAddress;
  /** It did reach it once: not to be told when it cannot now. */
  readonly isRetry?: boolean;
}

/** Ends it; a second call does nothing. */
export type Finish = (wasReached?: boolean) => void;

interface Question {
  readonly transportId: number;
  readonly ask: (nowMs: number) => void;
}

export class GatheringQueue {
  readonly #onUnreached: (server: ServerAddress) => void;
  #questions: Question[] = [];
  readonly #begun = new Map<Finish, Begun>();
  /** Servers that were tried since everything had ended last, and whether one try came through. */
  readonly #tried = new Map<ServerAddress, boolean>();

  constructor(onUnreached: (server: ServerAddress) => void) {
    this.#onUnreached = onUnreached;
  }

  /** Everything that was begun has ended. */
  get isIdle(): boolean {
    return this.#begun.size === 0;
  }

  get hasWork(): boolean {
    return this.#questions.length > 0;
  }

  /** Gathering is not complete before what is returned was called. */
  begin(begun: Begun = {}): Finish {
    const finish: Finish = (wasReached = false) => this.#end(finish, wasReached);
    this.#begun.set(finish, begun);
    return finish;
  }

  /** Whether an answer of the server is outstanding there. */
  isTrying(transportId: number, server: ServerAddress): boolean {
    for (const begun of this.#begun.values()) {
      if (begun.transportId === transportId && begun.server === server) return true;
    }
    return false;
  }

  push(transportId: number, ask: (nowMs: number) => void): void {
    this.#questions.push({ transportId, ask });
  }

  /** Starts one question. False when there is none. */
  startNext(nowMs: number): boolean {
    const next = this.#questions.shift();
    next?.ask(nowMs);
    return next !== undefined;
  }

  /** No answer can come by this transport any more. */
  transportLost(id: number): void {
    this.#questions = this.#questions.filter(({ transportId }) => transportId !== id);
    for (const [finish, { transportId }] of this.#begun) if (transportId === id) finish();
  }

  clear(): void {
    this.#questions = [];
  }

  #end(finish: Finish, wasReached: boolean): void {
    const begun = this.#begun.get(finish);
    if (!begun) return;
    this.#begun.delete(finish);
    const { server, isRetry } = begun;
    if (server && !isRetry) this.#tried.set(server, wasReached || this.#tried.get(server) === true);
    if (!this.isIdle) return;
    const unreached = [...this.#tried].filter(([, isReached]) => !isReached);
    this.#tried.clear();
    for (const [each] of unreached) this.#onUnreached(each);
  }
}
