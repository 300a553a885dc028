/**
 * Retransmissions of late, kept to read the peer's reports of duplicates: one that
 * names a TSN in here was needless, any other is the network's own doing.
 */

/** Loss detection, a timer, or mere caution. */
export type RetransmissionCause = 'loss' | 'timer' | 'echo';

export interface Retransmission {
  /** Of the last one. */
  readonly cause: RetransmissionCause;
  readonly firstSentMs: number;
  readonly times: number;
  /** From the first sending to the acknowledgement; not a number before that. */
  roundTripMs: number;
  /** Reports of duplicates. As many as `times` say that the first sending arrived too. */
  duplicates: number;
}

const MAX_ENTRIES = 256;

export class RetransmissionLog {
  readonly #entries = new Map<number, Retransmission>();

  /** `tsn`, last sent at `sentMs`, is to be sent again. */
  note(tsn: number, sentMs: number, cause: RetransmissionCause): void {
    const entry = this.#entries.get(tsn);
    const { firstSentMs = sentMs, times = 0 } = entry ?? {};
    this.#entries.delete(tsn);
    this.#entries.set(tsn, { cause, firstSentMs, times: times + 1, roundTripMs: Number.NaN, duplicates: 0 });
    if (this.#entries.size <= MAX_ENTRIES) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      break;
    }
  }

  onAcked(tsn: number, nowMs: number): void {
    const entry = this.#entries.get(tsn);
    if (entry) entry.roundTripMs = nowMs - entry.firstSentMs;
  }

  /** The peer has got `tsn` once more than it needed; undefined when that is none of our doing. */
  onDuplicate(tsn: number): Retransmission | undefined {
    const entry = this.#entries.get(tsn);
    if (entry) entry.duplicates++;
    return entry;
  }
}
