/** The engines that a child process can stand on: where their packages are and how they differ from the W3C's API. */

import { createRequire } from 'node:module';
import type { Connection, Engine } from '../engine.ts';
import { createW3cEngine } from './w3c-engine.ts';

export type ChildEngine = 'claw' | 'node-datachannel' | 'wrtc' | 'werift';

type ConnectionClass = new (config: never) => unknown;

const CONTESTANTS = new URL('../../../../../testkit/lab/contestants/package.json', import.meta.url);
const INSTALL_CONTESTANTS = 'npm ci --ignore-scripts --prefix testkit/lab/contestants';

export function manifestOf(engine: ChildEngine): { packageName: string; manifest: URL; installedBy: string } {
  switch (engine) {
    case 'claw':
      return {
        packageName: '@claw/webrtc',
        manifest: new URL('../../../package.json', import.meta.url),
        installedBy: 'npm ci',
      };
    case 'node-datachannel':
      return {
        packageName: 'node-datachannel',
        manifest: new URL('../../../../../package.json', import.meta.url),
        installedBy: 'npm ci',
      };
    case 'wrtc':
      return { packageName: '@roamhq/wrtc', manifest: CONTESTANTS, installedBy: INSTALL_CONTESTANTS };
    case 'werift':
      return { packageName: 'werift', manifest: CONTESTANTS, installedBy: INSTALL_CONTESTANTS };
  }
}

export async function loadEngine(engine: ChildEngine): Promise<Engine> {
  const { packageName, manifest } = manifestOf(engine);
  if (engine === 'claw') return createW3cEngine((await import('../../../src/index.ts')).RTCPeerConnection);
  const load = (path: string) => createRequire(manifest)(path) as { RTCPeerConnection: ConnectionClass };
  if (engine === 'node-datachannel') return createDataChannelEngine(load(`${packageName}/polyfill`).RTCPeerConnection);
  return createW3cEngine(load(packageName).RTCPeerConnection);
}

/** Its classes make the one offer when the first channel is made and the answer when the offer comes. */
function createDataChannelEngine(RTCPeerConnection: ConnectionClass): Engine {
  return {
    takesEndOfCandidates: false,
    create: (config) => new RTCPeerConnection(config as never) as Connection,
    async describe(connection, type) {
      const { sdp } = await (type === 'offer' ? connection.createOffer() : connection.createAnswer());
      return { type, sdp };
    },
  };
}
