/**
 * The part of the W3C WebRTC API that the link stands on. Names and behaviour
 * are the W3C's (https://www.w3.org/TR/webrtc/) so that a browser's own classes
 * satisfy it; what is missing here, the link does not use. Events are the `on…`
 * properties only: one owner, one listener.
 *
 * Differences an implementation may rely on: all channels are negotiated
 * (`negotiated: true` with an id) and created before the first description,
 * `binaryType` is always `arraybuffer`-like bytes, and only binary is sent.
 */

export interface RtcIceServer {
  readonly urls: string | readonly string[];
  readonly username?: string | undefined;
  readonly credential?: string | undefined;
}

export interface RtcConfiguration {
  readonly iceServers?: readonly RtcIceServer[];
  readonly iceTransportPolicy?: 'all' | 'relay';
}

export interface RtcSessionDescription {
  readonly type: 'offer' | 'answer';
  readonly sdp: string;
}

export interface RtcIceCandidate {
  readonly candidate: string;
  readonly sdpMid: string | null;
}

export type RtcPriority = 'very-low' | 'low' | 'medium' | 'high';

export interface RtcDataChannelInit {
  readonly ordered?: boolean;
  readonly maxRetransmits?: number;
  readonly maxPacketLifeTime?: number;
  /** Which of the channels goes first when the path is full (W3C webrtc-priority). Default `low`. */
  readonly priority?: RtcPriority;
  readonly negotiated: true;
  /** SCTP stream id, 0 to 65,534, the same on both sides. */
  readonly id: number;
}

export type RtcDataChannelState = 'connecting' | 'open' | 'closing' | 'closed';

export interface RtcDataChannel {
  readonly id: number;
  readonly label: string;
  readonly readyState: RtcDataChannelState;
  /** Bytes handed to {@link send} that have not left yet. */
  readonly bufferedAmount: number;
  /** `onbufferedamountlow` fires when bufferedAmount falls to this or below. */
  bufferedAmountLowThreshold: number;
  onopen: (() => void) | null;
  onmessage: ((data: Uint8Array) => void) | null;
  onbufferedamountlow: (() => void) | null;
  onclose: (() => void) | null;
  onerror: ((error: Error) => void) | null;
  /** Queues one message. The bytes may be reused once it returns. Throws unless `open`. */
  send(data: Uint8Array): void;
  close(): void;
}

export type RtcPeerConnectionState = 'new' | 'connecting' | 'connected' | 'disconnected' | 'failed' | 'closed';

/** One end of the path in use, as a `getStats` report gives it. */
export interface RtcCandidateStats {
  readonly candidateType: 'host' | 'srflx' | 'prflx' | 'relay';
  readonly protocol: 'udp' | 'tcp';
  readonly address: string;
  readonly port: number;
}

/** What the link shows of `getStats()`: the nominated pair and its counters. */
export interface RtcPathStats {
  readonly local: RtcCandidateStats;
  readonly remote: RtcCandidateStats;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** From the transport's own measurement, in milliseconds; absent until there is one. */
  readonly roundTripMs?: number;
}

export interface RtcPeerConnection {
  readonly connectionState: RtcPeerConnectionState;
  readonly localDescription: RtcSessionDescription | null;
  readonly remoteDescription: RtcSessionDescription | null;
  onconnectionstatechange: (() => void) | null;
  /** `null` says that gathering is complete. */
  onicecandidate: ((candidate: RtcIceCandidate | null) => void) | null;
  createDataChannel(label: string, init: RtcDataChannelInit): RtcDataChannel;
  /** Makes the offer or the answer, applies it, and resolves with it: `setLocalDescription()` without arguments. */
  setLocalDescription(): Promise<RtcSessionDescription>;
  setRemoteDescription(description: RtcSessionDescription): Promise<void>;
  addIceCandidate(candidate: RtcIceCandidate): Promise<void>;
  /** The path in use, or `undefined` before there is one. */
  getPathStats(): Promise<RtcPathStats | undefined>;
  /** Idempotent. Every channel ends `closed`; no event fires after it returns. */
  close(): void;
}

export interface RtcEngine {
  /** For people: `node-datachannel 0.33.4`. */
  readonly name: string;
  createPeerConnection(configuration: RtcConfiguration): RtcPeerConnection;
}
