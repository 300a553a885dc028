/**
 * `RTCSctpTransport`, `RTCDtlsTransport` and `RTCIceTransport` (W3C WebRTC §5.5, §5.6, §6.1): views of the one
 * transport that a data connection has. They are there once both descriptions are known.
 */

import { errorText, isClawError } from '@claw/base';
import { type Candidate, formatCandidate, type IceState } from '@claw/ice';
import { EventHandlers } from './event-handlers.ts';
import type { GatheringState, PeerSession } from './peer-session.ts';
import { RTCError, RTCErrorEvent } from './rtc-error.ts';
import { type OwnFacts, RTCIceCandidate } from './rtc-ice-candidate.ts';

type Handler<E extends Event = Event> = ((event: E) => unknown) | null;

export interface RTCIceParameters {
  readonly usernameFragment: string;
  readonly password: string;
}

export interface RTCIceCandidatePair {
  readonly local: RTCIceCandidate;
  readonly remote: RTCIceCandidate;
}

/** An event for each value that is another than at the last look. */
class Watch {
  readonly #target: EventTarget;
  readonly #values: Readonly<Record<string, () => unknown>>;
  #told: Record<string, unknown>;

  constructor(target: EventTarget, values: Readonly<Record<string, () => unknown>>) {
    this.#target = target;
    this.#values = values;
    this.#told = this.#look();
  }

  update(): void {
    const former = this.#told;
    this.#told = this.#look();
    for (const [name, value] of Object.entries(this.#told)) {
      if (former[name] !== value) this.#target.dispatchEvent(new Event(name));
    }
  }

  #look(): Record<string, unknown> {
    return Object.fromEntries(Object.entries(this.#values).map(([name, look]) => [name, look()]));
  }
}

export class RTCIceTransport extends EventTarget {
  readonly component = 'rtp';
  readonly #session: PeerSession;
  readonly #handlers = new EventHandlers(this);
  readonly #watch: Watch;

  /** @internal */
  constructor(session: PeerSession) {
    super();
    this.#session = session;
    this.#watch = new Watch(this, {
      statechange: () => this.state,
      gatheringstatechange: () => this.gatheringState,
      selectedcandidatepairchange: () => this.#pairName,
    });
  }

  get role(): 'unknown' | 'controlling' | 'controlled' {
    const agent = this.#agent;
    if (!agent) return 'unknown';
    return agent.isControlling ? 'controlling' : 'controlled';
  }
  get state(): IceState {
    return this.#session.signalingState === 'closed' ? 'closed' : this.#session.iceState;
  }
  get gatheringState(): GatheringState {
    return this.#session.iceGatheringState;
  }

  getLocalCandidates(): RTCIceCandidate[] {
    return (this.#agent?.localCandidates ?? []).map((candidate) => this.#toCandidate(candidate));
  }
  /** Names in `.local` as the addresses that they were resolved to. */
  getRemoteCandidates(): RTCIceCandidate[] {
    return (this.#agent?.remoteCandidates ?? []).map((candidate) => this.#toCandidate(candidate));
  }
  getSelectedCandidatePair(): RTCIceCandidatePair | null {
    const pair = this.#agent?.selectedCandidates;
    return pair ? { local: this.#toCandidate(pair.local), remote: this.#toCandidate(pair.remote) } : null;
  }
  getLocalParameters(): RTCIceParameters | null {
    return toParameters(this.#agent?.localParameters);
  }
  getRemoteParameters(): RTCIceParameters | null {
    return toParameters(this.#agent?.remoteParameters);
  }

  get onstatechange(): Handler {
    return this.#handlers.get('statechange');
  }
  set onstatechange(handler: Handler) {
    this.#handlers.set('statechange', handler);
  }
  get ongatheringstatechange(): Handler {
    return this.#handlers.get('gatheringstatechange');
  }
  set ongatheringstatechange(handler: Handler) {
    this.#handlers.set('gatheringstatechange', handler);
  }
  get onselectedcandidatepairchange(): Handler {
    return this.#handlers.get('selectedcandidatepairchange');
  }
  set onselectedcandidatepairchange(handler: Handler) {
    this.#handlers.set('selectedcandidatepairchange', handler);
  }

  /** @internal */
  update(): void {
    this.#watch.update();
  }

  get #agent() {
    return this.#session.transport.ice?.agent;
  }

  get #pairName(): string {
    const { local, remote } = this.#agent?.selectedCandidates ?? {};
    return local && remote ? `${formatCandidate(local)} ${formatCandidate(remote)}` : '';
  }

  #toCandidate(candidate: Candidate & OwnFacts): RTCIceCandidate {
    return new RTCIceCandidate(this.#session.candidateInit(candidate), candidate);
  }
}

export class RTCDtlsTransport extends EventTarget {
  readonly iceTransport: RTCIceTransport;
  readonly #session: PeerSession;
  readonly #handlers = new EventHandlers(this);
  readonly #watch: Watch;
  #saidFailure = false;

  /** @internal */
  constructor(session: PeerSession) {
    super();
    this.#session = session;
    this.iceTransport = new RTCIceTransport(session);
    this.#watch = new Watch(this, { statechange: () => this.state });
  }

  get state(): 'new' | 'connecting' | 'connected' | 'closed' | 'failed' {
    if (this.#session.signalingState === 'closed') return 'closed';
    const { dtlsState } = this.#session.transport;
    return dtlsState === 'handshaking' ? 'connecting' : dtlsState;
  }

  /** DER; empty before the handshake. */
  getRemoteCertificates(): ArrayBuffer[] {
    const certificate = this.#session.peerCertificate;
    return certificate ? [Uint8Array.from(certificate).buffer] : [];
  }

  get onstatechange(): Handler {
    return this.#handlers.get('statechange');
  }
  set onstatechange(handler: Handler) {
    this.#handlers.set('statechange', handler);
  }
  get onerror(): Handler<RTCErrorEvent> {
    return this.#handlers.get('error');
  }
  set onerror(handler: Handler<RTCErrorEvent>) {
    this.#handlers.set('error', handler);
  }

  /** @internal */
  update(): void {
    this.iceTransport.update();
    const { failure } = this.#session;
    if (this.state === 'failed' && failure && !this.#saidFailure) {
      this.#saidFailure = true;
      const { cause } = failure;
      const errorDetail = isClawError(cause, 'DTLS_FINGERPRINT_MISMATCH') ? 'fingerprint-failure' : 'dtls-failure';
      this.dispatchEvent(
        new RTCErrorEvent('error', { error: new RTCError({ errorDetail, cause }, errorText(failure)) }),
      );
    }
    this.#watch.update();
  }
}

export class RTCSctpTransport extends EventTarget {
  readonly transport: RTCDtlsTransport;
  readonly #session: PeerSession;
  readonly #handlers = new EventHandlers(this);
  readonly #watch: Watch;

  /** @internal */
  constructor(session: PeerSession) {
    super();
    this.#session = session;
    this.transport = new RTCDtlsTransport(session);
    this.#watch = new Watch(this, { statechange: () => this.state });
  }

  get state(): 'connecting' | 'connected' | 'closed' {
    const { sctpState, signalingState } = this.#session;
    if (signalingState === 'closed' || sctpState === 'closed') return 'closed';
    return sctpState === 'connected' || sctpState === 'closing' ? 'connected' : 'connecting';
  }
  /** Bytes: the lesser of what the peer takes and what we send. */
  get maxMessageSize(): number {
    return this.#session.maxMessageBytes;
  }
  /** Null before the association stands. */
  get maxChannels(): number | null {
    return this.state === 'connected' ? this.#session.transport.association.maxStreams : null;
  }

  get onstatechange(): Handler {
    return this.#handlers.get('statechange');
  }
  set onstatechange(handler: Handler) {
    this.#handlers.set('statechange', handler);
  }

  /** @internal Tells what has changed, the lower layers first. */
  update(): void {
    this.transport.update();
    this.#watch.update();
  }
}

function toParameters(parameters: RTCIceParameters | undefined): RTCIceParameters | null {
  if (!parameters) return null;
  const { usernameFragment, password } = parameters;
  return { usernameFragment, password };
}
