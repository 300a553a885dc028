/**
 * Which envelopes were seen, for as long as they are valid. Sans-IO.
 *
 * Invariant: no (sender, sequence) is admitted twice before its expiry, even when
 * the wall clock steps back: what was forgotten as expired leaves a horizon, and
 * nothing that expires at or before the horizon is admitted any more.
 */

export interface ReplayWindowOptions {
  /** Unexpired sequence numbers kept for one sender. Default 2,048. */
  readonly maxPerSender?: number;
  /** Senders kept. Default 4,096. */
  readonly maxSenders?: number;
}

interface SenderHistory {
  /** Sequence number to expiry, milliseconds since 1970. */
  readonly seen: Map<number, number>;
  latestExpiryMs: number;
  horizonMs: number;
}

export class ReplayWindow {
  readonly #maxPerSender: number;
  readonly #maxSenders: number;
  readonly #senders = new Map<string, SenderHistory>();
  /** Horizon of senders that were evicted. */
  #horizonMs = Number.NEGATIVE_INFINITY;
  /** No sender can be evicted before this time: saves a search for each of a flood's strangers. */
  #fullUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReplayWindowOptions = {}) {
    this.#maxPerSender = options.maxPerSender ?? 2048;
    this.#maxSenders = options.maxSenders ?? 4096;
  }

  get senders(): number {
    return this.#senders.size;
  }

  /** Remembers the envelope and returns `undefined`, or returns why it must be dropped. */
  admit(
    sender: string,
    sequence: number,
    expiresAtMs: number,
    nowMs: number,
  ): 'ENVELOPE_REPLAYED' | 'ENVELOPE_FLOOD' | undefined {
    const known = this.#senders.get(sender);
    if (expiresAtMs <= (known?.horizonMs ?? this.#horizonMs)) return 'ENVELOPE_REPLAYED';
    if (known?.seen.has(sequence)) return 'ENVELOPE_REPLAYED';
    const history = known ?? this.#addSender(sender, nowMs);
    if (!history) return 'ENVELOPE_FLOOD';
    if (history.seen.size >= this.#maxPerSender) forgetExpired(history, nowMs);
    if (history.seen.size >= this.#maxPerSender) return 'ENVELOPE_FLOOD';
    history.seen.set(sequence, expiresAtMs);
    history.latestExpiryMs = Math.max(history.latestExpiryMs, expiresAtMs);
    return undefined;
  }

  #addSender(sender: string, nowMs: number): SenderHistory | undefined {
    if (this.#senders.size >= this.#maxSenders && !this.#evictExpired(nowMs)) return undefined;
    const history: SenderHistory = {
      seen: new Map(),
      latestExpiryMs: Number.NEGATIVE_INFINITY,
      horizonMs: this.#horizonMs,
    };
    this.#senders.set(sender, history);
    return history;
  }

  /** Drops every sender of whom nothing is valid any more. */
  #evictExpired(nowMs: number): boolean {
    if (nowMs <= this.#fullUntilMs) return false;
    let earliest = Number.POSITIVE_INFINITY;
    for (const [sender, history] of this.#senders) {
      if (history.latestExpiryMs < nowMs) {
        this.#senders.delete(sender);
        this.#horizonMs = Math.max(this.#horizonMs, history.latestExpiryMs);
      } else {
        earliest = Math.min(earliest, history.latestExpiryMs);
      }
    }
    if (this.#senders.size < this.#maxSenders) return true;
    this.#fullUntilMs = earliest;
    return false;
  }
}

function forgetExpired(history: SenderHistory, nowMs: number): void {
  for (const [sequence, expiresAtMs] of history.seen) {
    if (expiresAtMs >= nowMs) continue;
    history.seen.delete(sequence);
    history.horizonMs = Math.max(history.horizonMs, expiresAtMs);
  }
}
