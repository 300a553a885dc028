/** node-datachannel as it is: negotiated reliable channels, the offerer as DTLS client (its faster way). */

import { PeerConnection } from 'node-datachannel';
import { type Endpoint, type EndpointOptions, mapCandidate } from './endpoint.ts';

const HIGH_WATER = 1024 * 1024;

type Signal = { type: 'offer' | 'answer'; sdp: string } | { candidate: string; mid: string };

export function openBare({ role, pipe, mapPort }: EndpointOptions): Endpoint {
  const connection = new PeerConnection(role, {
    iceServers: [],
    bindAddress: '127.0.0.1',
    disableAutoNegotiation: true,
    mtu: 1400,
    maxMessageSize: 262_144,
  });
  const channel = connection.createDataChannel('bench', { negotiated: true, id: 0 });
  const second = connection.createDataChannel('urgent', { negotiated: true, id: 1 }); // it knows no priorities
  const early: { candidate: string; mid: string }[] = [];
  let described = false;
  let drained: (() => void) | undefined;
  const ready = Promise.withResolvers<void>();
  const endpoint: Endpoint = {
    ready: ready.promise,
    onMessage: () => {},
    urgent: { send: (message) => void second.sendMessageBinary(message), onMessage: () => {} },
    send(message) {
      channel.sendMessageBinary(message);
      if (channel.bufferedAmount() < HIGH_WATER) return;
      return new Promise<void>((resolve) => {
        drained = resolve;
      });
    },
    async close() {
      connection.close();
    },
  };
  channel.setBufferedAmountLowThreshold(HIGH_WATER / 2);
  channel.onBufferedAmountLow(() => {
    drained?.();
    drained = undefined;
  });
  channel.onOpen(() => ready.resolve());
  channel.onMessage((message) => endpoint.onMessage(message as Buffer));
  second.onMessage((message) => endpoint.urgent?.onMessage(message as Buffer));
  connection.onLocalDescription((sdp, type) => pipe.send({ type, sdp: sdp.replace(/^a=candidate:.*\r\n/gm, '') }));
  connection.onLocalCandidate((candidate, mid) => {
    void mapCandidate(candidate, mapPort).then((mapped) => pipe.send({ candidate: mapped, mid }));
  });
  pipe.onMessage((signal: Signal) => {
    if ('candidate' in signal) {
      if (!described) return void early.push(signal);
      try {
        connection.addRemoteCandidate(signal.candidate, signal.mid);
      } catch {
        // the connection was closed before its last candidate came
      }
      return;
    }
    connection.setRemoteDescription(signal.sdp.replace('a=setup:actpass', 'a=setup:active'), signal.type);
    described = true;
    for (const { candidate, mid } of early) connection.addRemoteCandidate(candidate, mid);
    if (signal.type === 'offer') connection.setLocalDescription('answer');
  });
  if (role === 'offerer') connection.setLocalDescription('offer');
  return endpoint;
}
