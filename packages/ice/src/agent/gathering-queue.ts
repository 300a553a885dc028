/**
 * What gathering waits for: questions to servers, of which one leaves with each turn of
 * the pacer (RFC 8445 §14), and everything that has begun and not ended.
 */

export class GatheringQueue {
  readonly #questions: ((nowMs: number) => void)[] = [];
  #begun = 0;

  /** Nothing waits for its turn or for an answer. */
  get isEmpty(): boolean {
    return this.#begun === 0 && this.#questions.length === 0;
  }

  get hasWork(): boolean {
    return this.#questions.length > 0;
  }

  /** Gathering is not complete before what is returned was called; a second call does nothing. */
  begin(): () => void {
    this.#begun += 1;
    let isOpen = true;
    return () => {
      if (isOpen) this.#begun -= 1;
      isOpen = false;
    };
  }

  push(question: (nowMs: number) => void): void {
    this.#questions.push(question);
  }

  /** Starts one question. False when there is none. */
  startNext(nowMs: number): boolean {
    const next = this.#questions.shift();
    next?.(nowMs);
    return next !== undefined;
  }

  clear(): void {
    this.#questions.length = 0;
  }
}
