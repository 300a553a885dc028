/** A rate limit: `perSecond` tokens flow in, at most `burst` are kept. Sans-IO. */

export interface TokenBucketOptions {
  /** Tokens that flow in each second. */
  readonly perSecond: number;
  /** Tokens kept, and there at the start. Default: those of two seconds. */
  readonly burst?: number;
}

export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  /** `nowMs` is monotonic, here and below. */
  constructor(options: TokenBucketOptions, nowMs: number) {
    this.#perMs = options.perSecond / 1000;
    this.#burst = options.burst ?? options.perSecond * 2;
    this.#tokens = this.#burst;
    this.#atMs = nowMs;
  }

  /** Takes `count` tokens and returns true, or takes none and returns false. */
  take(count: number, nowMs: number): boolean {
    this.#refill(nowMs);
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }

  /** Gives back what was taken for something that did not happen after all. */
  giveBack(count: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + count);
  }

  /** Milliseconds until {@link take} of `count` can succeed; 0 when it can now. */
  waitMs(count: number, nowMs: number): number {
    this.#refill(nowMs);
    return Math.max(0, (Math.min(count, this.#burst) - this.#tokens) / this.#perMs);
  }

  /** True when nothing was taken for so long that a new bucket would be the same. */
  isFull(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#tokens >= this.#burst;
  }

  #refill(nowMs: number): void {
    if (nowMs <= this.#atMs) return;
    this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
  }
}
