/**
 * Requests seen lately, by transaction id. A transaction belongs to one path: the
 * same id from another address is a copy somebody made, and is dropped; from the
 * same path it is a retransmission, which is answered but has no effect a second
 * time (RFC 8489 §6.3.1). Memory is bounded; the oldest goes first.
 */

export type Sighting = 'new' | 'again' | 'elsewhere';

const MAX_REMEMBERED = 512;

export class ReplayGuard {
  readonly #paths = new Map<string, string>();

  see(transaction: string, path: string): Sighting {
    const before = this.#paths.get(transaction);
    if (before !== undefined) return before === path ? 'again' : 'elsewhere';
    this.#paths.set(transaction, path);
    if (this.#paths.size > MAX_REMEMBERED) {
      for (const oldest of this.#paths.keys()) {
        this.#paths.delete(oldest);
        break;
      }
    }
    return 'new';
  }
}
