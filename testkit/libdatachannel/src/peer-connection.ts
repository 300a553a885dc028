/**
 * A W3C peer connection over libdatachannel, for one offer and one answer (the
 * library restarts no ICE). The library throws C++ exceptions that no one can
 * catch when it is called out of turn, so the turn is kept here, and it never
 * sees a byte of the peer's that was not read and written anew.
 */

import { ClawError } from '@claw/base';
import type {
  RtcCandidateStats,
  RtcConfiguration,
  RtcDataChannel,
  RtcDataChannelInit,
  RtcIceCandidate,
  RtcPathStats,
  RtcPeerConnection,
  RtcPeerConnectionState,
  RtcSessionDescription,
} from '@claw/contracts';
import {
  type PeerConnection as Native,
  PeerConnection as NativePeerConnection,
  type RtcConfig,
} from 'node-datachannel';
import { sanitizeCandidate } from './candidate.ts';
import { NodeDataChannel, type RunHandler } from './data-channel.ts';
import { callNative, closedError, type EngineErrorCode, invalidDescription } from './errors.ts';
import { toNativeIceServers } from './ice-servers.ts';
import { hold, release } from './native-lifetime.ts';
import { MAX_CANDIDATES, sanitizeDescription } from './session-description.ts';

/** Settings of the library that the W3C configuration has no word for. */
export type NativeSettings = Pick<
  RtcConfig,
  'mtu' | 'maxMessageSize' | 'bindAddress' | 'portRangeBegin' | 'portRangeEnd'
>;

const STATES: readonly string[] = ['new', 'connecting', 'connected', 'disconnected', 'failed', 'closed'];

export class NodePeerConnection implements RtcPeerConnection {
  onconnectionstatechange: (() => void) | null = null;
  onicecandidate: ((candidate: RtcIceCandidate | null) => void) | null = null;

  readonly #native: Native;
  readonly #onHandlerError: (error: unknown) => void;
  readonly #channels: NodeDataChannel[] = [];
  /** Remote candidates known, so that each is added once; those of before the description wait here. */
  readonly #remoteCandidates = new Set<string>();
  readonly #localCandidates = new Set<string>();
  #state: RtcPeerConnectionState = 'new';
  #localType: RtcSessionDescription['type'] | undefined;
  #lastLocal: RtcSessionDescription | null = null;
  #remote: RtcSessionDescription | null = null;
  #remoteMid = '0';
  #closedByOwner = false;

  constructor(configuration: RtcConfiguration, settings: NativeSettings, onHandlerError: (error: unknown) => void) {
    const config: RtcConfig = {
      ...settings,
      iceServers: toNativeIceServers(configuration.iceServers ?? []),
      iceTransportPolicy: configuration.iceTransportPolicy ?? 'all',
      disableAutoNegotiation: true,
    };
    this.#onHandlerError = onHandlerError;
    const native = callNative('create a peer connection', () => new NativePeerConnection('', config));
    this.#native = native;
    hold(native);
    native.onStateChange((state) => this.#guard(() => this.#changeState(state)));
    native.onLocalCandidate((candidate, mid) => this.#run(() => this.#tellCandidate(candidate, mid)));
    native.onGatheringStateChange((state) => this.#run(() => this.#gathered(state)));
    // A channel of the peer's making is none of ours: all of ours are negotiated.
    native.onDataChannel((channel) => this.#guard(() => channel.close()));
  }

  get connectionState(): RtcPeerConnectionState {
    return this.#state;
  }

  get localDescription(): RtcSessionDescription | null {
    if (this.#localType !== undefined && this.#state !== 'closed') this.#lastLocal = this.#readLocal(this.#localType);
    return this.#lastLocal;
  }

  get remoteDescription(): RtcSessionDescription | null {
    return this.#remote;
  }

  createDataChannel(label: string, init: RtcDataChannelInit): RtcDataChannel {
    this.#mustBeOpen('create a channel');
    if (!Number.isInteger(init.id) || init.id < 0 || init.id > 65_534) {
      throw new RangeError(`a channel id lies between 0 and 65534, got ${init.id}`);
    }
    if (this.#channels.some((channel) => channel.id === init.id)) throw new RangeError(`channel ${init.id} exists`);
    const { id, ordered, maxRetransmits, maxPacketLifeTime } = init;
    const native = callNative('create a channel', () =>
      this.#native.createDataChannel(label, {
        negotiated: true,
        id,
        unordered: ordered === false,
        ...(maxRetransmits === undefined ? {} : { maxRetransmits }),
        ...(maxPacketLifeTime === undefined ? {} : { maxPacketLifeTime }),
      }),
    );
    const channel = new NodeDataChannel(native, label, init, this.#run, () => this.#connected());
    this.#channels.push(channel);
    return channel;
  }

  setLocalDescription(): Promise<RtcSessionDescription> {
    return attempt(() => {
      this.#mustBeOpen('set the local description');
      if (this.#localType !== undefined) throw outOfTurn('the local description is set already');
      if (this.#channels.length === 0) throw outOfTurn('a connection without channels has nothing to describe');
      const type = this.#remote ? 'answer' : 'offer';
      callNative(`make the ${type}`, () => this.#native.setLocalDescription(type));
      this.#localType = type;
      const description = this.#readLocal(type);
      this.#lastLocal = description;
      return description;
    });
  }

  setRemoteDescription(description: RtcSessionDescription): Promise<void> {
    return attempt(() => {
      this.#mustBeOpen('set the remote description');
      if (this.#remote) throw outOfTurn('the remote description is set already');
      const expected = this.#localType === 'offer' ? 'answer' : 'offer';
      if (description.type !== expected) throw invalidDescription(`an ${expected} is due, not an ${description.type}`);
      const { sdp, mid } = sanitizeDescription(description);
      callNative('apply the remote description', () => this.#native.setRemoteDescription(sdp, expected));
      this.#remote = { type: expected, sdp: description.sdp };
      this.#remoteMid = mid;
      for (const candidate of this.#remoteCandidates) this.#addToNative(candidate);
    });
  }

  addIceCandidate(candidate: RtcIceCandidate): Promise<void> {
    return attempt(() => {
      this.#mustBeOpen('add a candidate');
      // The empty candidate says that there are no more (W3C §4.4.2).
      const line = candidate.candidate === '' ? undefined : sanitizeCandidate(candidate.candidate);
      if (line === undefined || this.#remoteCandidates.has(line)) return;
      if (this.#remoteCandidates.size >= MAX_CANDIDATES)
        throw invalidDescription(`it has over ${MAX_CANDIDATES} candidates`);
      this.#remoteCandidates.add(line);
      if (this.#remote) this.#addToNative(line);
    });
  }

  getPathStats(): Promise<RtcPathStats | undefined> {
    return attempt(() => {
      if (this.#state === 'closed') return undefined;
      return callNative('read the statistics', () => {
        const pair = this.#native.getSelectedCandidatePair();
        if (!pair) return undefined;
        const roundTripMs = this.#native.rtt();
        return {
          local: toStats(pair.local),
          remote: toStats(pair.remote),
          bytesSent: this.#native.bytesSent(),
          bytesReceived: this.#native.bytesReceived(),
          ...(roundTripMs >= 0 ? { roundTripMs } : {}),
        };
      });
    });
  }

  close(): void {
    if (this.#closedByOwner) return;
    this.#closedByOwner = true;
    this.#end();
  }

  /** Frees the native objects; they live on until the library says that it is done with them. */
  #end(): void {
    this.#guard(() => void this.localDescription);
    this.#state = 'closed';
    for (const channel of this.#channels) this.#guard(() => channel.dispose());
    this.#guard(() => this.#native.close());
  }

  #changeState(text: string): void {
    if (text === 'closed') release(this.#native);
    if (this.#state === 'closed' || this.#state === text || !STATES.includes(text)) return;
    // An open channel told it first.
    if (text === 'connecting' && this.#state !== 'new') return;
    if (text === 'closed') {
      for (const channel of this.#channels) channel.connectionEnded();
      this.#end();
    }
    this.#state = text as RtcPeerConnectionState;
    this.#run(() => this.onconnectionstatechange?.());
  }

  #connected(): void {
    if (this.#state === 'new' || this.#state === 'connecting') this.#changeState('connected');
  }

  #tellCandidate(line: string, mid: string): void {
    if (this.#state === 'closed' || this.#localCandidates.has(line)) return;
    this.#localCandidates.add(line);
    this.onicecandidate?.({ candidate: line.replace(/^a=/, ''), sdpMid: mid });
  }

  /** The end of gathering may overtake candidates in the library's queues; the description has them all. */
  #gathered(state: string): void {
    if (state !== 'complete' || this.#state === 'closed') return;
    for (const line of this.localDescription?.sdp.split('\r\n') ?? []) {
      if (line.startsWith('a=candidate:')) this.#run(() => this.#tellCandidate(line, '0'));
    }
    this.#run(() => this.onicecandidate?.(null));
  }

  #addToNative(line: string): void {
    callNative('add a candidate', () => this.#native.addRemoteCandidate(line, this.#remoteMid));
  }

  #readLocal(type: RtcSessionDescription['type']): RtcSessionDescription {
    const found = callNative('read the local description', () => this.#native.localDescription());
    if (!found) throw outOfTurn('the library made no description');
    return { type, sdp: found.sdp };
  }

  #mustBeOpen(what: string): void {
    if (this.#state === 'closed') throw closedError(what);
  }

  /** For the owner's handlers: none runs after {@link close}. */
  readonly #run: RunHandler = (handler) => {
    if (!this.#closedByOwner) this.#guard(handler);
  };

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#onHandlerError(error);
    }
  }
}

/** A promise of what `work` returns or throws. */
function attempt<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => resolve(work()));
}

function outOfTurn(detail: string): ClawError<EngineErrorCode> {
  return new ClawError('ENGINE_FAILED', detail);
}

function toStats(end: { address: string; port: number; type: string; transportType: string }): RtcCandidateStats {
  const candidateType = (['srflx', 'prflx', 'relay'] as const).find((type) => type === end.type) ?? 'host';
  const protocol = end.transportType === 'UDP' ? 'udp' : 'tcp';
  return { candidateType, protocol, address: end.address, port: end.port };
}
