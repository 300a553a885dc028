/**
 * `RTCPeerConnection` (W3C WebRTC §4.4) for data: the names, states and events of the
 * browsers' class over our own ICE, DTLS and SCTP. Media is turned down.
 */

import type { RtcPriority } from '@claw/contracts';
import { createCertificate, type Fingerprint, type Identity } from '@claw/dtls';
import type { CandidateFacts, IceState } from '@claw/ice';
import { EventHandlers } from './event-handlers.ts';
import {
  type ConnectionState,
  type GatheringState,
  PeerSession,
  type SessionDescription,
  type SessionOptions,
  type SignalingState,
} from './peer-session.ts';
import { priorityWeights } from './priority-weights.ts';
import { RTCDataChannel } from './rtc-data-channel.ts';

/** The W3C's dictionary, and below it what only a program outside of a browser may choose. */
export interface RTCConfiguration extends Omit<SessionOptions, 'identity'> {
  readonly certificates?: readonly RTCCertificate[];
}

export interface RTCDataChannelInit {
  readonly ordered?: boolean;
  readonly maxRetransmits?: number;
  /** Milliseconds. */
  readonly maxPacketLifeTime?: number;
  readonly protocol?: string;
  readonly negotiated?: boolean;
  readonly id?: number;
  readonly priority?: RtcPriority;
}

export interface RTCIceCandidateInit {
  readonly candidate?: string;
  readonly sdpMid?: string | null;
  readonly sdpMLineIndex?: number | null;
  readonly usernameFragment?: string | null;
}

export class RTCCertificate {
  readonly expires: number;
  /** @internal */
  readonly identity: Identity;
  readonly #fingerprint: Fingerprint;

  /** @internal See {@link RTCPeerConnection.generateCertificate}. */
  constructor(identity: Identity, fingerprint: Fingerprint, expires: number) {
    this.identity = identity;
    this.#fingerprint = fingerprint;
    this.expires = expires;
  }

  getFingerprints(): { algorithm: string; value: string }[] {
    const { algorithm, value } = this.#fingerprint;
    return [{ algorithm, value: (value.toString('hex').match(/../g) ?? []).join(':') }];
  }
}

export class RTCIceCandidate {
  readonly candidate: string;
  readonly sdpMid: string | null;
  readonly sdpMLineIndex: number | null;
  readonly usernameFragment: string | null;

  constructor(init: RTCIceCandidateInit) {
    this.candidate = init.candidate ?? '';
    this.sdpMid = init.sdpMid ?? null;
    this.sdpMLineIndex = init.sdpMLineIndex ?? null;
    this.usernameFragment = init.usernameFragment ?? null;
  }

  toJSON(): RTCIceCandidateInit {
    const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = this;
    return { candidate, sdpMid, sdpMLineIndex, usernameFragment };
  }
}

export class RTCPeerConnectionIceEvent extends Event {
  readonly candidate: RTCIceCandidate | null;
  constructor(candidate: RTCIceCandidate | null) {
    super('icecandidate');
    this.candidate = candidate;
  }
}

export class RTCDataChannelEvent extends Event {
  readonly channel: RTCDataChannel;
  constructor(channel: RTCDataChannel) {
    super('datachannel');
    this.channel = channel;
  }
}

type Handler<E extends Event = Event> = ((event: E) => unknown) | null;

export class RTCPeerConnection extends EventTarget {
  readonly #handlers = new EventHandlers(this);
  readonly #session: PeerSession;
  readonly #channels = new Set<RTCDataChannel>();
  #told: Record<string, string> = {};
  #needsNegotiation = false;

  /** An ephemeral ECDSA P-256 certificate, or Ed25519 when the algorithm says so. */
  static async generateCertificate(algorithm: string | { readonly name: string }): Promise<RTCCertificate> {
    const name = (typeof algorithm === 'string' ? algorithm : algorithm.name).toLowerCase();
    if (name !== 'ecdsa' && name !== 'ed25519') throw new DOMException(`${name} is not supported`, 'NotSupportedError');
    const made = createCertificate({ keyType: name === 'ed25519' ? 'ed25519' : 'ecdsa-p256' });
    return new RTCCertificate(made, made.fingerprint, Date.UTC(2049, 0));
  }

  constructor(configuration: RTCConfiguration = {}) {
    super();
    const { certificates, ...options } = configuration;
    this.#session = new PeerSession(
      { ...options, identity: certificates?.[0]?.identity },
      {
        onCandidate: (line, mid, usernameFragment) => {
          const candidate = line === null ? null : { candidate: line, sdpMid: mid, sdpMLineIndex: 0, usernameFragment };
          this.dispatchEvent(new RTCPeerConnectionIceEvent(candidate && new RTCIceCandidate(candidate)));
        },
        onChannel: (native) => {
          const channel = new RTCDataChannel(native, this.#session);
          this.#channels.add(channel);
          this.dispatchEvent(new RTCDataChannelEvent(channel));
        },
        onStates: () => this.#tellStates(),
        onError: () => {},
      },
    );
    this.#told = this.#states();
  }

  get signalingState(): SignalingState {
    return this.#session.signalingState;
  }
  get iceGatheringState(): GatheringState {
    return this.#session.iceGatheringState;
  }
  get iceConnectionState(): IceState {
    return this.signalingState === 'closed' ? 'closed' : this.#session.iceState;
  }
  get connectionState(): ConnectionState {
    return this.#session.connectionState;
  }
  /** With the candidates gathered so far. */
  get localDescription(): SessionDescription | null {
    return this.#session.currentLocalDescription() ?? null;
  }
  get remoteDescription(): SessionDescription | null {
    return this.#session.remoteDescription ?? null;
  }
  get sctp(): { readonly maxMessageSize: number; readonly state: string } | null {
    const { sctpState, maxMessageBytes } = this.#session;
    return this.remoteDescription ? { state: sctpState, maxMessageSize: maxMessageBytes } : null;
  }
  /** Why `connectionState` is `failed`: ours, the W3C tells nothing. */
  get failure(): Error | undefined {
    return this.#session.failure;
  }

  get onnegotiationneeded(): Handler {
    return this.#handlers.get('negotiationneeded');
  }
  set onnegotiationneeded(handler: Handler) {
    this.#handlers.set('negotiationneeded', handler);
  }
  get onicecandidate(): Handler<RTCPeerConnectionIceEvent> {
    return this.#handlers.get('icecandidate');
  }
  set onicecandidate(handler: Handler<RTCPeerConnectionIceEvent>) {
    this.#handlers.set('icecandidate', handler);
  }
  get onicegatheringstatechange(): Handler {
    return this.#handlers.get('icegatheringstatechange');
  }
  set onicegatheringstatechange(handler: Handler) {
    this.#handlers.set('icegatheringstatechange', handler);
  }
  get oniceconnectionstatechange(): Handler {
    return this.#handlers.get('iceconnectionstatechange');
  }
  set oniceconnectionstatechange(handler: Handler) {
    this.#handlers.set('iceconnectionstatechange', handler);
  }
  get onconnectionstatechange(): Handler {
    return this.#handlers.get('connectionstatechange');
  }
  set onconnectionstatechange(handler: Handler) {
    this.#handlers.set('connectionstatechange', handler);
  }
  get onsignalingstatechange(): Handler {
    return this.#handlers.get('signalingstatechange');
  }
  set onsignalingstatechange(handler: Handler) {
    this.#handlers.set('signalingstatechange', handler);
  }
  get ondatachannel(): Handler<RTCDataChannelEvent> {
    return this.#handlers.get('datachannel');
  }
  set ondatachannel(handler: Handler<RTCDataChannelEvent>) {
    this.#handlers.set('datachannel', handler);
  }

  createDataChannel(label: string, init: RTCDataChannelInit = {}): RTCDataChannel {
    const { negotiated = false, id } = init;
    const native = this.#session.openChannel({
      label,
      isOrdered: init.ordered ?? true,
      isNegotiated: negotiated,
      priority: priorityWeights[init.priority ?? 'low'],
      ...(init.protocol === undefined ? {} : { protocol: init.protocol }),
      ...(init.maxRetransmits === undefined ? {} : { maxRetransmits: init.maxRetransmits }),
      ...(init.maxPacketLifeTime === undefined ? {} : { maxPacketLifeTimeMs: init.maxPacketLifeTime }),
      ...(negotiated && id !== undefined ? { id } : {}),
    });
    const channel = new RTCDataChannel(native, this.#session);
    this.#channels.add(channel);
    if (this.#channels.size === 1 && !this.#session.localDescription) this.#negotiationNeeded();
    return channel;
  }

  async createOffer(options: { readonly iceRestart?: boolean } = {}): Promise<SessionDescription> {
    if (options.iceRestart) this.#session.restartIce();
    return this.#session.describe('offer');
  }

  async createAnswer(): Promise<SessionDescription> {
    return this.#session.describe('answer');
  }

  /** Without an argument: makes the offer or the answer that is due. */
  async setLocalDescription(description?: { readonly type?: string; readonly sdp?: string }): Promise<void> {
    if (description?.type === 'rollback') return this.#session.rollback();
    const due = this.signalingState === 'have-remote-offer' ? 'answer' : 'offer';
    const type = description?.type ?? due;
    if (type !== 'offer' && type !== 'answer') throw new TypeError(`a description of type ${type}`);
    this.#needsNegotiation = false;
    this.#session.setLocal(description?.sdp ? { type, sdp: description.sdp } : this.#session.describe(type));
  }

  async setRemoteDescription(description: { readonly type: string; readonly sdp?: string }): Promise<void> {
    const { type, sdp = '' } = description;
    if (type === 'rollback') return this.#session.rollback();
    if (type !== 'offer' && type !== 'answer') throw new TypeError(`a description of type ${type}`);
    this.#session.setRemote({ type, sdp });
  }

  /** Null, or an empty candidate, says that there are no more. */
  async addIceCandidate(candidate?: RTCIceCandidateInit | null): Promise<void> {
    this.#session.addCandidate(candidate?.candidate ?? '');
  }

  restartIce(): void {
    this.#session.restartIce();
    this.#negotiationNeeded();
  }

  /** The reports of kind `transport`, `candidate-pair`, `local-candidate`, `remote-candidate`, `data-channel` and `peer-connection`. */
  async getStats(): Promise<Map<string, Record<string, unknown>>> {
    const timestamp = this.#session.wallClockMs;
    const reports = new Map<string, Record<string, unknown>>();
    const add = (id: string, type: string, facts: Record<string, unknown>) =>
      reports.set(id, { id, type, timestamp, ...facts });
    for (const pair of this.#session.transport.ice?.agent.stats().pairs ?? []) {
      const { id, local, remote } = pair;
      add(`local-${id}`, 'local-candidate', candidateStats(local));
      add(`remote-${id}`, 'remote-candidate', candidateStats(remote));
      add(`pair-${id}`, 'candidate-pair', {
        localCandidateId: `local-${id}`,
        remoteCandidateId: `remote-${id}`,
        state: pair.state,
        nominated: pair.isNominated,
        priority: Number(pair.priority),
        bytesSent: pair.bytesSent,
        bytesReceived: pair.bytesReceived,
        packetsSent: pair.packetsSent,
        packetsReceived: pair.packetsReceived,
        requestsSent: pair.checksSent,
        requestsReceived: pair.checksReceived,
        ...(pair.roundTripMs === undefined ? {} : { currentRoundTripTime: pair.roundTripMs / 1000 }),
      });
      if (pair.isSelected) add('transport', 'transport', this.#transportStats(`pair-${id}`));
    }
    for (const [at, channel] of [...this.#channels].entries()) {
      const { label, protocol, id, readyState } = channel;
      add(`channel-${at}`, 'data-channel', { label, protocol, dataChannelIdentifier: id, state: readyState });
    }
    return reports;
  }

  close(): void {
    if (this.signalingState === 'closed') return;
    this.#session.close();
    for (const channel of this.#channels) channel.end();
    this.#channels.clear();
  }

  #transportStats(pairId: string): Record<string, unknown> {
    const { dtlsState } = this.#session.transport;
    return { selectedCandidatePairId: pairId, dtlsState, iceState: this.iceConnectionState };
  }

  #negotiationNeeded(): void {
    if (this.#needsNegotiation) return;
    this.#needsNegotiation = true;
    queueMicrotask(() => {
      if (this.#needsNegotiation && this.signalingState === 'stable')
        this.dispatchEvent(new Event('negotiationneeded'));
    });
  }

  #states(): Record<string, string> {
    return {
      signalingstatechange: this.signalingState,
      icegatheringstatechange: this.iceGatheringState,
      iceconnectionstatechange: this.iceConnectionState,
      connectionstatechange: this.connectionState,
    };
  }

  /** One event for each state that is another than was told last. */
  #tellStates(): void {
    const states = this.#states();
    const former = this.#told;
    this.#told = states;
    for (const [name, state] of Object.entries(states)) {
      if (former[name] !== state && this.signalingState !== 'closed') this.dispatchEvent(new Event(name));
    }
    // A path that failed may come back by a restart, and the channels with it.
    if (this.#session.isEndedByPeer || this.failure) {
      for (const channel of this.#channels) channel.end();
    }
    if (former['signalingstatechange'] !== 'stable' && this.signalingState === 'stable' && this.#needsNegotiation) {
      this.#needsNegotiation = false;
      this.#negotiationNeeded();
    }
  }
}

function candidateStats({ type, protocol, address, port, relayProtocol }: CandidateFacts): Record<string, unknown> {
  return { candidateType: type, protocol, address, port, ...(relayProtocol ? { relayProtocol } : {}) };
}
