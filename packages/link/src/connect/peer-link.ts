/**
 * The link to one peer over time: at most one operational link and one attempt
 * at a time, made anew with jittered back-off when it ends. Both sides may offer
 * at once; then the offer of the smaller node id stands and the other yields.
 */

import { Backoff, type ClawError, type Clock, equalBytes, type Random, type Timer } from '@claw/base';
import type { NodeId } from '@claw/contracts';
import { type Posted, TokenBucket } from '@claw/signaling';
import { type LinkErrorCode, linkError } from '../errors.ts';
import { ATTEMPT_ID_BYTES, type AttemptMessage } from './attempt-messages.ts';
import type { Link } from './link.ts';
import { LinkAttempt, type LinkEnvironment } from './link-attempt.ts';

export interface PeerLinkOptions {
  readonly environment: LinkEnvironment;
  readonly peer: NodeId;
  readonly post: (message: AttemptMessage) => Promise<Posted>;
  readonly attemptDeadlineMs: () => number;
  readonly random: Random;
  readonly onLink: (link: Link) => void;
  readonly onChange: () => void;
}

export interface PeerLinkStatus {
  readonly state: 'linked' | 'connecting' | 'waiting' | 'stopped';
  readonly link: Link | undefined;
  /** Why the last link or attempt ended. */
  readonly lastError: ClawError | undefined;
  /** Links made since the start. */
  readonly linksMade: number;
}

const BACKOFF = { firstMs: 200, maxMs: 60_000 };
/** After a refusal that only a person can mend, the next attempt waits at least this long. */
const REFUSED_DELAY_MS = 30_000;
const NEEDS_A_PERSON: readonly LinkErrorCode[] = [
  'LINK_IDENTITY_WRONG',
  'LINK_INTEGRITY_MISMATCH',
  'LINK_VERSION_REFUSED',
  'LINK_UNPAIRED',
  'LINK_PEER_ABUSE',
];
/** A peer that shut down calls when it is back; until then there is little point in asking. */
const SHUTDOWN_DELAY_MS = 10_000;
/** Offers of one peer that are taken. */
const OFFERS = { perSecond: 1, burst: 8 };
const MAX_EARLY = 8;
const MAX_KNOWN = 16;

type MoreOfAttempt = Extract<AttemptMessage, { kind: 'link.more' }>;

export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #offers: TokenBucket;
  #link: Link | undefined;
  #attempt: LinkAttempt | undefined;
  /** What the link came of: candidates that turn up later are for it. */
  #linked: LinkAttempt | undefined;
  /** Of the envelope that answered our offer, once one did. */
  #answerSequence: number | undefined;
  #retry: Timer | undefined;
  #lastError: ClawError | undefined;
  #linksMade = 0;
  /** What came for an attempt whose offer has not come: carriers do not keep order, and deliver a message once. */
  #early: MoreOfAttempt[] = [];
  /** Attempts followed lately, so that an offer that is said again is not taken for a new one. */
  #known: Uint8Array[] = [];
  #stopped = false;

  constructor(options: PeerLinkOptions) {
    this.#options = options;
    this.#clock = options.environment.clock;
    this.#backoff = new Backoff(options.random, BACKOFF);
    this.#offers = new TokenBucket(OFFERS, this.#clock.monotonicMs());
  }

  status(): PeerLinkStatus {
    const state = this.#stopped ? 'stopped' : this.#link ? 'linked' : this.#attempt ? 'connecting' : 'waiting';
    return { state, link: this.#link, lastError: this.#lastError, linksMade: this.#linksMade };
  }

  /** Starts an attempt now, unless there is a link or an attempt already. */
  connect(): void {
    if (this.#stopped || this.#link || this.#attempt) return;
    const { environment, peer, post, attemptDeadlineMs, random } = this.#options;
    const id = random.bytes(ATTEMPT_ID_BYTES);
    this.#follow(LinkAttempt.offer({ environment, id, peer, post, deadlineMs: attemptDeadlineMs() }));
  }

  /** Takes in an attempt message of the peer; `sequence` is that of its envelope. */
  receive(message: AttemptMessage, sequence: number): void {
    if (this.#stopped) return;
    const current = this.#attempt;
    if (current && equalBytes(current.id, message.attempt)) {
      if (message.kind === 'link.answer') this.#answerSequence ??= sequence;
      return current.receive(message);
    }
    if (this.#linked && equalBytes(this.#linked.id, message.attempt)) return this.#linked.receive(message);
    if (this.#known.some((id) => equalBytes(id, message.attempt))) return;
    if (message.kind === 'link.offer') this.#onOffer(message, sequence);
    else if (message.kind === 'link.more') this.#early = [...this.#early.slice(1 - MAX_EARLY), message];
  }

  /** Ends link and attempt, tells the peer why, and makes no other. */
  stop(code: LinkErrorCode, reason: string): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#lastError = linkError(code, reason);
    this.#retry?.cancel();
    this.#attempt?.abandon(code, reason);
    this.#link?.close(code, reason);
  }

  #onOffer(offer: Extract<AttemptMessage, { kind: 'link.offer' | 'link.answer' }>, sequence: number): void {
    const { environment, peer, post, attemptDeadlineMs } = this.#options;
    if (!this.#offers.take(1, this.#clock.monotonicMs())) return;
    const current = this.#attempt;
    const ours = current?.role === 'client' && environment.keyHolder.nodeId < peer;
    if (ours && !this.#answererIsGone(sequence)) return current.repeatOffer(); // ours stands
    current?.yieldTo('the peer made an offer of its own');
    const options = { environment, id: offer.attempt, peer, post, deadlineMs: attemptDeadlineMs() };
    this.#follow(LinkAttempt.answer(options, offer));
    for (const early of this.#early.splice(0)) this.receive(early, sequence);
  }

  /** A peer that answered offers only when that attempt ended over there; a process that died cannot say so. */
  #answererIsGone(offerSequence: number): boolean {
    return this.#answerSequence !== undefined && offerSequence > this.#answerSequence;
  }

  #follow(attempt: LinkAttempt): void {
    this.#retry?.cancel();
    this.#attempt = attempt;
    this.#answerSequence = undefined;
    this.#known = [...this.#known.slice(1 - MAX_KNOWN), attempt.id];
    attempt.link.then(
      (link) => this.#onLink(attempt, link),
      (error: ClawError) => this.#onFailed(attempt, error),
    );
    this.#options.onChange();
  }

  #onLink(attempt: LinkAttempt, link: Link): void {
    if (this.#stopped) return link.close(this.#lastError?.code as LinkErrorCode | undefined, this.#lastError?.message);
    if (this.#attempt === attempt) this.#attempt = undefined;
    const older = this.#link;
    this.#link = link;
    this.#linked = attempt;
    this.#linksMade += 1;
    this.#lastError = undefined;
    this.#backoff.reset();
    older?.close('LINK_SUPERSEDED', 'a newer link took its place');
    void link.ended.then((error) => this.#onEnded(link, error));
    this.#options.onLink(link);
    this.#options.onChange();
  }

  #onFailed(attempt: LinkAttempt, error: ClawError): void {
    if (this.#attempt !== attempt) return;
    this.#attempt = undefined;
    this.#lastError = error;
    if (!this.#link) this.#retryLater(error);
    this.#options.onChange();
  }

  #onEnded(link: Link, error: ClawError): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    this.#linked = undefined;
    this.#lastError = error;
    if (!this.#attempt) this.#retryLater(error);
    this.#options.onChange();
  }

  #retryLater(error: ClawError): void {
    if (this.#stopped) return;
    let delayMs = this.#backoff.nextDelayMs();
    if (NEEDS_A_PERSON.includes(error.code as LinkErrorCode)) delayMs = Math.max(delayMs, REFUSED_DELAY_MS);
    if (error.code === 'LINK_SHUTDOWN') delayMs = Math.max(delayMs, SHUTDOWN_DELAY_MS);
    this.#retry?.cancel();
    this.#retry = this.#clock.setTimer(delayMs, () => this.connect());
  }
}
