/** An engine whose classes do as the W3C says; goes to Chromium as text, so it imports types only. */

import type { Connection, Engine } from '../engine.ts';

export function createW3cEngine(RTCPeerConnection: new (config: never) => unknown): Engine {
  return {
    takesEndOfCandidates: true,
    create: (config) => new RTCPeerConnection(config as never) as Connection,
    async describe(connection, type) {
      const made = await (type === 'offer' ? connection.createOffer() : connection.createAnswer());
      await connection.setLocalDescription(made);
      return { type, sdp: connection.localDescription?.sdp ?? '' };
    },
  };
}
