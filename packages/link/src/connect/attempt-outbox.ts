/**
 * What one side of an attempt says: its description with the candidates that
 * came in time, then more candidates, segments of the handshake, and perhaps a
 * refusal. Signaling may lose it, so it is said again and again until the control
 * lane is open, which loses nothing.
 */

import { type Clock, errorText, type Logger, type Timer } from '@claw/base';
import type { RtcDataChannel, RtcIceCandidate } from '@claw/contracts';
import type { Posted } from '@claw/signaling';
import type { Segment } from '../handshake/flight-buffer.ts';
import {
  type AttemptMessage,
  type DescriptionMessage,
  encodeCleartext,
  MAX_CANDIDATES,
  type RefuseMessage,
} from './attempt-messages.ts';

export interface AttemptOutboxOptions {
  readonly attempt: Uint8Array;
  readonly control: RtcDataChannel;
  /** Signs, seals and hands a message to the carriers. */
  readonly post: (message: AttemptMessage) => Promise<Posted>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A message could not be posted. */
  readonly onFailed: (error: unknown) => void;
}

/** How long a description waits for its first candidates, so that they travel in it. */
const GATHER_MS = 40;
const TRICKLE_MS = 10;
/** How long the last flights wait for the control lane before they go by signaling. */
const LANE_WAIT_MS = 8;
const RESEND_FIRST_MS = 300;

export class AttemptOutbox {
  readonly #options: AttemptOutboxOptions;
  readonly #gathered = Promise.withResolvers<void>();
  readonly #timers = new Set<Timer>();
  #candidates: RtcIceCandidate[] = [];
  #trickling = false;
  #description: AttemptMessage | undefined;
  #firstFlightBytes = 0;
  /** Said by signaling and not known to have arrived. */
  #unanswered: Posted[] = [];
  #resendDelayMs = RESEND_FIRST_MS;
  #stopped = false;

  constructor(options: AttemptOutboxOptions) {
    this.#options = options;
  }

  get controlOpen(): boolean {
    return this.#options.control.readyState === 'open';
  }

  /** Bytes of the handshake that went with the description. */
  get firstFlightBytes(): number {
    return this.#firstFlightBytes;
  }

  /** Takes a local candidate; `null` says that there are no more. */
  addCandidate(candidate: RtcIceCandidate | null): void {
    if (!candidate) return this.#gathered.resolve();
    this.#candidates.push(candidate);
    if (this.#description) this.#trickle();
  }

  /** Sends the description once its flight is there and the first candidates are, or the wait for them is over. */
  async describe(
    kind: 'link.offer' | 'link.answer',
    description: Pick<DescriptionMessage, 'sdp' | 'nonce'>,
    flight: Promise<Segment>,
  ): Promise<void> {
    const timer = this.#later(GATHER_MS, () => this.#gathered.resolve());
    const [segment] = await Promise.all([flight, this.#gathered.promise]);
    timer.cancel();
    // An offer that was given up must not leave after the answer to the other side's: its number would be the newer.
    if (this.#stopped) return;
    const candidates = this.#takeCandidates();
    this.#firstFlightBytes = segment.bytes.length;
    this.#description = { kind, attempt: this.#options.attempt, ...description, candidates, flight: segment.bytes };
    await this.#post(this.#description);
    this.#scheduleResend();
    if (this.#candidates.length > 0) this.#trickle();
  }

  /**
   * On the control lane if it is up, or comes up in a moment; else by signaling, which costs two
   * public-key operations a side but no round trip of the path that is still being made.
   */
  sendSegment(segment: Segment): void {
    if (this.controlOpen) this.#sendOnLane(segment);
    else this.#later(LANE_WAIT_MS, () => !this.controlOpen && this.#sendMore([], [segment]));
  }

  /** The control lane opened: says there what was said after the description and may have been lost. */
  repeatOnLane(segment: Segment | undefined): void {
    this.heard();
    if (segment && segment.bytes.length > 0) this.#sendOnLane(segment);
  }

  /** Tells the peer why the attempt ends, on every way that is open. */
  refuse(refusal: Omit<RefuseMessage, 'attempt'>): void {
    const message = { kind: 'link.refuse', attempt: this.#options.attempt, ...refusal } as const;
    this.#sendCleartext(message);
    void this.#options.post(message).catch((cause: unknown) => {
      this.#options.logger.debug('link.refusal-not-posted', { detail: errorText(cause) });
    });
  }

  /** The peer answered: what was said so far need not be said again. */
  heard(): void {
    this.#unanswered = [];
  }

  /** Says the description again in a new envelope, for a peer that had the first and passed it over. */
  repeatDescription(): void {
    if (this.#description && !this.controlOpen) this.#post(this.#description).catch(this.#options.onFailed);
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  #sendOnLane(segment: Segment): void {
    this.#sendCleartext({ kind: 'link.more', attempt: this.#options.attempt, candidates: [], segments: [segment] });
  }

  #sendMore(candidates: RtcIceCandidate[], segments: Segment[]): void {
    const message = { kind: 'link.more', attempt: this.#options.attempt, candidates, segments } as const;
    this.#post(message).catch(this.#options.onFailed);
  }

  #trickle(): void {
    if (this.#trickling) return;
    this.#trickling = true;
    this.#later(TRICKLE_MS, () => {
      this.#trickling = false;
      this.#sendMore(this.#takeCandidates(), []);
      if (this.#candidates.length > 0) this.#trickle();
    });
  }

  /** As many as a message takes, those over UDP first: a machine of many addresses has more. */
  #takeCandidates(): RtcIceCandidate[] {
    const isTcp = ({ candidate }: RtcIceCandidate) => / tcp /i.test(candidate);
    this.#candidates.sort((a, b) => Number(isTcp(a)) - Number(isTcp(b)));
    return this.#candidates.splice(0, MAX_CANDIDATES);
  }

  async #post(message: AttemptMessage): Promise<void> {
    const posted = await this.#options.post(message);
    if (!this.#stopped && !this.controlOpen) this.#unanswered.push(posted);
  }

  /** Until the control lane is up, which does not lose, messages are said again. */
  #scheduleResend(): void {
    this.#later(this.#resendDelayMs, () => {
      if (this.controlOpen) return;
      for (const posted of this.#unanswered) posted.resend();
      this.#resendDelayMs *= 2;
      this.#scheduleResend();
    });
  }

  #sendCleartext(message: Parameters<typeof encodeCleartext>[0]): void {
    if (!this.controlOpen) return;
    try {
      this.#options.control.send(encodeCleartext(message));
    } catch {
      // the lane went down: the connection's state will say so
    }
  }

  #later(delayMs: number, fire: () => void): Timer {
    if (this.#stopped) return { cancel: () => {} };
    const timer = this.#options.clock.setTimer(delayMs, () => {
      this.#timers.delete(timer);
      fire();
    });
    this.#timers.add(timer);
    return timer;
  }
}
