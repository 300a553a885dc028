/** The greatest or least value of the last stretch, kept as two overlapping halves: O(1), exact to half a window. */

export class WindowedFilter {
  #current: number;
  #next: number;
  #endsAt = 0;
  readonly #half: number;
  readonly #pick: (a: number, b: number) => number;

  /** `window` is in whatever unit `update` counts `now`; `initial` is what `pick`, `Math.max` or `Math.min`, prefers last. */
  constructor(window: number, pick: (a: number, b: number) => number, initial: number) {
    this.#half = window / 2;
    this.#pick = pick;
    this.#current = initial;
    this.#next = initial;
  }

  /** The initial value before the first update. */
  get value(): number {
    return this.#current;
  }

  update(value: number, now: number): void {
    if (now >= this.#endsAt) {
      this.#current = this.#next;
      this.#next = value;
      this.#endsAt = now + this.#half;
    }
    this.#next = this.#pick(this.#next, value);
    this.#current = this.#pick(this.#current, value);
  }
}
