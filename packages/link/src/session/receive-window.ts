/**
 * Receiver's side of credit-based flow control (as in RFC 9000 §4.1): counts
 * what came and what was consumed, and says when to raise the peer's limit.
 */

/**
 * What a frame counts for beyond its payload: about what it takes up here until
 * it is consumed, so that a flood of tiny frames is bounded too.
 */
export const FRAME_COST_BYTES = 64;

export class ReceiveWindow {
  readonly #size: number;
  #received = 0;
  #consumed = 0;
  #limit: number;

  constructor(size: number) {
    this.#size = size;
    this.#limit = size;
  }

  /** Bytes that came and were not consumed yet. */
  get held(): number {
    return this.#received - this.#consumed;
  }

  /** Counts arrived bytes; false when the peer went beyond what it was granted. */
  receive(count: number): boolean {
    this.#received += count;
    return this.#received <= this.#limit;
  }

  /** Counts consumed bytes; returns the new limit when the peer should be told. */
  consume(count: number): number | undefined {
    this.#consumed += count;
    if (this.#limit - this.#consumed > this.#size * GRANT_BELOW) return undefined;
    this.#limit = this.#consumed + this.#size;
    return this.#limit;
  }
}

/** The peer is told of a new limit when its room falls to this share; an idle channel never has less. */
export const GRANT_BELOW = 3 / 4;

/** Sender's side: how many bytes may still go. */
export class SendWindow {
  #sent = 0;
  #limit: number;

  constructor(initialLimit: number) {
    this.#limit = initialLimit;
  }

  get room(): number {
    return this.#limit - this.#sent;
  }

  spend(count: number): void {
    this.#sent += count;
  }

  /** Takes back what was spent and will not be sent. */
  refund(count: number): void {
    this.#sent -= count;
  }

  /** Limits only grow; an older credit that arrives late changes nothing. */
  raise(limit: number): void {
    if (limit > this.#limit) this.#limit = limit;
  }
}
