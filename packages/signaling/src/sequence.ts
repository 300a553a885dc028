/**
 * Sequence numbers of a sender: microseconds since 1970, or one more than the
 * last. They grow over restarts without anything being stored, as long as the
 * wall clock does not step back while the node is down.
 */

import type { Clock } from '@claw/base';

export class SequenceSource {
  readonly #clock: Clock;
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  next(): number {
    this.#last = Math.max(this.#last + 1, Math.floor(this.#clock.now() * 1000));
    return this.#last;
  }
}
