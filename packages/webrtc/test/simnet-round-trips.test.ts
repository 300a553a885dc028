/**
 * Round trips from the moment at which both sides know both descriptions, all candidates in them, until each has the
 * other's first message, behind what peers are behind of. Where the two are on one network: `setup-round-trips.test.ts`.
 */

import { loadAccess, twoPeers } from '@claw/scenarios';
import { openSimnet, SIMNET_TURN, type Simnet } from '@claw/simnet';
import { SimSockets } from '@claw/simnet/ice';
import { seededRandom } from '@claw/testkit';
import { describe, expect, it } from 'vitest';
import { RTCPeerConnection } from '../src/index.ts';

const STUN = [{ urls: 'stun:20.0.0.10' }];
const TURN = [{ urls: 'turn:20.0.0.10', username: SIMNET_TURN.username, credential: SIMNET_TURN.credential }];

interface Case {
  readonly access: string;
  readonly iceServers: readonly { readonly urls: string; readonly username?: string; readonly credential?: string }[];
  readonly iceTransportPolicy?: 'all' | 'relay';
}

function open(net: Simnet, side: 'a' | 'b', { iceServers, iceTransportPolicy = 'all' }: Case) {
  const host = net.host(side);
  const random = seededRandom(side === 'a' ? 1 : 2);
  const sockets = new SimSockets(host);
  const connection = new RTCPeerConnection({ iceServers, iceTransportPolicy, sockets, clock: host.clock, random });
  const channel = connection.createDataChannel('c', { negotiated: true, id: 0 });
  const times = { open: Number.NaN, message: Number.NaN };
  channel.onopen = () => {
    times.open = net.nowMs;
    channel.send(side);
  };
  channel.onmessage = () => {
    times.message = net.nowMs;
  };
  return { connection, times };
}

/** When the offerer a and the answerer b had the other's first message, in round trips. */
async function measure(roundTripMs: number, options: Case) {
  const access = loadAccess(options.access);
  const line = { delayMs: roundTripMs / 4 };
  const links = { up: line, down: line };
  using net = openSimnet(twoPeers({ a: access, b: access, links: { a: links, b: links } }), { seed: 1 });
  const [a, b] = [open(net, 'a', options), open(net, 'b', options)];
  // Each gathers for itself first; then the answer is made on the spot.
  await a.connection.setLocalDescription();
  await net.run(2000);
  const offer = a.connection.localDescription ?? { type: 'none', sdp: '' };
  const candidates: string[] = [];
  b.connection.onicecandidate = ({ candidate }) => candidate && candidates.push(candidate.candidate);
  const gathered = { type: offer.type, sdp: offer.sdp.replace(/a=(?:candidate|end-of-candidates).*\r\n/g, '') };
  await b.connection.setRemoteDescription(gathered);
  await b.connection.setLocalDescription();
  await net.run(4000);
  const startMs = net.nowMs;
  for (const line of offer.sdp.match(/candidate:.*/g) ?? [])
    await b.connection.addIceCandidate({ candidate: line, sdpMid: '0' });
  await a.connection.setRemoteDescription(b.connection.localDescription ?? { type: 'none' });
  await net.run(startMs + 20 * roundTripMs);
  a.connection.close();
  b.connection.close();
  const inRoundTrips = (atMs: number) => (atMs - startMs) / roundTripMs;
  return { a: inRoundTrips(a.times.message), b: inRoundTrips(b.times.message) };
}

describe.each([50, 100])('at %i ms the first messages arrive', (roundTripMs) => {
  it.each([
    ['on the open Internet', { access: 'none', iceServers: [] }, 1.51, 2.01],
    ['through two home routers', { access: 'eim-apdf', iceServers: STUN }, 1.61, 2.11],
    ['through two routers each', { access: 'double-nat', iceServers: STUN }, 1.61, 2.11],
    ['through a relay of each', { access: 'apdm-random', iceServers: TURN, iceTransportPolicy: 'relay' }, 1.51, 2.01],
  ] as const)('%s after 1.5 and 2 round trips, and the pace of checks', async (_, options, offerer, answerer) => {
    const { a, b } = await measure(roundTripMs, options);
    expect(a).toBeLessThan(offerer);
    expect(b).toBeLessThan(answerer);
  });
});
