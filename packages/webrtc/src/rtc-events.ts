/** Events of a peer connection with something to say (W3C WebRTC §4.8.2, §4.8.3, §6.3). */

import type { RTCDataChannel } from './rtc-data-channel.ts';
import type { RTCIceCandidate } from './rtc-ice-candidate.ts';

export interface RTCPeerConnectionIceEventInit {
  /** Null: there are no more. */
  readonly candidate?: RTCIceCandidate | null;
  readonly url?: string | null;
}

export class RTCPeerConnectionIceEvent extends Event {
  readonly candidate: RTCIceCandidate | null;
  /** The server that it came from. */
  readonly url: string | null;

  constructor(type: string, { candidate = null, url = null }: RTCPeerConnectionIceEventInit = {}) {
    super(type);
    this.candidate = candidate;
    this.url = url;
  }
}

export interface RTCPeerConnectionIceErrorEventInit {
  readonly address?: string | null;
  readonly port?: number | null;
  readonly url?: string;
  readonly errorCode: number;
  readonly errorText?: string;
}

export class RTCPeerConnectionIceErrorEvent extends Event {
  /** Ours, where the error is of one socket. */
  readonly address: string | null;
  readonly port: number | null;
  /** Of the server. */
  readonly url: string;
  /** Of STUN; 701 when no answer came from any address of ours. */
  readonly errorCode: number;
  readonly errorText: string;

  constructor(type: string, init: RTCPeerConnectionIceErrorEventInit) {
    super(type);
    this.address = init.address ?? null;
    this.port = init.port ?? null;
    this.url = init.url ?? '';
    this.errorCode = init.errorCode;
    this.errorText = init.errorText ?? '';
  }
}

export class RTCDataChannelEvent extends Event {
  readonly channel: RTCDataChannel;

  constructor(type: string, init: { readonly channel: RTCDataChannel }) {
    super(type);
    this.channel = init.channel;
  }
}
