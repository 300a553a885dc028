/** `RTCSessionDescription` (W3C WebRTC §4.6.2). */

import type { SessionDescription } from './negotiation.ts';

export class RTCSessionDescription implements SessionDescription {
  readonly type: SessionDescription['type'];
  readonly sdp: string;

  constructor({ type, sdp = '' }: { readonly type: SessionDescription['type']; readonly sdp?: string }) {
    this.type = type;
    this.sdp = sdp;
  }

  toJSON(): SessionDescription {
    const { type, sdp } = this;
    return { type, sdp };
  }
}
