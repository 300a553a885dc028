/** How large packets are on paths that only look as if they were within one machine. */

import type { IceSocket, IceSockets, SocketEvents } from '@claw/ice';
import { loadAccess, twoPeers } from '@claw/scenarios';
import { type Host, openSimnet, SIMNET_TURN } from '@claw/simnet';
import { SimSockets } from '@claw/simnet/ice';
import { seededRandom } from '@claw/testkit';
import { expect, it } from 'vitest';
import { RTCPeerConnection } from '../src/index.ts';

/** Sees the size of what leaves by UDP. */
class MeasuredSockets extends SimSockets implements IceSockets {
  largestBytes = 0;

  override bindUdp(address: string, events: SocketEvents): IceSocket {
    const socket = super.bindUdp(address, events);
    return {
      close: () => socket.close(),
      send: (bytes, remote, prefix) => {
        this.largestBytes = Math.max(this.largestBytes, bytes.length + (prefix?.length ?? 0));
        socket.send(bytes, remote, prefix);
      },
    };
  }
}

it('two relays on one server are no machine of ours: packets stay as small as Ethernet', async () => {
  const access = loadAccess('eim-apdf');
  const links = { up: { delayMs: 10 }, down: { delayMs: 10 } };
  using net = openSimnet(twoPeers({ a: access, b: access, links: { a: links, b: links } }), { seed: 1 });
  const open = (host: Host, seed: number) => {
    const sockets = new MeasuredSockets(host);
    const { username, credential } = SIMNET_TURN;
    const connection = new RTCPeerConnection({
      iceServers: [{ urls: 'turn:20.0.0.10', username, credential }],
      iceTransportPolicy: 'relay',
      ...{ sockets, clock: host.clock, random: seededRandom(seed) },
    });
    const channel = connection.createDataChannel('c', { negotiated: true, id: 0 });
    return { sockets, connection, channel };
  };
  const [a, b] = [open(net.host('a'), 1), open(net.host('b'), 2)];
  a.connection.onicecandidate = ({ candidate }) => void b.connection.addIceCandidate(candidate);
  b.connection.onicecandidate = ({ candidate }) => void a.connection.addIceCandidate(candidate);
  let received = 0;
  b.channel.onmessage = ({ data }: MessageEvent) => (received += (data as ArrayBuffer).byteLength);
  a.channel.onopen = () => {
    for (let sent = 0; sent < 20; sent += 1) a.channel.send(Buffer.alloc(50_000));
  };
  await a.connection.setLocalDescription();
  await b.connection.setRemoteDescription(a.connection.localDescription ?? { type: 'none' });
  await b.connection.setLocalDescription();
  await a.connection.setRemoteDescription(b.connection.localDescription ?? { type: 'none' });
  await net.run(20_000);
  expect(received).toBe(1_000_000);
  expect(a.sockets.largestBytes).toBeGreaterThan(1400);
  expect(a.sockets.largestBytes).toBeLessThanOrEqual(1472);
  a.connection.close();
  b.connection.close();
});
