/**
 * Pairing by invite, both sides of it, and its end. The inviter records the
 * joiner before it answers, the joiner records the inviter when the answer holds;
 * whichever side dies in between, the joiner's repeated request mends it.
 */

import { type Clock, errorText, isClawError, type Logger, type Random, sleep } from '@claw/base';
import type { KeyHolder, NodeId } from '@claw/contracts';
import type { Grant, PeerRecord, PeerStore } from '@claw/identity';
import type { Message, Posted } from '@claw/signaling';
import { type LinkErrorCode, linkError } from '../errors.ts';
import {
  decodeInvite,
  encodeInvite,
  INVITE_LIFETIME_MS,
  INVITE_SECRET_BYTES,
  type Invite,
  inviteIdOf,
} from './invite.ts';
import type { InviteBook } from './invite-book.ts';
import {
  checkIntroduction,
  decodeIntroduction,
  decodeRefusal,
  encodeIntroduction,
  encodeRefusal,
  type Introduction,
  type MacContext,
  PAIRING_KINDS,
  type PairingKind,
  type Refusal,
  verificationWords,
} from './pairing-messages.ts';

export interface PairingOptions {
  readonly keyHolder: KeyHolder;
  /** Public half of this node's sealing key. */
  readonly sealingKey: Uint8Array;
  readonly peers: PeerStore;
  readonly invites: InviteBook;
  /** How this node introduces itself. */
  readonly self: () => { readonly name: string; readonly relays: readonly string[] };
  readonly post: (
    to: { to: NodeId; sealingKey: Uint8Array },
    kind: string,
    body: Uint8Array,
    lifetimeMs: number,
  ) => Promise<Posted>;
  /** A peer was recorded or renewed: link to it, and listen on its relays. */
  readonly onPaired: (peer: PeerRecord) => void;
  /** A peer was removed, by us or by itself: cut what runs. */
  readonly onRemoved: (peer: NodeId, byPeer: boolean) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface JoinOptions {
  /** Our name for the inviter; default is its own. */
  readonly name?: string;
  /** How long to wait for the other side. Default 60,000 ms. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** The request is carried by people: say it once. Default false: it is repeated until answered. */
  readonly once?: boolean;
  /** Called once the relays of the invite are known and before anything is sent. */
  readonly prepare?: (invite: Invite) => void;
}

interface Joining {
  readonly invite: Invite;
  readonly requestMac: Buffer;
  readonly name: string | undefined;
  readonly done: PromiseWithResolvers<PeerRecord>;
}

const DEFAULT_GRANTS: Grant[] = ['send'];
const REQUEST_LIFETIME_MS = 60_000;
const RESEND_FIRST_MS = 400;
const RESEND_MAX_MS = 5_000;
/** A removed peer that still calls is told at most this often. */
const REMINDER_MS = 30_000;

export class Pairing {
  readonly #options: PairingOptions;
  readonly #joining = new Map<string, Joining>();
  readonly #remindedAtMs = new Map<NodeId, number>();

  constructor(options: PairingOptions) {
    this.#options = options;
  }

  /** Makes an invite, good for ten minutes and for one machine. `name` is what we will call it. */
  async invite(options: { readonly name?: string } = {}): Promise<{ text: string; expiresAtMs: number }> {
    const { keyHolder, sealingKey, invites, self, clock, random } = this.#options;
    const secret = random.bytes(INVITE_SECRET_BYTES);
    // Whole seconds, as the invite writes them: both sides must agree on the end.
    const expiresAtMs = Math.floor((clock.now() + INVITE_LIFETIME_MS) / 1000) * 1000;
    await invites.add(secret, expiresAtMs, options.name);
    const text = await encodeInvite(keyHolder, { sealingKey, secret, expiresAtMs, ...self() });
    return { text, expiresAtMs };
  }

  /**
   * Completes an invite that another node made.
   * @throws ClawError with a code that starts with `PAIR_`.
   */
  async join(text: string, options: JoinOptions = {}): Promise<PeerRecord> {
    const { keyHolder, sealingKey, self, clock, random, post } = this.#options;
    const invite = decodeInvite(text, clock.now());
    if (invite.inviter === keyHolder.nodeId) {
      throw linkError('PAIR_INVITE_OWN', 'this invite was made by this very node', {
        hint: 'Use it on the other machine.',
      });
    }
    options.prepare?.(invite);
    const inviteId = inviteIdOf(invite.secret);
    const context = {
      kind: 'pair.request',
      secret: invite.secret,
      from: keyHolder.nodeId,
      to: invite.inviter,
    } as const;
    const request = encodeIntroduction(context, { invite: inviteId, ...introduction(self()), sealingKey });
    const joining: Joining = { invite, requestMac: request.mac, name: options.name, done: Promise.withResolvers() };
    joining.done.promise.catch(() => {});
    const key = inviteId.toString('hex');
    this.#joining.set(key, joining);
    const waiting = new AbortController();
    const timeoutMs = options.timeoutMs ?? REQUEST_LIFETIME_MS;
    const stop = (reason: unknown) => joining.done.reject(reason);
    const timer = clock.setTimer(timeoutMs, () =>
      stop(
        linkError('PAIR_TIMEOUT', `the other machine did not answer within ${Math.round(timeoutMs / 1000)} s`, {
          hint: 'Is "claw" up there, and do both reach one relay or one local network? The invite stays valid: try again.',
        }),
      ),
    );
    const onAbort = () => stop(options.signal?.reason);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const recipient = { to: invite.inviter, sealingKey: invite.sealingKey };
      // Sealed anew each time: the inviter's router drops a copy, and then a lost answer would never be said again.
      const ask = () => post(recipient, 'pair.request', request.bytes, Math.max(timeoutMs, REQUEST_LIFETIME_MS));
      await ask();
      if (!options.once) void this.#repeat(ask, random, waiting.signal);
      return await joining.done.promise;
    } finally {
      timer.cancel();
      options.signal?.removeEventListener('abort', onAbort);
      waiting.abort();
      this.#joining.delete(key);
    }
  }

  /** Removes a peer here and tells it. Its links are cut before this resolves. */
  async remove(peer: PeerRecord): Promise<void> {
    const { onRemoved, invites, peers, logger } = this.#options;
    onRemoved(peer.id, false);
    await invites.forget(peer.id); // it may not let itself in again with the invite that it came by
    await peers.update(peer.id, { state: 'removed' });
    if (peer.state !== 'paired') return;
    await this.#tellRemoved(peer).catch((error: unknown) => {
      // It will be told when it calls.
      logger.debug('pair.removal-not-posted', { peer: peer.id, detail: errorText(error) });
    });
  }

  /** True for the kinds that a node may send to us, given what it is to us. */
  static admits(kind: string, sender: PeerRecord | undefined): boolean {
    if (kind === 'pair.request') return true;
    if (kind === 'pair.accept' || kind === 'pair.refuse') return true; // checked against what we asked
    return sender !== undefined;
  }

  /** Takes in a pairing message, or a call of a peer that was removed; ignores others. */
  receive(message: Message): void {
    if (this.#options.peers.get(message.from)?.state === 'removed' && message.kind === 'link.offer') {
      void this.#remind(message.from);
    }
    if (!PAIRING_KINDS.includes(message.kind as PairingKind)) return;
    this.#handle(message).catch((error: unknown) => {
      this.#options.logger.warn('pair.message-refused', {
        from: message.from,
        kind: message.kind,
        detail: errorText(error),
      });
    });
  }

  async #handle({ from, kind, body }: Message): Promise<void> {
    switch (kind as PairingKind) {
      case 'pair.request':
        return this.#onRequest(from, decodeIntroduction(body));
      case 'pair.accept':
        return this.#onAccept(from, decodeIntroduction(body));
      case 'pair.refuse':
        return this.#onRefuse(from, decodeRefusal(body));
      case 'pair.removed':
        return this.#onRemoved(from, Buffer.from(body).toString());
    }
  }

  async #onRequest(from: NodeId, request: Introduction): Promise<void> {
    const { keyHolder, sealingKey, invites, self, post, onPaired } = this.#options;
    const recipient = { to: from, sealingKey: request.sealingKey };
    try {
      const { secret, name } = invites.look(request.invite, from);
      const context: MacContext = { kind: 'pair.request', secret, from, to: keyHolder.nodeId };
      if (!checkIntroduction(context, request)) throw linkError('PAIR_REFUSED', 'the request does not fit the invite');
      await invites.use(secret, from);
      const accept = encodeIntroduction(
        { kind: 'pair.accept', secret, from: keyHolder.nodeId, to: from, answers: request.mac },
        { invite: request.invite, ...introduction(self()), sealingKey },
      );
      const words = verificationWords(secret, request.mac, accept.mac);
      const peer = await this.#record(from, name, request, { relays: [...request.relays], words, confirmed: false });
      await post(recipient, 'pair.accept', accept.bytes, INVITE_LIFETIME_MS); // people may carry it
      onPaired(peer);
    } catch (error) {
      if (!isClawError<LinkErrorCode>(error) || !error.code.startsWith('PAIR_')) throw error;
      const refusal = { invite: request.invite, code: error.code as Refusal['code'], message: error.message };
      await post(recipient, 'pair.refuse', encodeRefusal(refusal), REQUEST_LIFETIME_MS);
    }
  }

  async #onAccept(from: NodeId, accept: Introduction): Promise<void> {
    const { keyHolder, onPaired } = this.#options;
    const joining = this.#joiningWith(from, accept.invite);
    if (!joining) return;
    const { invite, requestMac, done } = joining;
    const context: MacContext = {
      kind: 'pair.accept',
      secret: invite.secret,
      from,
      to: keyHolder.nodeId,
      answers: requestMac,
    };
    if (!checkIntroduction(context, accept)) throw linkError('PAIR_REFUSED', 'the answer does not fit the invite');
    const words = verificationWords(invite.secret, requestMac, accept.mac);
    const relays = [...new Set([...invite.relays, ...accept.relays])];
    let peer: PeerRecord;
    try {
      peer = await this.#record(from, joining.name, accept, { relays, words, confirmed: true });
    } catch (error) {
      done.reject(error); // to whoever waits at the keyboard
      throw error;
    }
    onPaired(peer);
    done.resolve(peer);
  }

  /**
   * Records a peer, durably. Of one that is paired already, what the user decided stays, also when it
   * is decided while this is on its way to the disk: its grants, its removal, and its name unless `chosen`.
   */
  async #record(
    id: NodeId,
    chosen: string | undefined,
    introduced: Introduction,
    said: Pick<PeerRecord, 'relays' | 'words' | 'confirmed'>,
  ): Promise<PeerRecord> {
    const { peers, clock } = this.#options;
    const sealingKey = Buffer.from(introduced.sealingKey).toString('base64');
    const fields = { ...said, sealingKey, pairedAtMs: clock.now() };
    const name = peers.freeName(chosen ?? introduced.name, id);
    if (peers.get(id)?.state === 'paired') await peers.update(id, chosen === undefined ? fields : { ...fields, name });
    else await peers.put({ ...fields, id, name, grants: DEFAULT_GRANTS, state: 'paired' });
    return peers.get(id) as PeerRecord;
  }

  #onRefuse(from: NodeId, refusal: Refusal): void {
    this.#joiningWith(from, refusal.invite)?.done.reject(
      linkError(refusal.code, refusal.message, {
        hint: 'Make a new invite with "claw pair --new" on the other machine.',
      }),
    );
  }

  /** `words` name the pairing that ended: a reminder of an earlier one may arrive late and must not end this one. */
  async #onRemoved(from: NodeId, words: string): Promise<void> {
    const peer = this.#options.peers.get(from);
    if (peer?.state !== 'paired' || peer.words !== words) return;
    this.#options.onRemoved(from, true);
    await this.#options.peers.update(from, { state: 'removed-by-peer' });
  }

  #joiningWith(from: NodeId, inviteId: Uint8Array): Joining | undefined {
    const joining = this.#joining.get(Buffer.from(inviteId).toString('hex'));
    return joining?.invite.inviter === from ? joining : undefined;
  }

  async #tellRemoved(peer: PeerRecord): Promise<void> {
    const recipient = { to: peer.id, sealingKey: Buffer.from(peer.sealingKey, 'base64') };
    await this.#options.post(recipient, 'pair.removed', Buffer.from(peer.words), REQUEST_LIFETIME_MS);
  }

  async #remind(id: NodeId): Promise<void> {
    const peer = this.#options.peers.get(id);
    const now = this.#options.clock.monotonicMs();
    if (!peer || now - (this.#remindedAtMs.get(id) ?? Number.NEGATIVE_INFINITY) < REMINDER_MS) return;
    this.#remindedAtMs.set(id, now);
    await this.#tellRemoved(peer).catch(() => {});
  }

  /** Says it again with growing pauses until `signal` ends it. */
  async #repeat(ask: () => Promise<unknown>, random: Random, signal: AbortSignal): Promise<void> {
    let delayMs = RESEND_FIRST_MS;
    try {
      for (;;) {
        await sleep(this.#options.clock, delayMs * (0.8 + 0.4 * random.fraction()), signal);
        await ask();
        delayMs = Math.min(RESEND_MAX_MS, delayMs * 1.6);
      }
    } catch {
      // the wait is over, or the router is closed
    }
  }
}

function introduction(self: { readonly name: string; readonly relays: readonly string[] }) {
  return { name: self.name, relays: [...self.relays] };
}
