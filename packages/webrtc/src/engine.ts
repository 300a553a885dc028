/** Our stack as the link's engine: the contract of `RtcEngine`, without the W3C's event objects in the way of bytes. */

import { errorText, systemClock } from '@claw/base';
import type {
  RtcConfiguration,
  RtcDataChannel,
  RtcDataChannelInit,
  RtcDataChannelState,
  RtcEngine,
  RtcIceCandidate,
  RtcPathStats,
  RtcPeerConnection,
  RtcPeerConnectionState,
  RtcSessionDescription,
} from '@claw/contracts';
import { createCertificate, createShare, type Identity, type KeyShare } from '@claw/dtls';
import { type CandidateFacts, formatCandidate } from '@claw/ice';
import type { DataChannel } from '@claw/sctp';
import { engineError } from './errors.ts';
import { PeerSession, type SessionOptions } from './peer-session.ts';
import { priorityWeights } from './priority-weights.ts';

/** When keys that were used are replaced: after the set-up that took them. */
const REFILL_MS = 10;

export interface WebrtcEngineOptions extends Omit<SessionOptions, 'iceServers' | 'iceTransportPolicy' | 'keyShare'> {
  /** Told of what the owner's event handlers throw. Default: a process warning. */
  readonly onHandlerError?: (error: unknown) => void;
}

interface Keys {
  readonly identity: Identity;
  readonly keyShare: KeyShare;
}

export function createWebrtcEngine(options: WebrtcEngineOptions = {}): RtcEngine {
  const { onHandlerError = warn, ...session } = options;
  const run = (handler: () => void) => {
    try {
      handler();
    } catch (error) {
      onHandlerError(error);
    }
  };
  const { clock = systemClock } = session;
  // A certificate and a key share of its own for each connection, made while nobody waits for them.
  const makeKeys = (): Keys => ({
    identity: createCertificate(session.random ? { random: session.random } : {}),
    keyShare: createShare('X25519'),
  });
  let spare: Keys | undefined;
  const refill = () => {
    spare ??= makeKeys();
  };
  const takeKeys = () => {
    const keys = spare ?? makeKeys();
    spare = undefined;
    clock.setTimer(REFILL_MS, refill);
    return keys;
  };
  return {
    name: 'claw webrtc',
    createPeerConnection: (configuration) => new EngineConnection({ ...takeKeys(), ...session, ...configuration }, run),
  };
}

type RunHandler = (handler: () => void) => void;

class EngineConnection implements RtcPeerConnection {
  onconnectionstatechange: (() => void) | null = null;
  onicecandidate: ((candidate: RtcIceCandidate | null) => void) | null = null;
  readonly #session: PeerSession;
  readonly #run: RunHandler;
  readonly #channels: EngineChannel[] = [];
  #told: RtcPeerConnectionState = 'new';

  constructor(options: SessionOptions & RtcConfiguration, run: RunHandler) {
    this.#run = run;
    this.#session = new PeerSession(options, {
      onCandidate: (found) => {
        const candidate = found && { candidate: formatCandidate(found), sdpMid: this.#session.mid };
        run(() => this.onicecandidate?.(candidate));
      },
      onServerError: () => {},
      onChannel: (channel) => channel.close(this.#session.transport.nowMs), // all of ours are negotiated
      onStates: () => this.#tell(),
      onError: () => {},
    });
  }

  get connectionState(): RtcPeerConnectionState {
    return this.#session.isEndedByPeer ? 'closed' : this.#session.connectionState;
  }

  get localDescription(): RtcSessionDescription | null {
    return this.#session.localDescription ?? null;
  }

  get remoteDescription(): RtcSessionDescription | null {
    return this.#session.remoteDescription ?? null;
  }

  createDataChannel(label: string, init: RtcDataChannelInit): RtcDataChannel {
    if (this.#channels.some(({ id }) => id === init.id)) throw new RangeError(`channel id ${init.id} is taken`);
    const native = this.#session.openChannel({
      label,
      id: init.id,
      isNegotiated: true,
      isOrdered: init.ordered ?? true,
      priority: priorityWeights[init.priority ?? 'low'],
      ...(init.maxRetransmits === undefined ? {} : { maxRetransmits: init.maxRetransmits }),
      ...(init.maxPacketLifeTime === undefined ? {} : { maxPacketLifeTimeMs: init.maxPacketLifeTime }),
    });
    const channel = new EngineChannel(native, label, init.id, this.#session, this.#run);
    this.#channels.push(channel);
    return channel;
  }

  async setLocalDescription(): Promise<RtcSessionDescription> {
    const type = this.#session.signalingState === 'have-remote-offer' ? 'answer' : 'offer';
    const description = this.#session.describe(type);
    this.#session.setLocal(description);
    return description;
  }

  async setRemoteDescription(description: RtcSessionDescription): Promise<void> {
    const { signalingState } = this.#session;
    const expected = signalingState === 'have-local-offer' ? 'answer' : 'offer';
    if (signalingState !== 'closed' && description.type !== expected) {
      throw engineError('ENGINE_DESCRIPTION_INVALID', `an ${description.type} came where an ${expected} is due`);
    }
    this.#session.setRemote(description);
  }

  async addIceCandidate({ candidate }: RtcIceCandidate): Promise<void> {
    this.#session.addCandidate(candidate);
  }

  async getPathStats(): Promise<RtcPathStats | undefined> {
    const pair = this.#session.selectedPair();
    if (!pair) return undefined;
    const roundTripMs = this.#session.smoothedRttMs ?? pair.roundTripMs;
    return {
      local: candidateStats(pair.local),
      remote: candidateStats(pair.remote),
      bytesSent: pair.bytesSent,
      bytesReceived: pair.bytesReceived,
      ...(roundTripMs === undefined ? {} : { roundTripMs }),
    };
  }

  close(): void {
    for (const channel of this.#channels) channel.dispose();
    this.onconnectionstatechange = null;
    this.onicecandidate = null;
    this.#session.close();
  }

  #tell(): void {
    const { connectionState } = this;
    if (connectionState === this.#told || this.#session.signalingState === 'closed') return;
    this.#told = connectionState;
    const isOver = connectionState === 'failed' || connectionState === 'closed';
    if (isOver) for (const channel of this.#channels) channel.connectionEnded();
    this.#run(() => this.onconnectionstatechange?.());
    if (isOver) this.#session.close();
  }
}

class EngineChannel implements RtcDataChannel {
  readonly id: number;
  readonly label: string;
  onopen: (() => void) | null = null;
  onmessage: ((data: Uint8Array) => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: ((error: Error) => void) | null = null;
  readonly #native: DataChannel;
  readonly #session: PeerSession;
  readonly #run: RunHandler;
  #isEnded = false;

  constructor(native: DataChannel, label: string, id: number, session: PeerSession, run: RunHandler) {
    this.#native = native;
    this.#session = session;
    this.#run = run;
    this.id = id;
    this.label = label;
    native.onOpen = () => run(() => this.onopen?.());
    native.onMessage = (data, isText) => run(() => this.#receive(data, isText));
    native.onBufferedAmountLow = () => run(() => this.onbufferedamountlow?.());
    native.onClose = () => this.#end();
  }

  get readyState(): RtcDataChannelState {
    return this.#isEnded ? 'closed' : this.#native.state;
  }

  get bufferedAmount(): number {
    return this.#native.bufferedAmount;
  }

  get bufferedAmountLowThreshold(): number {
    return this.#native.bufferedAmountLowThreshold;
  }

  set bufferedAmountLowThreshold(bytes: number) {
    this.#native.bufferedAmountLowThreshold = bytes;
  }

  send(data: Uint8Array): void {
    const { readyState } = this;
    if (readyState !== 'open') {
      const code = readyState === 'connecting' ? 'ENGINE_FAILED' : 'ENGINE_CLOSED';
      throw engineError(code, `cannot send on channel ${this.label}: it is ${readyState}`);
    }
    const { transport } = this.#session;
    // The caller may use its bytes again; SCTP keeps them until they are acknowledged.
    try {
      this.#native.send(Buffer.from(data), transport.nowMs);
    } catch (cause) {
      throw engineError('ENGINE_FAILED', `cannot send on channel ${this.label}: ${errorText(cause)}`, { cause });
    }
    transport.touch();
  }

  close(): void {
    const { transport } = this.#session;
    this.#native.close(transport.nowMs);
    transport.touch();
  }

  /** Ends the channel without an event: its connection was closed by the owner. */
  dispose(): void {
    this.#isEnded = true;
    this.onopen = this.onmessage = this.onbufferedamountlow = this.onclose = this.onerror = null;
  }

  connectionEnded(): void {
    this.#end();
  }

  #receive(data: Buffer, isText: boolean): void {
    if (this.#isEnded) return;
    if (isText) this.onerror?.(engineError('ENGINE_FAILED', `a text message came on the binary channel ${this.label}`));
    else this.onmessage?.(data);
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#run(() => this.onclose?.());
  }
}

function candidateStats({ type, protocol, address, port }: CandidateFacts): RtcPathStats['local'] {
  return { candidateType: type, protocol, address, port };
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)));
}
