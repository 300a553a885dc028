/**
 * `RTCPeerConnection` (W3C WebRTC §4.4) for data: the names, states and events of the
 * browsers' class over our own ICE, DTLS and SCTP. Media is turned down.
 */

import { isClawError } from '@claw/base';
import type { RtcPriority } from '@claw/contracts';
import { createCertificate, type Fingerprint, type Identity } from '@claw/dtls';
import type { IceState } from '@claw/ice';
import type { DataChannel } from '@claw/sctp';
import { EventHandlers } from './event-handlers.ts';
import type { SessionDescription } from './negotiation.ts';
import {
  type ConnectionState,
  type GatheringState,
  PeerSession,
  type SessionOptions,
  type SignalingState,
} from './peer-session.ts';
import { priorityWeights } from './priority-weights.ts';
import { RTCDataChannel } from './rtc-data-channel.ts';
import { collectStats, type StatsReport } from './stats.ts';

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

const MAX_UINT16 = 65_535;

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
  #channelsOpened = 0;
  #channelsClosed = 0;
  #told: Record<string, string> = {};
  #hasMadeChannel = false;
  /** `[[NegotiationNeeded]]` of the W3C. */
  #saidNegotiationNeeded = false;

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
        onChannel: (native) => this.dispatchEvent(new RTCDataChannelEvent(this.#addChannel(native, true))),
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
    return this.#withCandidates(this.#session.localDescription);
  }
  get currentLocalDescription(): SessionDescription | null {
    return this.#withCandidates(this.#session.agreement?.local);
  }
  get pendingLocalDescription(): SessionDescription | null {
    return this.#withCandidates(this.#session.pendingLocal);
  }
  get remoteDescription(): SessionDescription | null {
    return this.#session.remoteDescription ?? null;
  }
  get currentRemoteDescription(): SessionDescription | null {
    return this.#session.agreement?.remote ?? null;
  }
  get pendingRemoteDescription(): SessionDescription | null {
    return this.#session.pendingRemote ?? null;
  }
  /** `maxChannels` once the peer has told. */
  get sctp(): { readonly maxMessageSize: number; readonly maxChannels: number | null; readonly state: string } | null {
    const { sctpState, maxMessageBytes, transport } = this.#session;
    if (!this.#session.agreement) return null;
    const maxChannels = sctpState === 'connected' ? transport.association.maxStreams : null;
    return { state: sctpState, maxMessageSize: maxMessageBytes, maxChannels };
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

  /** @throws TypeError; DOMException `InvalidStateError`, `OperationError` when the id is taken or there is none left. */
  createDataChannel(label: string, init: RTCDataChannelInit = {}): RTCDataChannel {
    const { negotiated = false, id, maxRetransmits, maxPacketLifeTime, protocol = '', ordered = true } = init;
    const numbers = { id: negotiated ? id : undefined, maxRetransmits, maxPacketLifeTime };
    for (const [name, value] of Object.entries(numbers)) {
      if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= MAX_UINT16)) {
        throw new TypeError(`${name} is ${value}; it must be a whole number from 0 to ${MAX_UINT16}`);
      }
    }
    if (id === MAX_UINT16 && negotiated) throw new TypeError(`id is ${id}; ids end with ${MAX_UINT16 - 1}`);
    let native: DataChannel;
    try {
      native = this.#session.openChannel({
        label,
        protocol,
        isOrdered: ordered,
        isNegotiated: negotiated,
        priority: priorityWeights[init.priority ?? 'low'],
        ...(maxRetransmits === undefined ? {} : { maxRetransmits }),
        ...(maxPacketLifeTime === undefined ? {} : { maxPacketLifeTimeMs: maxPacketLifeTime }),
        ...(negotiated && id !== undefined ? { id } : {}),
      });
    } catch (cause) {
      if (!isClawError(cause, 'SCTP_NO_STREAM_ID')) throw cause;
      throw new DOMException(cause.message, { name: 'OperationError', cause });
    }
    this.#hasMadeChannel = true;
    this.#updateNegotiationNeeded();
    return this.#addChannel(native, false);
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
    this.#session.setLocal(description?.sdp ? { type, sdp: description.sdp } : this.#session.describe(type));
  }

  async setRemoteDescription(description: { readonly type: string; readonly sdp?: string }): Promise<void> {
    const { type, sdp = '' } = description;
    if (type === 'rollback') return this.#session.rollback();
    if (type !== 'offer' && type !== 'answer') throw new TypeError(`a description of type ${type}`);
    this.#session.setRemote({ type, sdp });
  }

  /** Null, or an empty candidate, says that there are no more. @throws TypeError; `InvalidStateError`, `OperationError` */
  async addIceCandidate(candidate?: RTCIceCandidateInit | null): Promise<void> {
    const { candidate: line = '', sdpMid = null, sdpMLineIndex = null, usernameFragment = null } = candidate ?? {};
    if (line !== '' && sdpMid === null && sdpMLineIndex === null) {
      throw new TypeError('a candidate needs an sdpMid or an sdpMLineIndex');
    }
    const { remoteFacts } = this.#session;
    if (!remoteFacts && this.signalingState !== 'closed') {
      throw new DOMException('a candidate came before the description that it belongs to', 'InvalidStateError');
    }
    if (!remoteFacts) return this.#session.addCandidate(line); // which says that it is closed
    const { mid, position, others, ice } = remoteFacts;
    const mids = others.map((other) => other.mid);
    mids.splice(position, 0, mid);
    const isKnown = sdpMid === null ? (sdpMLineIndex ?? 0) < mids.length : mids.includes(sdpMid);
    if (!isKnown) throw new DOMException('the description has no such section', 'OperationError');
    // Sections that were turned down need none.
    if (sdpMid === null ? (sdpMLineIndex ?? position) !== position : sdpMid !== mid) return;
    if (usernameFragment !== null && usernameFragment !== ice.usernameFragment) {
      throw new DOMException('the candidate is of another description', 'OperationError');
    }
    // One from before a restart, by what libwebrtc writes into its lines.
    const told = / ufrag (\S+)/.exec(line)?.[1];
    if (told === undefined || told === ice.usernameFragment) this.#session.addCandidate(line);
  }

  restartIce(): void {
    this.#session.restartIce();
    this.#updateNegotiationNeeded();
  }

  /** What the W3C makes mandatory of a data connection (WebRTC §8.6), and a little more. */
  getStats(): Promise<Map<string, StatsReport>> {
    const channels = { opened: this.#channelsOpened, closed: this.#channelsClosed, open: this.#channels };
    return collectStats(this.#session, channels, this.iceConnectionState);
  }

  close(): void {
    if (this.signalingState === 'closed') return;
    for (const channel of [...this.#channels]) channel.abandon();
    this.#session.close();
  }

  #withCandidates(description: SessionDescription | undefined): SessionDescription | null {
    return description ? this.#session.withCandidates(description) : null;
  }

  #addChannel(native: DataChannel, isIncoming: boolean): RTCDataChannel {
    const channel = new RTCDataChannel(native, this.#session, isIncoming);
    this.#channels.add(channel);
    let isOpened = isIncoming;
    if (isOpened) this.#channelsOpened += 1;
    else {
      channel.addEventListener('open', () => {
        isOpened = true;
        this.#channelsOpened += 1;
      });
    }
    channel.onEnd = () => {
      this.#channels.delete(channel);
      if (isOpened) this.#channelsClosed += 1;
    };
    return channel;
  }

  /** W3C WebRTC §4.7.3. */
  #updateNegotiationNeeded(): void {
    queueMicrotask(() => {
      if (this.signalingState !== 'stable') return; // until it is
      const { wantsRestart, agreement } = this.#session;
      const isNeeded = wantsRestart || (this.#hasMadeChannel && !agreement);
      const isNews = isNeeded && !this.#saidNegotiationNeeded;
      this.#saidNegotiationNeeded = isNeeded;
      if (isNews) this.dispatchEvent(new Event('negotiationneeded'));
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
      for (const channel of this.#channels) channel.end(this.failure);
    }
    if (former['signalingstatechange'] !== 'stable' && this.signalingState === 'stable') {
      this.#saidNegotiationNeeded = false;
      this.#updateNegotiationNeeded();
    }
  }
}
