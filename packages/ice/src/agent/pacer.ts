/**
 * Ta: how often a new transaction may start (RFC 8445 §14.2). The first checks go
 * at 5 ms, the least the RFC allows, so that a few dozen pairs are tried within
 * one round trip; who has more pairs pays with a slower pace, so that nobody can
 * make us send at more than 1/Ta for long. The allowance grows back while idle.
 */

export interface PacerOptions {
  readonly firstPacingMs: number;
  readonly firstChecks: number;
  readonly pacingMs: number;
}

export class Pacer {
  readonly #options: PacerOptions;
  #quick: number;
  #nextMs = Number.NEGATIVE_INFINITY;
  #isQuestionsTurn = false;

  constructor(options: PacerOptions) {
    this.#options = { ...options, firstPacingMs: Math.max(5, options.firstPacingMs) };
    this.#quick = options.firstChecks;
  }

  /** When the next transaction may start. */
  get nextMs(): number {
    return this.#nextMs;
  }

  /** Lets out what may start now, checks and questions to servers by turns; each says whether there was one. */
  letOut(check: () => boolean, question: () => boolean, nowMs: number): void {
    while (nowMs >= this.#nextMs) {
      const started = this.#isQuestionsTurn ? question() || check() : check() || question();
      if (!started) return;
      this.#spend(nowMs);
      this.#isQuestionsTurn = !this.#isQuestionsTurn;
    }
  }

  /** Ta as it stands, for the retransmission time-out. */
  get intervalMs(): number {
    return this.#quick >= 1 ? this.#options.firstPacingMs : this.#options.pacingMs;
  }

  #spend(nowMs: number): void {
    const { firstPacingMs, firstChecks, pacingMs } = this.#options;
    if (Number.isFinite(this.#nextMs)) {
      const idleMs = Math.max(0, nowMs - this.#nextMs);
      this.#quick = Math.min(firstChecks, this.#quick + idleMs / pacingMs);
    }
    const isQuick = this.#quick >= 1;
    if (isQuick) this.#quick -= 1;
    this.#nextMs = nowMs + (isQuick ? firstPacingMs : pacingMs);
  }
}
