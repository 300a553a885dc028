/** The greatest or least value of the last stretch, kept as two overlapping halves: O(1), exact to half a window. */

export class WindowedMax {
  #current = 0;
  #next = 0;
  #endsAt = 0;
  readonly #half: number;

  /** `window` in whatever unit `update` counts `now`. */
  constructor(window: number) {
    this.#half = window / 2;
  }

  get value(): number {
    return this.#current;
  }

  update(value: number, now: number): void {
    if (now >= this.#endsAt) {
      this.#current = Math.max(this.#next, value);
      this.#next = value;
      this.#endsAt = now + this.#half;
    }
    if (value > this.#next) this.#next = value;
    if (value > this.#current) this.#current = value;
  }

  /** Forgets what is greater than `value`. */
  clampTo(value: number): void {
    this.#current = Math.min(this.#current, value);
    this.#next = Math.min(this.#next, value);
  }
}

export class WindowedMin {
  #current = Number.POSITIVE_INFINITY;
  #next = Number.POSITIVE_INFINITY;
  #endsAt = 0;
  readonly #half: number;

  constructor(window: number) {
    this.#half = window / 2;
  }

  /** Infinite before the first update. */
  get value(): number {
    return this.#current;
  }

  update(value: number, now: number): void {
    if (now >= this.#endsAt) {
      this.#current = Math.min(this.#next, value);
      this.#next = value;
      this.#endsAt = now + this.#half;
    }
    if (value < this.#next) this.#next = value;
    if (value < this.#current) this.#current = value;
  }
}
