/**
 * What arrives, judged: the cheap checks first, so that a stranger's envelope costs
 * a hash, a duplicate two, and only then is one opened. No I/O, no promise: a
 * message is delivered within the call that brought its envelope.
 */

import { type ClawError, type Clock, errorText, isClawError, type Logger } from '@claw/base';
import type { NodeId } from '@claw/contracts';
import {
  type EnvelopeReader,
  isEnvelopeFor,
  MAX_CLOCK_SKEW_MS,
  MAX_ENVELOPE_BYTES,
  type OpenedEnvelope,
  openEnvelope,
} from './envelope.ts';
import type { EnvelopeErrorCode } from './errors.ts';
import { RecentEnvelopes } from './recent-envelopes.ts';
import { ReplayWindow } from './replay-window.ts';
import type { MutableRouterStats } from './router-stats.ts';
import type { TokenBucket } from './token-bucket.ts';

export interface Message {
  readonly from: NodeId;
  readonly kind: string;
  readonly body: Uint8Array;
  /** Name of the carrier that was first. */
  readonly via: string;
  readonly sequence: number;
}

export interface InboxOptions {
  readonly reader: EnvelopeReader;
  readonly onMessage: (message: Message) => void;
  readonly authorize: (from: NodeId, kind: string) => boolean;
  readonly stats: MutableRouterStats;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Inbox {
  readonly #options: InboxOptions;
  readonly #replays = new ReplayWindow();
  readonly #recent = new RecentEnvelopes();

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /** `ration` says how many envelopes its carrier `via` may have opened. */
  arrive(bytes: Uint8Array, via: string, ration: TokenBucket): void {
    const { stats, reader, clock } = this.#options;
    if (bytes.length > MAX_ENVELOPE_BYTES) {
      stats.rejected.ENVELOPE_TOO_LARGE += 1;
      return;
    }
    if (!isEnvelopeFor(reader.publicKey, bytes)) {
      stats.rejected[bytes[0] === 1 ? 'ENVELOPE_NOT_FOR_US' : 'ENVELOPE_MALFORMED'] += 1;
      return;
    }
    const digest = this.#recent.digest(bytes);
    if (this.#recent.has(digest)) {
      stats.duplicates += 1;
      return;
    }
    if (!ration.take(1, clock.monotonicMs())) {
      stats.overloaded += 1;
      return;
    }
    const envelope = this.#open(bytes, via);
    // Whom we refuse or have no room for may be welcome by the time it sends the same bytes again.
    if (envelope === 'maybe later') return;
    this.#recent.add(digest);
    if (envelope) this.#deliver(envelope, via);
  }

  #open(bytes: Uint8Array, via: string): OpenedEnvelope | 'maybe later' | undefined {
    const { stats, reader, clock, log } = this.#options;
    const nowMs = clock.now();
    let envelope: OpenedEnvelope;
    try {
      envelope = openEnvelope(reader, bytes, nowMs);
    } catch (error) {
      if (!isEnvelopeError(error)) throw error;
      stats.rejected[error.code] += 1;
      log.debug('envelope rejected', { via, code: error.code });
      return undefined;
    }
    if (!this.#isAuthorized(envelope)) {
      stats.refused += 1;
      return 'maybe later';
    }
    const validUntilMs = envelope.expiresAtMs + MAX_CLOCK_SKEW_MS;
    const fault = this.#replays.admit(envelope.from, envelope.sequence, validUntilMs, nowMs);
    if (!fault) return envelope;
    stats.rejected[fault] += 1;
    return fault === 'ENVELOPE_FLOOD' ? 'maybe later' : undefined;
  }

  #isAuthorized({ from, kind }: OpenedEnvelope): boolean {
    try {
      return this.#options.authorize(from, kind);
    } catch (error) {
      this.#options.log.error('authorize threw, which counts as no', { from, kind, error: errorText(error) });
      return false;
    }
  }

  #deliver({ from, kind, body, sequence }: OpenedEnvelope, via: string): void {
    this.#options.stats.delivered += 1;
    try {
      this.#options.onMessage({ from, kind, body, via, sequence });
    } catch (error) {
      this.#options.log.error('onMessage threw', { from, kind, error: errorText(error) });
    }
  }
}

function isEnvelopeError(error: unknown): error is ClawError<EnvelopeErrorCode> {
  return isClawError(error) && error.code.startsWith('ENVELOPE_');
}
