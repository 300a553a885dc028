/**
 * Until the peer's address is proven, a server sends at most three times the bytes
 * that it got from there (RFC 9147 §5.1, RFC 9000 §8.1): a forged source address
 * makes it no weapon.
 */

const FACTOR = 3;

export class AmplificationLimit {
  #proven: boolean;
  #left = 0;

  constructor(proven: boolean) {
    this.#proven = proven;
  }

  get proven(): boolean {
    return this.#proven;
  }

  /** Bytes that may be sent now. */
  get allowance(): number {
    return this.#proven ? Infinity : this.#left;
  }

  /** Call when the peer showed something that only the owner of the address can know. */
  prove(): void {
    this.#proven = true;
  }

  received(bytes: number): void {
    this.#left += FACTOR * bytes;
  }

  sent(bytes: number): void {
    this.#left -= bytes;
  }
}
