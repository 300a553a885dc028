/** How long a NAT remembers a TCP connection: RFC 5382, REQ-5, with a short end after FIN or RST. */

const FIN = 1;
const SYN = 2;
const RST = 4;

const ESTABLISHED_IDLE_MS = (2 * 3600 + 4 * 60) * 1000;
const TRANSITORY_IDLE_MS = 240_000;
const CLOSED_MS = 10_000;

export class TcpSession {
  #heardOut = false;
  #heardIn = false;
  #finOut = false;
  #finIn = false;
  #reset = false;

  /** Notes a segment and returns how long the session lives if it is the last. */
  lifetimeMsAfter(flags: number | undefined, isOutbound: boolean): number {
    if (flags !== undefined) this.#note(flags, isOutbound);
    if (isOutbound) this.#heardOut = true;
    else this.#heardIn = true;
    if (this.#reset || (this.#finOut && this.#finIn)) return CLOSED_MS;
    return this.#heardOut && this.#heardIn ? ESTABLISHED_IDLE_MS : TRANSITORY_IDLE_MS;
  }

  #note(flags: number, isOutbound: boolean): void {
    if (flags & SYN) {
      // A connection between the same ends anew.
      if (this.#reset || (this.#finOut && this.#finIn)) this.#heardIn = this.#heardOut = false;
      this.#reset = this.#finOut = this.#finIn = false;
    }
    if (flags & RST) this.#reset = true;
    if (flags & FIN && isOutbound) this.#finOut = true;
    if (flags & FIN && !isOutbound) this.#finIn = true;
  }
}
