/** What our own WebRTC stack is told of the machine and its ways out. */

import { readFileSync } from 'node:fs';
import type { WebrtcEngineOptions } from '@claw/webrtc';
import type { PeerContext } from '../contract.ts';
import { loopbackOf } from './ice.ts';

export function ownEngineOptions(context: PeerContext): WebrtcEngineOptions {
  const { turn, httpProxy } = context.services;
  const proxy = context.proxyOnly ? httpProxy : undefined;
  const loopback = loopbackOf(context);
  return {
    ...(turn ? { ca: readFileSync(turn.caFile, 'utf8') } : {}),
    ...(proxy ? { proxy } : {}),
    ...(loopback === undefined ? {} : { addresses: [loopback] }),
  };
}
