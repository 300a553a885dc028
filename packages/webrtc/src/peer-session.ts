/**
 * One connection: what is negotiated, and the data transport that it takes effect on. The
 * W3C classes and the link's engine are two faces of it.
 *
 * Invariant: an offer of the peer touches the transport only with its answer. An own one
 * begins to gather and restarts ICE, because its answer may come behind the first checks.
 */

import { type Clock, type Random, systemClock, systemRandom, type Timer } from '@claw/base';
import {
  createCertificate,
  createShare,
  type Fingerprint,
  fingerprintOf,
  type Identity,
  type KeyShare,
} from '@claw/dtls';
import {
  type Candidate,
  formatCandidate,
  type IceConfiguration,
  type IceParameters,
  type IceServer,
  type IceServerError,
  type IceSockets,
  type IceState,
  type IceTransport,
  type LocalCandidate,
  type PairFacts,
  randomParameters,
} from '@claw/ice';
import { type HttpProxy, NodeSockets } from '@claw/ice/node';
import type { CongestionKind, DataChannel, DataChannelInit, SctpState } from '@claw/sctp';
import { DataTransport, LOCAL_MTU_BYTES } from './data-transport.ts';
import { engineError } from './errors.ts';
import {
  type Agreement,
  type LocalFacts,
  Negotiation,
  type NegotiationState,
  type SessionDescription,
} from './negotiation.ts';
import {
  type DataDescription,
  formatDescription,
  parseDescription,
  readCandidate,
  withCandidates,
} from './session-description.ts';

export interface SessionOptions {
  readonly iceServers?: readonly IceServer[] | undefined;
  readonly iceTransportPolicy?: 'all' | 'relay' | undefined;
  /** Made anew when left out. */
  readonly identity?: Identity | undefined;
  /** Of X25519, for this connection alone. Made with it when left out. */
  readonly keyShare?: KeyShare | undefined;
  /** Local addresses to use, the best first. Default: all of the sockets. */
  readonly addresses?: readonly string[] | undefined;
  /** What ICE sends and receives by, the caller's. Default: this machine's, as the next three options say. */
  readonly sockets?: IceSockets | undefined;
  /** Whether loopback is among the default addresses. Default: only when there is nothing else. */
  readonly loopback?: boolean | undefined;
  /** The way out for TURN over TCP and TLS. */
  readonly proxy?: HttpProxy | undefined;
  /** PEM certificates that TURN over TLS is checked against, instead of the system's. */
  readonly ca?: string | undefined;
  /** Largest message taken from the peer, in bytes. Default 262,144. */
  readonly maxMessageBytes?: number | undefined;
  readonly congestion?: CongestionKind | undefined;
  /** DTLS versions to speak. Default both. */
  readonly dtlsVersions?: readonly ('1.2' | '1.3')[] | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

export type SignalingState = NegotiationState | 'closed';
export type GatheringState = 'new' | 'gathering' | 'complete';
export type ConnectionState = 'new' | 'connecting' | 'connected' | 'disconnected' | 'failed' | 'closed';

export interface SessionEvents {
  /** Null: there are no more. */
  onCandidate(candidate: LocalCandidate | null): void;
  onServerError(error: IceServerError): void;
  onChannel(channel: DataChannel): void;
  /** One or more of the states changed. */
  onStates(): void;
  onError(error: Error): void;
}

const MAX_EARLY_CANDIDATES = 128;
const DEFAULT_MAX_MESSAGE_BYTES = 262_144;

export class PeerSession {
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly transport: DataTransport;
  readonly #certificate: Buffer;
  readonly #fingerprint: Fingerprint;
  readonly #sessionId: string;
  readonly #negotiation: Negotiation;
  #sessionVersion = 0;
  #isClosed = false;
  #isGatheringComplete = false;
  #gathering: Timer | undefined;
  /** Found and not yet told: until the turn after a restart. */
  #heldCandidates: (LocalCandidate | null)[] | undefined;
  #release: Timer | undefined;
  /** For a description that is still to come, or to be answered. */
  #earlyCandidates: string[] = [];
  #failure: Error | undefined;
  #sctpState: SctpState = 'new';
  #iceState: IceState = 'new';

  constructor(options: SessionOptions, events: SessionEvents) {
    this.#options = options;
    this.#events = events;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    const identity = options.identity ?? createCertificate({ random: this.#random });
    this.#certificate = identity.certificate;
    this.#fingerprint = fingerprintOf(identity.certificate);
    const { iceServers = [], iceTransportPolicy = 'all', maxMessageBytes = DEFAULT_MAX_MESSAGE_BYTES } = options;
    const { addresses, loopback, proxy, ca, congestion, dtlsVersions } = options;
    const sockets = options.sockets ?? new NodeSockets({ loopback, proxy, ca });
    this.transport = new DataTransport(
      {
        clock: this.#clock,
        random: this.#random,
        identity,
        keyShare: options.keyShare ?? createShare('X25519'),
        configuration: { servers: iceServers, transportPolicy: iceTransportPolicy },
        ...{ sockets, addresses, maxMessageBytes, congestion, dtlsVersions },
      },
      {
        onCandidate: (candidate) => this.#onCandidate(candidate),
        onServerError: (error) => this.#events.onServerError(error),
        onPath: () => this.#events.onStates(),
        onIceState: (state) => {
          this.#iceState = state;
          this.#events.onStates();
        },
        onDtlsState: () => this.#events.onStates(),
        onSctpState: (state) => {
          this.#sctpState = state;
          // SCTP is in the midst of it.
          queueMicrotask(() => this.#events.onStates());
        },
        onChannel: (channel) => this.#events.onChannel(channel),
        onFailure: (error) => {
          this.#failure ??= error;
          this.#events.onStates();
          this.#events.onError(error);
        },
      },
    );
    this.#negotiation = new Negotiation(() => randomParameters(this.#random));
    this.#sessionId = this.#random.bytes(8).readBigUInt64BE().toString().slice(0, 18);
  }

  get signalingState(): SignalingState {
    return this.#isClosed ? 'closed' : this.#negotiation.state;
  }

  get iceGatheringState(): GatheringState {
    if (!this.transport.ice) return 'new';
    return this.#isGatheringComplete ? 'complete' : 'gathering';
  }

  get iceState(): IceState {
    return this.#iceState;
  }

  get connectionState(): ConnectionState {
    if (this.#isClosed) return 'closed';
    if (this.#failure) return 'failed';
    const { dtlsState } = this.transport;
    if (this.#iceState === 'failed' || dtlsState === 'failed') return 'failed';
    if (this.#iceState === 'disconnected') return 'disconnected';
    const hasPath = this.#iceState === 'connected' || this.#iceState === 'completed';
    if (dtlsState === 'connected' && hasPath) return 'connected';
    if (dtlsState === 'closed') return 'disconnected';
    return this.#iceState === 'new' && dtlsState === 'new' ? 'new' : 'connecting';
  }

  /** The peer closed the connection. */
  get isEndedByPeer(): boolean {
    return this.transport.dtlsState === 'closed' && !this.#isClosed;
  }

  get sctpState(): SctpState {
    return this.#sctpState;
  }

  get agreement(): Agreement | undefined {
    return this.#negotiation.agreement;
  }

  get pendingLocal(): SessionDescription | undefined {
    return this.#negotiation.pendingLocal;
  }

  get pendingRemote(): SessionDescription | undefined {
    return this.#negotiation.pendingRemote;
  }

  get localDescription(): SessionDescription | undefined {
    return this.pendingLocal ?? this.agreement?.local;
  }

  get remoteDescription(): SessionDescription | undefined {
    return this.pendingRemote ?? this.agreement?.remote;
  }

  /** A local description as it reads with the candidates that stand now. */
  withCandidates(description: SessionDescription): SessionDescription {
    const { usernameFragment } = this.#negotiation.credentials;
    const { ice } = this.transport;
    // Of one that is about to be replaced they are told no more.
    if (!ice || !description.sdp.includes(`a=ice-ufrag:${usernameFragment}\r\n`)) return description;
    return {
      ...description,
      sdp: withCandidates(description.sdp, ice.agent.localCandidates, this.#isGatheringComplete),
    };
  }

  /** What the peer's last description says, be it answered or not. */
  get remoteFacts(): DataDescription | undefined {
    return this.#negotiation.remoteFacts;
  }

  /** Of the data section. */
  get mid(): string {
    return this.remoteFacts?.mid ?? '0';
  }

  /** As the W3C passes it on. */
  candidateInit(candidate: Candidate) {
    const { usernameFragment = null } = candidate;
    const sdpMLineIndex = this.remoteFacts?.position ?? 0;
    return { candidate: formatCandidate(candidate), sdpMid: this.mid, sdpMLineIndex, usernameFragment };
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  get maxMessageBytes(): number {
    return this.transport.channels.maxSendBytes;
  }

  selectedPair(): PairFacts | undefined {
    return this.transport.ice?.agent.stats().selected;
  }

  get smoothedRttMs(): number | undefined {
    return this.#sctpState === 'connected' ? this.transport.association.smoothedRttMs : undefined;
  }

  /** Milliseconds since 1970. */
  get wallClockMs(): number {
    return this.#clock.now();
  }

  /** DER. */
  get localCertificate(): Buffer {
    return this.#certificate;
  }

  get peerCertificate(): Buffer | undefined {
    return this.transport.peerCertificate;
  }

  /** For the next gathering. @throws ClawError `ENGINE_CLOSED` */
  configure(configuration: IceConfiguration): void {
    this.#assertOpen('configure');
    this.transport.configure(configuration);
  }

  /** The channels of the connection; those made before the first description wait for it. */
  openChannel(init: DataChannelInit): DataChannel {
    this.#assertOpen('open a channel');
    const { transport } = this;
    const channel = transport.channels.open(init, transport.nowMs);
    transport.touch();
    return channel;
  }

  /** Offer in a stable state; answer to a remote offer. */
  describe(type: 'offer' | 'answer'): SessionDescription {
    this.#assertOpen('describe');
    return this.#negotiation.make(type, (facts) => this.#write(type, facts));
  }

  setLocal(description: SessionDescription): void {
    this.#assertOpen('set the local description');
    const { restart, agreement } = this.#negotiation.setLocal(description);
    const isFirst = this.transport.ice === undefined;
    const ice = this.transport.open(description.type === 'offer', this.#negotiation.credentials);
    if (restart) this.#restart(ice, restart);
    if (agreement) this.#apply(agreement, ice);
    // In the next turn: whoever awaits the description can send it before sockets are opened.
    if (isFirst) this.#gathering = this.#clock.setTimer(0, () => ice.gather());
    this.#events.onStates();
  }

  /** An offer rolls an own one back first: the polite peer's part. */
  setRemote(description: SessionDescription): void {
    this.#assertOpen('set the remote description');
    this.#negotiation.expect(description.type, 'remote', 'set');
    const facts = this.#read(description);
    if (description.type === 'offer' && this.signalingState === 'have-local-offer') this.rollback();
    const agreement = this.#negotiation.setRemote(description, facts);
    const { ice } = this.transport;
    if (agreement && ice) this.#apply(agreement, ice);
    this.#events.onStates();
  }

  /** Takes an offer back, the own one or the peer's. Sockets stay. */
  rollback(): void {
    this.#assertOpen('roll back');
    if (this.signalingState === 'have-remote-offer') this.#earlyCandidates = [];
    const hadRestarted = this.#negotiation.rollback();
    const { ice } = this.transport;
    if (hadRestarted) ice?.act((agent, nowMs) => agent.rollback(nowMs));
    this.#events.onStates();
  }

  /** An empty line says that there are no more. */
  addCandidate(line: string): void {
    this.#assertOpen('add a candidate');
    const { ice } = this.transport;
    if (ice && this.agreement && !this.pendingRemote) addCandidate(ice, line);
    else if (this.#earlyCandidates.length < MAX_EARLY_CANDIDATES) {
      if (line !== '') readCandidate(line);
      this.#earlyCandidates.push(line);
    }
  }

  /** The next offer restarts ICE. */
  restartIce(): void {
    this.#negotiation.restartIce();
  }

  get wantsRestart(): boolean {
    return this.#negotiation.wantsRestart;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#gathering?.cancel();
    this.#release?.cancel();
    void this.transport.close();
  }

  /** @throws ClawError `ENGINE_DESCRIPTION_INVALID` */
  #read({ sdp }: SessionDescription): DataDescription {
    const facts = withoutMirror(parseDescription(sdp), this.transport.association.localInit);
    const refuse = (why: string) =>
      engineError('ENGINE_DESCRIPTION_INVALID', `the peer's description is refused: ${why}`);
    if (facts.fingerprints.length === 0) throw refuse('it has no fingerprint');
    if (facts.sctpPort === 0) throw refuse('its SCTP port is 0');
    return facts;
  }

  #write(type: 'offer' | 'answer', { credentials, setup, remote, isRestart }: LocalFacts): string {
    const snap = type === 'offer' || remote?.sctpInit !== undefined;
    const { ice } = this.transport;
    this.#sessionVersion += 1;
    return formatDescription({
      sessionId: this.#sessionId,
      sessionVersion: this.#sessionVersion,
      ice: credentials,
      fingerprints: [this.#fingerprint],
      setup,
      mid: this.mid,
      sctpPort: 5000,
      maxMessageBytes: this.#options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
      maxDatagramBytes: LOCAL_MTU_BYTES,
      sctpInit: snap && this.#sctpState === 'new' ? this.transport.association.localInit : undefined,
      candidates: isRestart || !ice ? [] : ice.agent.localCandidates,
      endOfCandidates: !isRestart && this.#isGatheringComplete,
      // Also in an offer: sections that were agreed on once, be it to turn them down, keep their place (RFC 8829 §5.2.2).
      others: remote?.others ?? [],
      position: remote?.position ?? 0,
    });
  }

  /** Both descriptions are known. */
  #apply({ facts }: Agreement, ice: IceTransport): void {
    this.transport.setRemote(facts, this.#negotiation.setup === 'active' ? 'client' : 'server');
    for (const candidate of facts.candidates) ice.addRemoteCandidate(candidate);
    for (const line of this.#earlyCandidates.splice(0)) addCandidate(ice, line);
    if (facts.endOfCandidates) ice.act((agent, nowMs) => agent.endOfCandidates(nowMs));
  }

  #restart(ice: IceTransport, credentials: IceParameters): void {
    const held = this.#holdCandidates();
    ice.act((agent, nowMs) => agent.restart(nowMs, credentials));
    // Those that stand are told again by their new name.
    held.splice(0, Infinity, ...ice.agent.localCandidates);
    this.#isGatheringComplete = false;
    if (ice.agent.isGatheringComplete) held.push(null);
  }

  /** Until the next turn, so that whoever awaits the description has it before them. */
  #holdCandidates(): (LocalCandidate | null)[] {
    this.#release?.cancel();
    const held: (LocalCandidate | null)[] = [];
    this.#heldCandidates = held;
    this.#release = this.#clock.setTimer(0, () => {
      this.#heldCandidates = undefined;
      for (const candidate of held) this.#tellCandidate(candidate);
    });
    return held;
  }

  #onCandidate(candidate: LocalCandidate | null): void {
    if (this.#heldCandidates) this.#heldCandidates.push(candidate);
    else queueMicrotask(() => this.#tellCandidate(candidate));
  }

  #tellCandidate(candidate: LocalCandidate | null): void {
    if (this.#isClosed) return;
    // Some come after the end, from a network that changed: then the end is told again, unless nothing else is asked.
    this.#isGatheringComplete =
      candidate === null || (this.#isGatheringComplete && this.transport.ice?.agent.isGatheringComplete === true);
    this.#events.onStates();
    this.#events.onCandidate(candidate);
  }

  #assertOpen(what: string): void {
    if (this.#isClosed || this.isEndedByPeer) {
      const who = this.isEndedByPeer ? 'the peer closed the connection' : 'the connection is closed';
      throw engineError('ENGINE_CLOSED', `cannot ${what}: ${who}`);
    }
    if (this.#failure) {
      throw engineError('ENGINE_FAILED', `cannot ${what}: the connection failed`, { cause: this.#failure });
    }
  }
}

/** libdatachannel repeats in its answer what it does not know of the offer: our own extensions, which it does not have. */
function withoutMirror(facts: DataDescription, localInit: Buffer): DataDescription {
  if (!facts.sctpInit?.equals(localInit)) return facts;
  return { ...facts, ice: { ...facts.ice, canEmbed: false }, sctpInit: undefined, maxDatagramBytes: 0 };
}

function addCandidate(ice: IceTransport, line: string): void {
  if (line === '') return ice.act((agent, nowMs) => agent.endOfCandidates(nowMs));
  const candidate = readCandidate(line);
  if (candidate) ice.addRemoteCandidate(candidate);
}
