/**
 * One attempt to link with one peer: descriptions, path, inner handshake, lanes,
 * and then either a {@link Link} or one error that both sides know. Until it is
 * operational no application byte is sent, and none is taken.
 *
 * The inner handshake's flights ride in the offer, in the answer and in `more`
 * messages while ICE and DTLS are still at work, so it costs no round trip of its
 * own; when the control lane opens first, they take that too.
 */

import { asBuffer, type ClawError, type Clock, errorText, isClawError, type Logger, type Timer } from '@claw/base';
import type {
  KeyHolder,
  NodeId,
  RtcConfiguration,
  RtcDataChannel,
  RtcEngine,
  RtcIceCandidate,
  RtcPeerConnection,
  RtcSessionDescription,
} from '@claw/contracts';
import type { CertificatePool } from '@claw/identity';
import type { Posted } from '@claw/signaling';
import { fromWireCode, type LinkErrorCode, linkError, toWireCode } from '../errors.ts';
import { channelBinding } from '../handshake/channel-binding.ts';
import type { Segment } from '../handshake/flight-buffer.ts';
import { type HandshakeResult, InnerHandshake } from '../handshake/inner-handshake.ts';
import type { LinkPolicy } from '../handshake/link-policy.ts';
import type { NonceBook } from '../handshake/nonce-book.ts';
import type { IncomingChannel } from '../session/incoming-channel.ts';
import { CONTROL_LANE, LANE_IDS, laneChannel } from '../session/lanes.ts';
import type { SessionLimits } from '../session/limits.ts';
import { FRAME_COST_BYTES } from '../session/receive-window.ts';
import { Session } from '../session/session.ts';
import {
  type AttemptMessage,
  CLEARTEXT,
  type DescriptionMessage,
  decodeCleartext,
  MAX_CANDIDATES,
  type MoreMessage,
} from './attempt-messages.ts';
import { AttemptOutbox } from './attempt-outbox.ts';
import { Link, type SetupPhases } from './link.ts';

/** What every attempt of a node shares. */
export interface LinkEnvironment {
  readonly keyHolder: KeyHolder;
  readonly certificates: Pick<CertificatePool, 'take'>;
  readonly engine: RtcEngine;
  /** In force for attempts that begin from now on. */
  readonly rtc: () => RtcConfiguration;
  readonly policy: () => LinkPolicy;
  readonly nonces: NonceBook;
  readonly limits: SessionLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The peer opened a channel on an operational link. */
  readonly onIncoming: (link: Link, channel: IncomingChannel) => void;
}

export interface AttemptOptions {
  readonly environment: LinkEnvironment;
  readonly id: Uint8Array;
  readonly peer: NodeId;
  /** Signs, seals and hands a message to the carriers. */
  readonly post: (message: AttemptMessage) => Promise<Posted>;
  /** From the start to operational. */
  readonly deadlineMs: number;
}

/** Between saying the last word on the control lane and closing the connection. */
export const LINGER_MS = 100;
const MAX_EARLY_BYTES = 1024 * 1024;

export class LinkAttempt {
  /** Resolves when operational; rejects with the reason, which the peer was told. */
  readonly link: Promise<Link>;
  readonly #options: AttemptOptions;
  readonly #role: 'client' | 'server';
  readonly #startedMs: number;
  readonly #phases: SetupPhases = {};
  readonly #outcome = Promise.withResolvers<Link>();
  readonly #ended = Promise.withResolvers<ClawError>();
  readonly #connection: RtcPeerConnection;
  readonly #channels = new Map<number, RtcDataChannel>();
  readonly #nonce: Buffer;
  #handshake: InnerHandshake | undefined;
  #handshakeResult: HandshakeResult | undefined;
  #session: Session | undefined;
  #link: Link | undefined;
  #openChannels = 0;
  #early: [lane: number, data: Uint8Array][] = [];
  #earlyBytes = 0;
  /** As it was sent; the engine's own may grow candidates. */
  #offerSdp = '';
  readonly #outbox: AttemptOutbox;
  #remoteSet = false;
  /** Came before the description that they belong to; an engine would refuse them. */
  readonly #remoteCandidates: RtcIceCandidate[] = [];
  readonly #deadline: Timer;
  #finished = false;

  private constructor(options: AttemptOptions, role: 'client' | 'server') {
    const { environment } = options;
    this.#options = options;
    this.#role = role;
    this.#startedMs = environment.clock.monotonicMs();
    this.link = this.#outcome.promise;
    this.link.catch(() => {});
    this.#nonce = environment.nonces.mint(options.deadlineMs);
    this.#connection = environment.engine.createPeerConnection(environment.rtc());
    this.#connection.onconnectionstatechange = () => this.#onConnectionState();
    for (const lane of LANE_IDS) this.#createChannel(lane);
    this.#outbox = new AttemptOutbox({
      attempt: options.id,
      control: this.#channels.get(CONTROL_LANE) as RtcDataChannel,
      post: options.post,
      clock: environment.clock,
      logger: environment.logger,
      onFailed: (error) => this.#onNotPosted(error),
    });
    this.#connection.onicecandidate = (candidate) => this.#outbox.addCandidate(candidate);
    this.#deadline = environment.clock.setTimer(options.deadlineMs, () =>
      this.#refuse(
        linkError('LINK_HANDSHAKE_TIMEOUT', `no link within ${options.deadlineMs} ms (${this.#progress()})`),
      ),
    );
  }

  /** Makes and sends an offer. */
  static offer(options: AttemptOptions): LinkAttempt {
    const attempt = new LinkAttempt(options, 'client');
    attempt.#guard(() => attempt.#describe('link.offer'));
    return attempt;
  }

  /** Takes an offer and sends the answer. */
  static answer(options: AttemptOptions, offer: DescriptionMessage): LinkAttempt {
    const attempt = new LinkAttempt(options, 'server');
    attempt.#guard(async () => {
      await attempt.#setRemote({ type: 'offer', sdp: offer.sdp });
      await attempt.#addCandidates(offer.candidates);
      await attempt.#describe('link.answer', offer);
    });
    return attempt;
  }

  get id(): Uint8Array {
    return this.#options.id;
  }

  get role(): 'client' | 'server' {
    return this.#role;
  }

  /** Takes in a message of the peer about this attempt. */
  receive(message: AttemptMessage): void {
    if (this.#finished) return;
    switch (message.kind) {
      case 'link.answer':
        return this.#guard(() => this.#onAnswer(message));
      case 'link.more':
        return this.#guard(() => this.#onMore(message));
      case 'link.refuse':
        if (this.#link) return;
        return this.#fail(
          linkError(fromWireCode(message.code, 'LINK_CLOSED_BY_PEER'), `the peer refused: ${message.reason}`),
        );
      case 'link.offer':
        return; // a repetition of the one that made this attempt
    }
  }

  /** Says the offer again, for a peer that did not expect the first. */
  repeatOffer(): void {
    this.#outbox.repeatDescription();
  }

  /** Gives the attempt up and tells the peer. A link that came of it stays. */
  abandon(code: LinkErrorCode, reason: string): void {
    if (!this.#link) this.#refuse(linkError(code, reason));
  }

  /** Gives the attempt up without a word, for another attempt with the same peer. */
  yieldTo(reason: string): void {
    if (!this.#link) this.#fail(linkError('LINK_SUPERSEDED', reason));
  }

  // --- descriptions

  async #describe(kind: 'link.offer' | 'link.answer', offer?: DescriptionMessage): Promise<void> {
    const { environment, peer } = this.#options;
    // The engine gathers on its own threads while TLS computes here.
    const described = this.#connection.setLocalDescription();
    described.catch(() => {});
    const firstFlight = Promise.withResolvers<Segment>();
    const handshake = new InnerHandshake({
      role: this.#role,
      peer,
      keyHolder: environment.keyHolder,
      context: await environment.certificates.take(),
      policy: environment.policy(),
      nonces: environment.nonces,
      clock: environment.clock,
      onSegment: (segment) => (segment.offset === 0 ? firstFlight.resolve(segment) : this.#outbox.sendSegment(segment)),
    });
    if (this.#finished) return handshake.close();
    this.#handshake = handshake;
    handshake.result.then(
      (result) => this.#onAuthenticated(result),
      (error: ClawError) => {
        firstFlight.reject(error);
        this.#refuse(error);
      },
    );
    firstFlight.promise.catch(() => {});
    if (offer) handshake.receive({ offset: 0, bytes: offer.flight });
    const { sdp } = await described;
    if (offer) this.#bind(offer, offer.sdp, sdp);
    else this.#offerSdp = sdp;
    await this.#outbox.describe(kind, { sdp, nonce: this.#nonce }, firstFlight.promise);
    this.#mark('described');
    // While the other side is at work.
    if (offer) handshake.prepareClaim();
  }

  async #onAnswer(answer: DescriptionMessage): Promise<void> {
    if (this.#role !== 'client' || this.#phases.answered !== undefined) return;
    this.#mark('answered');
    this.#outbox.heard();
    // The path first: ICE and DTLS work on the engine's threads while TLS computes here.
    await this.#setRemote({ type: 'answer', sdp: answer.sdp });
    await this.#addCandidates(answer.candidates);
    this.#bind(answer, this.#offerSdp, answer.sdp);
    this.#handshake?.receive({ offset: 0, bytes: answer.flight });
  }

  async #onMore(more: MoreMessage): Promise<void> {
    if (!this.#link) for (const segment of more.segments) this.#handshake?.receive(segment);
    await this.#addCandidates(more.candidates);
  }

  #bind(remote: DescriptionMessage, offerSdp: string, answerSdp: string): void {
    const [offererNonce, answererNonce] =
      this.#role === 'client' ? [this.#nonce, remote.nonce] : [remote.nonce, this.#nonce];
    this.#handshake?.bind({
      binding: channelBinding({ attempt: this.#options.id, offerSdp, answerSdp, offererNonce, answererNonce }),
      ownNonce: this.#nonce,
      peerNonce: remote.nonce,
    });
  }

  async #setRemote(description: RtcSessionDescription): Promise<void> {
    await this.#connection.setRemoteDescription(description);
    this.#remoteSet = true;
    await this.#addCandidates(this.#remoteCandidates.splice(0));
  }

  async #addCandidates(candidates: readonly RtcIceCandidate[]): Promise<void> {
    if (!this.#remoteSet) {
      const room = MAX_CANDIDATES - this.#remoteCandidates.length;
      this.#remoteCandidates.push(...candidates.slice(0, room));
      return;
    }
    for (const candidate of candidates) {
      try {
        await this.#connection.addIceCandidate(candidate);
      } catch (error) {
        this.#options.environment.logger.debug('link.candidate-refused', { detail: errorText(error) });
      }
    }
  }

  // --- lanes

  #createChannel(lane: number): void {
    const { label, init } = laneChannel(lane);
    const channel = this.#connection.createDataChannel(label, init);
    this.#channels.set(lane, channel);
    channel.onopen = () => this.#onChannelOpen(lane);
    channel.onmessage = (data) => this.#onEarlyRecord(lane, data);
  }

  #onChannelOpen(lane: number): void {
    this.#openChannels += 1;
    if (lane === CONTROL_LANE) {
      this.#outbox.repeatOnLane(this.#handshake?.sentFrom(this.#outbox.firstFlightBytes));
    }
    if (this.#openChannels === LANE_IDS.length) {
      this.#mark('channelsOpen');
      this.#startSession();
    }
  }

  /** Before the session there are cleartext messages of the handshake, and records of a peer that is ahead. */
  #onEarlyRecord(lane: number, data: Uint8Array): void {
    if (lane === CONTROL_LANE && data[0] === CLEARTEXT) return this.#onCleartext(data);
    if (!this.#handshakeResult && this.#role === 'client') {
      return this.#refuse(
        linkError('LINK_PROTOCOL_VIOLATED', 'the peer sent a record before the link was operational'),
      );
    }
    this.#earlyBytes += data.length + FRAME_COST_BYTES;
    if (this.#earlyBytes > MAX_EARLY_BYTES) {
      return this.#refuse(linkError('LINK_PEER_ABUSE', 'the peer sent too much before the link was operational'));
    }
    this.#early.push([lane, data]);
  }

  #onCleartext(data: Uint8Array): void {
    this.#guard(async () => {
      const message = decodeCleartext(asBuffer(data));
      if (Buffer.compare(message.attempt, this.#options.id) === 0) this.receive(message);
    });
  }

  // --- becoming operational

  #onAuthenticated(result: HandshakeResult): void {
    if (this.#finished) return;
    this.#handshakeResult = result;
    this.#mark('authenticated');
    this.#startSession();
  }

  #startSession(): void {
    const result = this.#handshakeResult;
    if (this.#finished || this.#session || !result || this.#openChannels < LANE_IDS.length) return;
    const { environment } = this.#options;
    for (const channel of this.#channels.values()) channel.onopen = null;
    const session = new Session({
      role: this.#role,
      channels: this.#channels,
      secrets: result.secrets,
      limits: environment.limits,
      clock: environment.clock,
      onCleartext: (data) => this.#onCleartext(data),
      onPeerOperational: () => this.#onOperational(),
      onIncoming: (channel) => this.#onIncoming(channel),
      onClosed: (error) => this.#onSessionClosed(error),
    });
    this.#session = session;
    // The client was the last to check a claim, so it goes first; the server waits for its word.
    if (this.#role === 'client') {
      session.announceOperational();
      this.#onOperational();
    }
    for (const [lane, data] of this.#early.splice(0)) session.receive(lane, data);
  }

  #onOperational(): void {
    if (this.#link || this.#finished) return;
    const { environment, peer } = this.#options;
    const result = this.#handshakeResult as HandshakeResult;
    const session = this.#session as Session;
    this.#mark('operational');
    const facts = {
      peer,
      role: this.#role,
      phases: this.#phases,
      peerRuntime: result.peerFacts,
      warnings: result.warnings,
      cipher: result.cipher,
      keyExchange: result.keyExchange,
      sinceMs: environment.clock.now(),
    };
    this.#link = new Link(facts, session, this.#connection, this.#ended.promise);
    // The outbox stays: a relay that died has another address when it is back, and the peer must hear of it.
    this.#deadline.cancel();
    this.#handshake?.close();
    this.#outcome.resolve(this.#link);
  }

  /** A receiver that fails is the application's fault and ends this channel only. */
  #onIncoming(channel: IncomingChannel): void {
    const { onIncoming, logger } = this.#options.environment;
    try {
      onIncoming(this.#link as Link, channel);
    } catch (error) {
      logger.error('link.incoming-failed', { service: channel.service, detail: errorText(error) });
      channel.refuse('STREAM_TARGET_FAILED', 'the receiver failed');
    }
  }

  #onConnectionState(): void {
    const state = this.#connection.connectionState;
    if (state === 'connected') this.#mark('connected');
    if (state !== 'failed' && state !== 'closed') return;
    if (this.#session) this.#session.lost(`the peer connection ${state}`);
    else this.#fail(linkError('LINK_NO_PATH', 'no network path to the peer was found'));
  }

  // --- ending

  #onSessionClosed(error: ClawError): void {
    this.#ended.resolve(error);
    this.#fail(error);
  }

  /** Fails and tells the peer why, on every way that is open. */
  #refuse(error: ClawError): void {
    if (this.#finished) return;
    if (this.#link) return this.#session?.failed(error);
    const code = toWireCode(error.code, 'LINK_HANDSHAKE_INVALID');
    this.#outbox.refuse({ code, reason: error.message.slice(0, 256) });
    this.#fail(error);
  }

  #fail(error: ClawError): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#stopTimers();
    this.#handshake?.fail(error);
    this.#outcome.reject(error);
    this.#ended.resolve(error);
    this.#session?.lost(error.message);
    this.#options.environment.clock.setTimer(this.#outbox.controlOpen ? LINGER_MS : 0, () => this.#connection.close());
  }

  #guard(work: () => Promise<void>): void {
    work().catch((error: unknown) => this.#onFault(error));
  }

  #onFault(error: unknown): void {
    if (isClawError(error) && error.code.startsWith('LINK_')) return this.#refuse(error);
    this.#refuse(linkError('LINK_HANDSHAKE_INVALID', `the attempt failed: ${errorText(error)}`, { cause: error }));
  }

  /** A link can do without the candidates that come later. */
  #onNotPosted(error: unknown): void {
    if (!this.#link) return this.#onFault(error);
    this.#options.environment.logger.debug('link.candidates-not-posted', { detail: errorText(error) });
  }

  #mark(phase: keyof SetupPhases): void {
    this.#phases[phase] ??= this.#options.environment.clock.monotonicMs() - this.#startedMs;
  }

  #progress(): string {
    const done = Object.keys(this.#phases);
    return done.length === 0 ? 'nothing was sent' : `got as far as: ${done.join(', ')}`;
  }

  #stopTimers(): void {
    this.#deadline.cancel();
    this.#outbox.stop();
  }
}
