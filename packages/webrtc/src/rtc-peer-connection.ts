/**
 * `RTCPeerConnection` (W3C WebRTC §4.4) for data: the names, states and events of the
 * browsers' class over our own ICE, DTLS and SCTP. Media is turned down.
 */

import { type Clock, isClawError, systemClock } from '@claw/base';
import type { RtcPriority } from '@claw/contracts';
import type { IceServerError, IceState, LocalCandidate } from '@claw/ice';
import type { DataChannel } from '@claw/sctp';
import {
  type CheckedConfiguration,
  type ConfigurationDictionary,
  checkChange,
  checkConfiguration,
  type RTCConfiguration,
} from './configuration.ts';
import { EventHandlers } from './event-handlers.ts';
import type { SessionDescription } from './negotiation.ts';
import { type ConnectionState, type GatheringState, PeerSession, type SignalingState } from './peer-session.ts';
import { priorityWeights } from './priority-weights.ts';
import { generateCertificate, type RTCCertificate } from './rtc-certificate.ts';
import { RTCDataChannel } from './rtc-data-channel.ts';
import { RTCDataChannelEvent, RTCPeerConnectionIceErrorEvent, RTCPeerConnectionIceEvent } from './rtc-events.ts';
import { RTCIceCandidate, type RTCIceCandidateInit } from './rtc-ice-candidate.ts';
import { RTCSessionDescription } from './rtc-session-description.ts';
import { RTCSctpTransport } from './rtc-transports.ts';
import { collectStats, type StatsReport } from './stats.ts';

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

const MAX_UINT16 = 65_535;

type Handler<E extends Event = Event> = ((event: E) => unknown) | null;

export class RTCPeerConnection extends EventTarget {
  readonly #handlers = new EventHandlers(this);
  readonly #session: PeerSession;
  readonly #clock: Clock;
  #configuration: CheckedConfiguration;
  #sctp: RTCSctpTransport | undefined;
  readonly #channels = new Set<RTCDataChannel>();
  #channelsOpened = 0;
  #channelsClosed = 0;
  #told: Record<string, string> = {};
  #hasMadeChannel = false;
  /** `[[NegotiationNeeded]]` of the W3C. */
  #saidNegotiationNeeded = false;

  /** @throws DOMException `NotSupportedError` for anything but ECDSA P-256 and Ed25519 */
  static async generateCertificate(algorithm: string | { readonly name: string }): Promise<RTCCertificate> {
    return generateCertificate(algorithm);
  }

  /** @throws TypeError; DOMException `SyntaxError`, `InvalidAccessError`, `NotSupportedError` */
  constructor(configuration: RTCConfiguration = {}) {
    super();
    this.#clock = configuration.clock ?? systemClock;
    this.#configuration = checkConfiguration(configuration, this.#clock.now());
    const { iceServers, iceTransportPolicy, certificates } = this.#configuration;
    this.#session = new PeerSession(
      { ...configuration, iceServers, iceTransportPolicy, identity: certificates[0]?.identity },
      {
        onCandidate: (candidate) => this.#tellCandidate(candidate),
        onServerError: (error) => this.#tellServerError(error),
        onChannel: (native) => {
          this.dispatchEvent(new RTCDataChannelEvent('datachannel', { channel: this.#addChannel(native, true) }));
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
  get localDescription(): RTCSessionDescription | null {
    return this.#withCandidates(this.#session.localDescription);
  }
  get currentLocalDescription(): RTCSessionDescription | null {
    return this.#withCandidates(this.#session.agreement?.local);
  }
  get pendingLocalDescription(): RTCSessionDescription | null {
    return this.#withCandidates(this.#session.pendingLocal);
  }
  get remoteDescription(): RTCSessionDescription | null {
    return toDescription(this.#session.remoteDescription);
  }
  get currentRemoteDescription(): RTCSessionDescription | null {
    return toDescription(this.#session.agreement?.remote);
  }
  get pendingRemoteDescription(): RTCSessionDescription | null {
    return toDescription(this.#session.pendingRemote);
  }
  /** Null before the peer has said it. */
  get canTrickleIceCandidates(): boolean | null {
    return this.#session.remoteFacts?.canTrickle ?? null;
  }
  /** Null before both descriptions are known. */
  get sctp(): RTCSctpTransport | null {
    if (this.#session.agreement) this.#sctp ??= new RTCSctpTransport(this.#session);
    return this.#sctp ?? null;
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
  get onicecandidateerror(): Handler<RTCPeerConnectionIceErrorEvent> {
    return this.#handlers.get('icecandidateerror');
  }
  set onicecandidateerror(handler: Handler<RTCPeerConnectionIceErrorEvent>) {
    this.#handlers.set('icecandidateerror', handler);
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

  /** The W3C's members, with its defaults. */
  getConfiguration(): ConfigurationDictionary {
    return { ...this.#configuration };
  }

  /**
   * Servers and policy hold for the next gathering, such as that of a restart; what is left out goes back to its
   * default. @throws TypeError; DOMException `InvalidStateError`, `InvalidModificationError`, and as the constructor
   */
  setConfiguration(configuration: ConfigurationDictionary = {}): void {
    if (this.signalingState === 'closed') throw new DOMException('the connection is closed', 'InvalidStateError');
    const { certificates } = this.#configuration;
    const checked = checkConfiguration({ ...configuration, certificates }, this.#clock.now());
    checkChange(this.#configuration, configuration, this.localDescription !== null);
    this.#configuration = checked;
    const { iceServers, iceTransportPolicy } = checked;
    this.#session.configure({ servers: iceServers, transportPolicy: iceTransportPolicy });
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
    const { mid, position, others } = remoteFacts;
    const mids = others.map((other) => other.mid);
    mids.splice(position, 0, mid);
    const isKnown = sdpMid === null ? (sdpMLineIndex ?? 0) < mids.length : mids.includes(sdpMid);
    if (!isKnown) throw new DOMException('the description has no such section', 'OperationError');
    // Sections that were turned down need none.
    if (sdpMid === null ? (sdpMLineIndex ?? position) !== position : sdpMid !== mid) return;
    // An offer that is not answered has others than what was agreed on.
    const known = [remoteFacts, this.#session.agreement?.facts].map((facts) => facts?.ice.usernameFragment);
    if (usernameFragment !== null && !known.includes(usernameFragment)) {
      throw new DOMException('the candidate is of another description', 'OperationError');
    }
    // One from before a restart, by what libwebrtc writes into its lines.
    const told = / ufrag (\S+)/.exec(line)?.[1];
    if (told === undefined || known.includes(told)) this.#session.addCandidate(line);
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

  #withCandidates(description: SessionDescription | undefined): RTCSessionDescription | null {
    return toDescription(description && this.#session.withCandidates(description));
  }

  #tellCandidate(found: LocalCandidate | null): void {
    if (!found) return void this.dispatchEvent(new RTCPeerConnectionIceEvent('icecandidate'));
    const candidate = new RTCIceCandidate(this.#session.candidateInit(found), found);
    this.dispatchEvent(new RTCPeerConnectionIceEvent('icecandidate', { candidate, url: candidate.url }));
  }

  #tellServerError({ url, code, reason, local }: IceServerError): void {
    // With relays only our address is nobody's business.
    const shown = this.#configuration.iceTransportPolicy === 'all' ? local : undefined;
    const init = { address: shown?.address ?? null, port: shown?.port ?? null, url };
    this.dispatchEvent(
      new RTCPeerConnectionIceErrorEvent('icecandidateerror', { ...init, errorCode: code, errorText: reason }),
    );
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
    if (this.signalingState !== 'closed') this.#sctp?.update();
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

function toDescription(description: SessionDescription | undefined): RTCSessionDescription | null {
  return description ? new RTCSessionDescription(description) : null;
}
