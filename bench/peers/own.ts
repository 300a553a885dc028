/** Our own stack as it is: negotiated reliable channels, as the link would hold them. */

import type { RtcSessionDescription } from '@claw/contracts';
import { createWebrtcEngine, rehearse } from '@claw/webrtc';
import { type Endpoint, type EndpointOptions, mapCandidate } from './endpoint.ts';

const HIGH_WATER = 1024 * 1024;
const engine = createWebrtcEngine({ addresses: ['127.0.0.1'] });
/** As the daemon does when it has started. */
await rehearse();

type Signal = { readonly description: RtcSessionDescription } | { readonly candidate: string };

export function openOwn({ role, pipe, mapPort }: EndpointOptions): Endpoint {
  const connection = engine.createPeerConnection({});
  const channel = connection.createDataChannel('bench', { negotiated: true, id: 0 });
  const second = connection.createDataChannel('urgent', { negotiated: true, id: 1, priority: 'high' });
  let drained: (() => void) | undefined;
  const ready = Promise.withResolvers<void>();
  const endpoint: Endpoint = {
    ready: ready.promise,
    onMessage: () => {},
    urgent: { send: (message) => second.send(message), onMessage: () => {} },
    send(message) {
      channel.send(message);
      if (channel.bufferedAmount < HIGH_WATER) return;
      return new Promise<void>((resolve) => {
        drained = resolve;
      });
    },
    async close() {
      connection.close();
    },
  };
  channel.bufferedAmountLowThreshold = HIGH_WATER / 2;
  channel.onbufferedamountlow = () => {
    drained?.();
    drained = undefined;
  };
  channel.onopen = () => ready.resolve();
  channel.onmessage = (message) => endpoint.onMessage(message as Buffer);
  second.onmessage = (message) => endpoint.urgent?.onMessage(message as Buffer);
  connection.onicecandidate = (candidate) => {
    if (candidate) void mapCandidate(candidate.candidate, mapPort).then((mapped) => pipe.send({ candidate: mapped }));
  };
  const describe = async () => pipe.send({ description: await connection.setLocalDescription() });
  pipe.onMessage((signal: Signal) => {
    if ('candidate' in signal) void connection.addIceCandidate({ candidate: signal.candidate, sdpMid: '0' });
    else {
      void connection.setRemoteDescription(signal.description);
      if (role === 'answerer') void describe();
    }
  });
  if (role === 'offerer') void describe();
  return endpoint;
}
