/**
 * All carriers of a node under one roof. What is posted goes out over every
 * carrier at once; of what arrives, the first copy that is sound, new and
 * authorized is delivered, in the very tick in which its carrier brought it.
 *
 * Opening an envelope is synchronous (about a quarter of a millisecond) and is
 * rationed for each carrier, so a flood on one does not starve another.
 */

import { type Clock, errorText, type Logger, type Random, silentLogger, systemClock, systemRandom } from '@claw/base';
import type { Carrier, CarrierStatus, EnvelopeHandler, KeyHolder, NodeId, SealingKey } from '@claw/contracts';
import { createEnvelopeReader, MAX_LIFETIME_MS, type Recipient, sealEnvelope } from './envelope.ts';
import { signalingError } from './errors.ts';
import { Inbox, type Message } from './inbox.ts';
import { PreparedContexts } from './prepared-contexts.ts';
import { createRouterStats, type RouterStats } from './router-stats.ts';
import { SequenceSource } from './sequence.ts';
import { TokenBucket } from './token-bucket.ts';

export interface RouterOptions {
  readonly keyHolder: KeyHolder;
  /** The key whose public half others seal to. */
  readonly sealingKey: SealingKey;
  /** Called for each message, once. What it throws is logged and does not reach the carrier. */
  readonly onMessage: (message: Message) => void;
  /** Asked before a message is delivered: true for paired nodes, and for the kinds that strangers may send. */
  readonly authorize: (from: NodeId, kind: string) => boolean;
  /** Envelopes opened a second for each carrier; a quarter of that in one burst. Default 1,000. */
  readonly maxOpensPerSecond?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly logger?: Logger;
}

export interface PostOptions {
  /** How long readers accept it, milliseconds: 1 to {@link MAX_LIFETIME_MS}. Default 30,000. */
  readonly lifetimeMs?: number;
}

/** A message on its way. Nobody acknowledges it here: the caller decides when to send it again. */
export interface Posted {
  readonly sequence: number;
  readonly expiresAtMs: number;
  /** Carriers that took it, counting those that are not up. */
  readonly carriers: number;
  /** Hands the same bytes to the carriers of this moment; readers drop duplicates. Returns how many took it; 0 once expired. */
  resend(): number;
}

export interface Router extends AsyncDisposable {
  /**
   * Opens a carrier; the router closes it. `open` must not deliver before it returns.
   * @throws TypeError when a carrier of that name is there already (the new one is closed again).
   */
  addCarrier(open: (onEnvelope: EnvelopeHandler) => Carrier): Carrier;
  /** Closes a carrier. Does nothing when there is none of that name. */
  removeCarrier(name: string): Promise<void>;
  carriers(): CarrierStatus[];
  /**
   * Seals a message and hands it to every carrier that can take it.
   * @throws ClawError `ENVELOPE_TOO_LARGE`, `SEALING_KEY_INVALID`, `ROUTER_CLOSED`; RangeError for options out of range.
   */
  post(recipient: Recipient, kind: string, body: Uint8Array, options?: PostOptions): Promise<Posted>;
  stats(): RouterStats;
  /** Closes every carrier. Idempotent; afterwards nothing is delivered. */
  close(): Promise<void>;
}

/** @throws ClawError `SEALING_KEY_INVALID` when the halves of the sealing key do not belong together. */
export function openRouter(options: RouterOptions): Router {
  return new EnvelopeRouter(options);
}

interface Slot {
  readonly ration: TokenBucket;
  carrier: Carrier | undefined;
}

class EnvelopeRouter implements Router {
  readonly #options: RouterOptions;
  readonly #clock: Clock;
  readonly #contexts: PreparedContexts;
  readonly #log: Logger;
  readonly #inbox: Inbox;
  readonly #sequences: SequenceSource;
  readonly #slots = new Map<string, Slot>();
  readonly #stats = createRouterStats();
  /** Carriers that were removed and are closing still. */
  readonly #departing = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#contexts = new PreparedContexts(this.#clock, options.random ?? systemRandom);
    this.#log = options.logger ?? silentLogger;
    const { onMessage, authorize } = options;
    const reader = createEnvelopeReader(options.keyHolder.nodeId, options.sealingKey);
    this.#inbox = new Inbox({ reader, onMessage, authorize, stats: this.#stats, clock: this.#clock, log: this.#log });
    this.#sequences = new SequenceSource(this.#clock);
  }

  addCarrier(open: (onEnvelope: EnvelopeHandler) => Carrier): Carrier {
    if (this.#closing) throw closedError();
    const perSecond = this.#options.maxOpensPerSecond ?? 1000;
    const ration = new TokenBucket({ perSecond, burst: Math.ceil(perSecond / 4) }, this.#clock.monotonicMs());
    const slot: Slot = { ration, carrier: undefined };
    const carrier = open((bytes) => {
      if (!this.#closing && slot.carrier) this.#inbox.arrive(bytes, slot.carrier.name, slot.ration);
    });
    if (this.#slots.has(carrier.name)) {
      void this.#startClosing(carrier);
      throw new TypeError(`there is a carrier ${carrier.name} already`);
    }
    slot.carrier = carrier;
    this.#slots.set(carrier.name, slot);
    return carrier;
  }

  async removeCarrier(name: string): Promise<void> {
    const slot = this.#slots.get(name);
    const carrier = slot?.carrier;
    if (!carrier) return;
    this.#slots.delete(name);
    slot.carrier = undefined;
    await this.#startClosing(carrier);
  }

  carriers(): CarrierStatus[] {
    return [...this.#slots.values()].flatMap((slot) => slot.carrier?.status() ?? []);
  }

  async post(recipient: Recipient, kind: string, body: Uint8Array, options: PostOptions = {}): Promise<Posted> {
    if (this.#closing) throw closedError();
    const lifetimeMs = options.lifetimeMs ?? 30_000;
    if (!(lifetimeMs >= 1 && lifetimeMs <= MAX_LIFETIME_MS)) {
      throw new RangeError(`a lifetime is 1 to ${MAX_LIFETIME_MS} ms, got ${lifetimeMs}`);
    }
    const sequence = this.#sequences.next();
    const expiresAtMs = Math.ceil(this.#clock.now() + lifetimeMs);
    const content = { kind, body, sequence, expiresAtMs };
    const context = this.#contexts.take(recipient.sealingKey);
    const envelope = await sealEnvelope(this.#options.keyHolder, recipient, content, context);
    if (this.#closing) throw closedError();
    this.#stats.posted += 1;
    const carriers = this.#handOut(recipient.to, envelope);
    return { sequence, expiresAtMs, carriers, resend: () => this.#resend(recipient.to, envelope, expiresAtMs) };
  }

  stats(): RouterStats {
    return { ...this.#stats, rejected: { ...this.#stats.rejected } };
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #closeAll(): Promise<void> {
    this.#contexts.close();
    for (const { carrier } of this.#slots.values()) if (carrier) void this.#startClosing(carrier);
    this.#slots.clear();
    await Promise.all(this.#departing);
  }

  /** The promise never rejects; {@link close} waits for it too. */
  #startClosing(carrier: Carrier): Promise<void> {
    const departing = this.#closeCarrier(carrier);
    this.#departing.add(departing);
    return departing.finally(() => this.#departing.delete(departing));
  }

  async #closeCarrier(carrier: Carrier): Promise<void> {
    try {
      await carrier.close();
    } catch (error) {
      this.#log.warn('carrier did not close', { carrier: carrier.name, error: errorText(error) });
    }
  }

  #resend(to: NodeId, envelope: Uint8Array, expiresAtMs: number): number {
    if (this.#closing || this.#clock.now() > expiresAtMs) return 0;
    this.#stats.resent += 1;
    return this.#handOut(to, envelope);
  }

  #handOut(to: NodeId, envelope: Uint8Array): number {
    let taken = 0;
    for (const { carrier } of this.#slots.values()) {
      if (!carrier || envelope.length > carrier.maxEnvelopeBytes) continue;
      try {
        carrier.send(to, envelope);
        taken += 1;
      } catch (error) {
        this.#log.error('carrier broke its contract and threw', { carrier: carrier.name, error: errorText(error) });
      }
    }
    return taken;
  }
}

function closedError() {
  return signalingError('ROUTER_CLOSED', 'the router was closed');
}
