/**
 * Keeps a node linked to every peer it was told to keep. It takes the signaling
 * messages that concern links and hands out operational links to whoever needs
 * one now.
 */

import { ClawError, Emitter, errorText, type Random, sleep, systemRandom, type Unsubscribe } from '@claw/base';
import type { NodeId } from '@claw/contracts';
import type { Message, Posted } from '@claw/signaling';
import { type LinkErrorCode, linkError } from '../errors.ts';
import { NonceBook } from '../handshake/nonce-book.ts';
import { type AttemptMessage, decodeAttemptMessage, encodeAttemptMessage, isAttemptKind } from './attempt-messages.ts';
import type { Link } from './link.ts';
import { LINGER_MS, type LinkEnvironment } from './link-attempt.ts';
import { PeerLink, type PeerLinkStatus } from './peer-link.ts';

export interface LinkKeeperOptions {
  readonly environment: Omit<LinkEnvironment, 'nonces'>;
  /** Sends a signaling message to a peer. */
  readonly post: (to: NodeId, kind: string, body: Uint8Array, lifetimeMs: number) => Promise<Posted>;
  /** Time an attempt gets; longer when answers are carried by hand. Default, also for `undefined`: 15,000 ms. */
  readonly attemptDeadlineMs?: () => number | undefined;
  readonly random?: Random;
}

type LinkKeeperEvents = {
  /** A link to a peer became operational. */
  link: Link;
  /** The state of the link to this peer changed. */
  change: NodeId;
};

const ATTEMPT_DEADLINE_MS = 15_000;

export class LinkKeeper implements AsyncDisposable {
  readonly #options: LinkKeeperOptions;
  readonly #environment: LinkEnvironment;
  readonly #random: Random;
  readonly #peers = new Map<NodeId, PeerLink>();
  readonly #events: Emitter<LinkKeeperEvents>;
  #closing: Promise<void> | undefined;

  constructor(options: LinkKeeperOptions) {
    const { clock, logger } = options.environment;
    this.#options = options;
    this.#random = options.random ?? systemRandom;
    this.#environment = { ...options.environment, nonces: new NonceBook(clock, this.#random) };
    this.#events = new Emitter((error) => logger.error('link.listener-failed', { detail: errorText(error) }));
  }

  on<Name extends keyof LinkKeeperEvents>(name: Name, listener: (event: LinkKeeperEvents[Name]) => void): Unsubscribe {
    return this.#events.on(name, listener);
  }

  /** Keeps `peer` linked from now on. Does nothing when it is kept already. */
  keep(peer: NodeId): void {
    this.listen(peer);
    this.#peers.get(peer)?.connect();
  }

  /** Takes `peer`'s offers from now on, without making the first one. */
  listen(peer: NodeId): void {
    if (this.#closing || this.#peers.has(peer)) return;
    const kept = new PeerLink({
      environment: this.#environment,
      peer,
      post: (message) => this.#post(peer, message),
      attemptDeadlineMs: () => this.#deadlineMs(),
      random: this.#random,
      onLink: (link) => this.#events.emit('link', link),
      onChange: () => this.#events.emit('change', peer),
    });
    this.#peers.set(peer, kept);
  }

  /** Cuts the link to `peer` at once and keeps it no longer. */
  release(peer: NodeId, code: LinkErrorCode, reason: string): void {
    this.#peers.get(peer)?.stop(code, reason);
    this.#peers.delete(peer);
    this.#events.emit('change', peer);
  }

  /** The state of a kept peer; `undefined` for any other. */
  status(peer: NodeId): PeerLinkStatus | undefined {
    return this.#peers.get(peer)?.status();
  }

  /** Takes in a message of a paired peer; ignores kinds that are not about links. */
  receive(message: Message): void {
    if (!isAttemptKind(message.kind)) return;
    try {
      const { from, kind, body, sequence } = message;
      this.#peers.get(from)?.receive(decodeAttemptMessage(kind, body), sequence);
    } catch (error) {
      this.#environment.logger.warn('link.message-refused', {
        peer: message.from,
        kind: message.kind,
        detail: errorText(error),
      });
    }
  }

  /**
   * The operational link to `peer`, waiting up to `timeoutMs` (default 15,000) for one.
   * @throws ClawError `LINK_NOT_CONNECTED`, with the last attempt's error as its cause.
   */
  async linkTo(
    peer: NodeId,
    options: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
  ): Promise<Link> {
    const kept = this.#peers.get(peer);
    if (!kept) throw linkError('LINK_NOT_CONNECTED', 'this node does not keep a link to that peer');
    const present = kept.status().link;
    if (present) return present;
    options.signal?.throwIfAborted();
    kept.connect();
    return this.#waitForLink(peer, kept, options);
  }

  /** Ends every link with `LINK_SHUTDOWN`, so that peers wait for this node to come back. Takes 120 ms. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const kept = [...this.#peers];
    const speaking = kept.some(([, link]) => ['linked', 'connecting'].includes(link.status().state));
    for (const [peer, link] of kept) {
      link.stop('LINK_SHUTDOWN', 'the node is shutting down');
      this.#events.emit('change', peer);
    }
    // The last words leave while the connections linger.
    await sleep(this.#environment.clock, speaking ? LINGER_MS + 20 : 0);
    this.#peers.clear();
  }

  #waitForLink(peer: NodeId, kept: PeerLink, options: { signal?: AbortSignal; timeoutMs?: number }): Promise<Link> {
    const { promise, resolve, reject } = Promise.withResolvers<Link>();
    const timeoutMs = options.timeoutMs ?? ATTEMPT_DEADLINE_MS;
    const giveUp = () => {
      const { state, lastError: cause } = kept.status();
      const span = state === 'stopped' ? '' : ` within ${timeoutMs} ms`;
      reject(
        linkError('LINK_NOT_CONNECTED', `no link to the peer${span}${cause ? `: ${cause.message}` : ''}`, {
          cause,
          hint: 'Is it running? "claw status" shows which ways of signaling are up, "claw doctor" what to do.',
        }),
      );
    };
    const onAbort = () => reject(options.signal?.reason);
    const timer = this.#environment.clock.setTimer(timeoutMs, giveUp);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const unsubscribe = [
      this.on('link', (link) => link.peer === peer && resolve(link)),
      this.on('change', (changed) => {
        if (changed === peer && kept.status().state === 'stopped') giveUp();
      }),
    ];
    return promise.finally(() => {
      timer.cancel();
      options.signal?.removeEventListener('abort', onAbort);
      for (const stop of unsubscribe) stop();
    });
  }

  #deadlineMs(): number {
    return this.#options.attemptDeadlineMs?.() ?? ATTEMPT_DEADLINE_MS;
  }

  async #post(peer: NodeId, message: AttemptMessage): Promise<Posted> {
    if (this.#closing && message.kind !== 'link.refuse')
      throw new ClawError('LINK_CLOSED', 'the node is shutting down');
    return this.#options.post(peer, message.kind, encodeAttemptMessage(message), this.#deadlineMs());
  }
}
