/** Our own stack, in the process of the test. */

import { RTCPeerConnection } from '../../../src/index.ts';
import { type Agent, createAgent } from '../agent.ts';
import type { Connection, Engine } from '../engine.ts';
import { type InteropPeer, remotePeer } from '../peer.ts';
import { createW3cEngine } from './w3c-engine.ts';

export interface OurPeer extends InteropPeer {
  /** Known once it was started. */
  readonly connection: RTCPeerConnection;
}

export function ourPeer(): OurPeer {
  let connection: RTCPeerConnection | undefined;
  const engine: Engine = {
    ...createW3cEngine(RTCPeerConnection),
    create(config) {
      connection = new RTCPeerConnection(config);
      return connection as unknown as Connection;
    },
  };
  const agent = createAgent(engine, (signal) => peer.onSignal(signal));
  const call = async (method: string, args: readonly unknown[]) =>
    (agent[method as keyof Agent] as (...args: readonly unknown[]) => unknown)(...args);
  const peer: InteropPeer = remotePeer('ours', call, async () => connection?.close());
  return Object.defineProperty(peer, 'connection', { get: () => connection }) as OurPeer;
}
