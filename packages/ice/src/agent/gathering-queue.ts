/**
 * What gathering waits for: questions to servers, of which one leaves with each turn of
 * the pacer (RFC 8445 §14), and everything that has begun and not ended.
 */

interface Question {
  readonly transportId: number;
  readonly ask: (nowMs: number) => void;
}

export class GatheringQueue {
  #questions: Question[] = [];
  /** What has begun, and on which transport. */
  readonly #begun = new Map<() => void, number | undefined>();

  /** Everything that was begun has ended. */
  get isIdle(): boolean {
    return this.#begun.size === 0;
  }

  get hasWork(): boolean {
    return this.#questions.length > 0;
  }

  /** Gathering is not complete before what is returned was called, or the transport is gone. */
  begin(transportId?: number): () => void {
    const finish = () => void this.#begun.delete(finish);
    this.#begun.set(finish, transportId);
    return finish;
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
  transportLost(transportId: number): void {
    this.#questions = this.#questions.filter((each) => each.transportId !== transportId);
    for (const [finish, id] of this.#begun) if (id === transportId) finish();
  }

  clear(): void {
    this.#questions = [];
  }
}
