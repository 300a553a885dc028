/**
 * Offer and answer over one data transport (JSEP, RFC 8829), for one data section.
 * The W3C classes and the link's engine are two faces of it.
 *
 * Invariant: descriptions are applied one after the other; the roles of ICE and DTLS
 * are fixed by the first pair of them and outlive restarts.
 */

import { type Clock, type Random, systemClock, systemRandom, type Timer } from '@claw/base';
import { createCertificate, type Fingerprint, fingerprintOf, type Identity } from '@claw/dtls';
import {
  formatCandidate,
  type IceServer,
  type IceSockets,
  type IceState,
  type IceTransport,
  type LocalCandidate,
  type PairFacts,
} from '@claw/ice';
import { type HttpProxy, NodeSockets } from '@claw/ice/node';
import type { CongestionKind, DataChannel, DataChannelInit, SctpState } from '@claw/sctp';
import { DataTransport, LOCAL_MTU_BYTES } from './data-transport.ts';
import { engineError } from './errors.ts';
import {
  type DataDescription,
  formatDescription,
  parseDescription,
  readCandidate,
  type Setup,
} from './session-description.ts';

export interface SessionOptions {
  readonly iceServers?: readonly IceServer[] | undefined;
  readonly iceTransportPolicy?: 'all' | 'relay' | undefined;
  /** Made anew when left out. */
  readonly identity?: Identity | undefined;
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

export interface SessionDescription {
  readonly type: 'offer' | 'answer';
  readonly sdp: string;
}

export type SignalingState = 'stable' | 'have-local-offer' | 'have-remote-offer' | 'closed';
export type GatheringState = 'new' | 'gathering' | 'complete';
export type ConnectionState = 'new' | 'connecting' | 'connected' | 'disconnected' | 'failed' | 'closed';

export interface SessionEvents {
  onCandidate(line: string | null, mid: string, usernameFragment: string): void;
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
  #sessionVersion = 0;
  #signalingState: SignalingState = 'stable';
  #local: SessionDescription | undefined;
  /** What a rollback goes back to. */
  #stableLocal: SessionDescription | undefined;
  #remote: SessionDescription | undefined;
  #remoteFacts: DataDescription | undefined;
  #hasGathered = false;
  #isGatheringComplete = false;
  #candidates: LocalCandidate[] = [];
  /** Found and not yet told: until the turn after gathering began. */
  #heldCandidates: (LocalCandidate | null)[] | undefined;
  #release: Timer | undefined;
  #wantsRestart = false;
  #setup: Setup | undefined;
  #mid = '0';
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
        ...{ iceServers, iceTransportPolicy, sockets, addresses, maxMessageBytes, congestion, dtlsVersions },
      },
      {
        onCandidate: (candidate) => this.#onCandidate(candidate),
        onIceState: (state) => {
          this.#iceState = state;
          this.#events.onStates();
        },
        onDtlsState: () => this.#events.onStates(),
        onSctpState: (state) => {
          this.#sctpState = state;
        },
        onChannel: (channel) => this.#events.onChannel(channel),
        onFailure: (error) => {
          this.#failure ??= error;
          this.#events.onStates();
          this.#events.onError(error);
        },
      },
    );
    this.#sessionId = this.#random.bytes(8).readBigUInt64BE().toString().slice(0, 18);
  }

  get signalingState(): SignalingState {
    return this.#signalingState;
  }

  get iceGatheringState(): GatheringState {
    if (!this.#hasGathered) return 'new';
    return this.#isGatheringComplete ? 'complete' : 'gathering';
  }

  get iceState(): IceState {
    return this.#iceState;
  }

  get connectionState(): ConnectionState {
    if (this.#signalingState === 'closed') return 'closed';
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
    return this.transport.dtlsState === 'closed' && this.#signalingState !== 'closed';
  }

  get sctpState(): SctpState {
    return this.#sctpState;
  }

  get localDescription(): SessionDescription | undefined {
    return this.#local;
  }

  /** The local description as it would read with the candidates gathered since. */
  currentLocalDescription(): SessionDescription | undefined {
    const { ice } = this.transport;
    if (!this.#local || !ice) return this.#local;
    const { sdp } = this.#local;
    const lines = this.#candidates.map((candidate) => `a=${formatCandidate(candidate)}`);
    const missing = lines.filter((line) => !sdp.includes(line));
    if (this.#isGatheringComplete && !sdp.includes('a=end-of-candidates')) missing.push('a=end-of-candidates');
    if (missing.length === 0) return this.#local;
    const end = sdp.indexOf('\r\nm=', sdp.indexOf('m=application'));
    const at = end < 0 ? sdp.length : end + 2;
    return { ...this.#local, sdp: `${sdp.slice(0, at)}${missing.join('\r\n')}\r\n${sdp.slice(at)}` };
  }

  get remoteDescription(): SessionDescription | undefined {
    return this.#remote;
  }

  get remoteFacts(): DataDescription | undefined {
    return this.#remoteFacts;
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
    const expected = type === 'offer' ? ['stable', 'have-local-offer'] : ['have-remote-offer'];
    if (!expected.includes(this.#signalingState)) {
      throw engineError('ENGINE_STATE_INVALID', `cannot make an ${type} in the state ${this.#signalingState}`);
    }
    const ice = this.transport.open(type === 'offer');
    if (type === 'offer' && this.#wantsRestart) {
      this.#wantsRestart = false;
      ice.act((agent, nowMs) => agent.restart(nowMs));
    }
    // After a restart, be it the peer's, they bear other credentials.
    if (this.#hasGathered) this.#candidates = [...ice.agent.localCandidates];
    return { type, sdp: this.#format(type, ice) };
  }

  setLocal(description: SessionDescription): void {
    this.#assertOpen('set the local description');
    const { type } = description;
    const fits =
      type === 'offer' ? this.#signalingState !== 'have-remote-offer' : this.#signalingState === 'have-remote-offer';
    if (!fits) {
      throw engineError('ENGINE_STATE_INVALID', `cannot set a local ${type} in the state ${this.#signalingState}`);
    }
    const ice = this.transport.open(type === 'offer');
    this.#local = description;
    this.#signalingState = type === 'offer' ? 'have-local-offer' : 'stable';
    if (type === 'answer') {
      this.#stableLocal = description;
      this.#applyRoles();
    }
    if (!this.#hasGathered) {
      this.#hasGathered = true;
      this.#gather(ice);
    } else {
      // After a restart the candidates stand in the description already.
      this.#isGatheringComplete ||= ice.agent.isGatheringComplete;
    }
    this.#events.onStates();
  }

  /** `type` offer in `have-local-offer` rolls the own offer back first: the polite peer's part. */
  setRemote(description: SessionDescription): void {
    this.#assertOpen('set the remote description');
    const { type, sdp } = description;
    const fits = type === 'offer' || this.#signalingState === 'have-local-offer';
    if (!fits) {
      throw engineError('ENGINE_STATE_INVALID', `cannot set a remote ${type} in the state ${this.#signalingState}`);
    }
    const facts = withoutMirror(parseDescription(sdp), this.transport.association.localInit);
    if (facts.fingerprints.length === 0) {
      throw engineError('ENGINE_DESCRIPTION_INVALID', "the peer's description is refused: it has no fingerprint");
    }
    if (facts.sctpPort === 0) {
      throw engineError('ENGINE_DESCRIPTION_INVALID', "the peer's description is refused: its SCTP port is 0");
    }
    if (type === 'offer' && this.#signalingState === 'have-local-offer') this.rollback();
    const ice = this.transport.open(false);
    this.#remote = description;
    this.#remoteFacts = facts;
    this.#mid = facts.mid;
    this.#signalingState = type === 'offer' ? 'have-remote-offer' : 'stable';
    this.transport.setRemote(facts);
    if (type === 'answer') {
      this.#stableLocal = this.#local;
      this.#applyRoles(); // before the first check, which may carry the first flight
    }
    for (const candidate of facts.candidates) ice.addRemoteCandidate(candidate);
    for (const line of this.#earlyCandidates.splice(0)) addCandidate(ice, line);
    if (facts.endOfCandidates) ice.act((agent, nowMs) => agent.endOfCandidates(nowMs));
    this.#events.onStates();
  }

  /** Takes the own offer back. What it gathered stays. */
  rollback(): void {
    if (this.#signalingState !== 'have-local-offer') {
      throw engineError('ENGINE_STATE_INVALID', `there is nothing to roll back in the state ${this.#signalingState}`);
    }
    this.#local = this.#stableLocal;
    this.#signalingState = 'stable';
    this.#events.onStates();
  }

  /** An empty line says that there are no more. */
  addCandidate(line: string): void {
    this.#assertOpen('add a candidate');
    const { ice } = this.transport;
    if (ice && this.#remoteFacts) addCandidate(ice, line);
    else if (this.#earlyCandidates.length < MAX_EARLY_CANDIDATES) {
      if (line !== '') readCandidate(line);
      this.#earlyCandidates.push(line);
    }
  }

  /** The next offer restarts ICE. */
  restartIce(): void {
    this.#wantsRestart = this.transport.ice !== undefined;
  }

  close(): void {
    if (this.#signalingState === 'closed') return;
    this.#signalingState = 'closed';
    this.#release?.cancel();
    void this.transport.close();
  }

  #format(type: 'offer' | 'answer', ice: IceTransport): string {
    const remote = this.#remoteFacts;
    const isAnswer = type === 'answer';
    // Roles once taken stay (RFC 8842 §5.5); the answerer begins, for its ClientHello may leave at once.
    this.#setup ??= isAnswer ? (remote?.setup === 'active' ? 'passive' : 'active') : undefined;
    const snap = !isAnswer || remote?.sctpInit !== undefined;
    this.#sessionVersion += 1;
    return formatDescription({
      sessionId: this.#sessionId,
      sessionVersion: this.#sessionVersion,
      ice: ice.agent.localParameters,
      fingerprints: [this.#fingerprint],
      setup: isAnswer ? (this.#setup ?? 'active') : 'actpass',
      mid: this.#mid,
      sctpPort: 5000,
      maxMessageBytes: this.#options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
      maxDatagramBytes: LOCAL_MTU_BYTES,
      sctpInit: snap && this.#sctpState === 'new' ? this.transport.association.localInit : undefined,
      candidates: this.#candidates,
      endOfCandidates: this.#isGatheringComplete,
      // Also in an offer: sections that were agreed on once, be it to turn them down, keep their place (RFC 8829 §5.2.2).
      others: remote?.others ?? [],
      position: remote?.position ?? 0,
    });
  }

  #applyRoles(): void {
    const remote = this.#remoteFacts;
    if (!remote) return;
    if (this.#signalingState === 'stable' && this.#local?.type === 'offer') {
      this.#setup ??= remote.setup === 'active' ? 'passive' : 'active';
    }
    this.transport.setRole(this.#setup === 'active' ? 'client' : 'server');
  }

  #onCandidate(candidate: LocalCandidate | null): void {
    if (candidate) this.#candidates.push(candidate);
    else this.#isGatheringComplete = true;
    if (this.#heldCandidates) this.#heldCandidates.push(candidate);
    else queueMicrotask(() => this.#tellCandidate(candidate));
  }

  /** Candidates wait for a turn, so that whoever awaits the description has it before them. */
  #gather(ice: IceTransport): void {
    const held: (LocalCandidate | null)[] = [];
    this.#heldCandidates = held;
    this.#release = this.#clock.setTimer(0, () => {
      this.#heldCandidates = undefined;
      for (const candidate of held) this.#tellCandidate(candidate);
    });
    ice.gather();
  }

  #tellCandidate(candidate: LocalCandidate | null): void {
    if (this.#signalingState === 'closed') return;
    const { usernameFragment = '' } = this.transport.ice?.agent.localParameters ?? {};
    this.#events.onCandidate(candidate && formatCandidate(candidate), this.#mid, usernameFragment);
    if (!candidate) this.#events.onStates();
  }

  #assertOpen(what: string): void {
    if (this.#signalingState === 'closed' || this.isEndedByPeer) {
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
