/**
 * How many round trips a set-up takes from the moment at which both sides know
 * both descriptions, in virtual time: until each side has the other's first message.
 */

import type { RtcIceCandidate } from '@claw/contracts';
import { openSimnet, type Simnet } from '@claw/simnet';
import { SimSockets } from '@claw/simnet/ice';
import { seededRandom } from '@claw/testkit';
import { describe, expect, it } from 'vitest';
import { createWebrtcEngine } from '../src/index.ts';

function twoHosts(roundTripMs: number) {
  const host = (last: number) => ({
    kind: 'host' as const,
    interfaces: {
      eth0: {
        network: 'one',
        ipv4: `10.1.0.${last}`,
        up: { delayMs: roundTripMs / 4 },
        down: { delayMs: roundTripMs / 4 },
      },
    },
  });
  return { networks: { one: { ipv4: '10.1.0.0/24' } }, nodes: { a: host(1), b: host(2) } };
}

function open(net: Simnet, name: string, seed: number) {
  const host = net.host(name);
  const engine = createWebrtcEngine({ clock: host.clock, random: seededRandom(seed), sockets: new SimSockets(host) });
  const connection = engine.createPeerConnection({});
  const channel = connection.createDataChannel('one', { negotiated: true, id: 0 });
  const side = { connection, channel, candidates: [] as RtcIceCandidate[], gotMs: Number.NaN };
  connection.onicecandidate = (candidate) => candidate && side.candidates.push(candidate);
  channel.onopen = () => channel.send(Buffer.from(name));
  channel.onmessage = () => {
    side.gotMs = net.nowMs;
  };
  return side;
}

/** `adjust` changes descriptions on their way. */
async function roundTripsOf(roundTripMs: number, adjust = (sdp: string) => sdp) {
  using net = openSimnet(twoHosts(roundTripMs), { seed: 1 });
  const [a, b] = [open(net, 'a', 1), open(net, 'b', 2)];
  const offer = await a.connection.setLocalDescription();
  await net.run(100);
  // Both know everything of each other at the same moment.
  const startedMs = net.nowMs;
  await b.connection.setRemoteDescription({ ...offer, sdp: adjust(offer.sdp) });
  for (const candidate of a.candidates) await b.connection.addIceCandidate(candidate);
  const answer = await b.connection.setLocalDescription();
  await a.connection.setRemoteDescription({ ...answer, sdp: adjust(answer.sdp) });
  await net.run(startedMs + 1);
  for (const candidate of b.candidates) await a.connection.addIceCandidate(candidate);
  await net.run(startedMs + 20 * roundTripMs);
  a.connection.close();
  b.connection.close();
  return { a: (a.gotMs - startedMs) / roundTripMs, b: (b.gotMs - startedMs) / roundTripMs };
}

/** The answer comes to the offerer a round trip later than the first check does. */
async function lateAnswerRoundTripsOf(roundTripMs: number) {
  using net = openSimnet(twoHosts(roundTripMs), { seed: 1 });
  const [a, b] = [open(net, 'a', 1), open(net, 'b', 2)];
  const offer = await a.connection.setLocalDescription();
  await net.run(100);
  await b.connection.setRemoteDescription(offer);
  for (const candidate of a.candidates) await b.connection.addIceCandidate(candidate);
  const answer = await b.connection.setLocalDescription();
  await net.run(100 + roundTripMs);
  const startedMs = net.nowMs;
  await a.connection.setRemoteDescription(answer);
  await net.run(startedMs + 20 * roundTripMs);
  a.connection.close();
  b.connection.close();
  return { a: (a.gotMs - startedMs) / roundTripMs, b: (b.gotMs - startedMs) / roundTripMs };
}

const withoutSped = (sdp: string) => sdp.replace(' sped', '');
const withoutSnap = (sdp: string) => sdp.replace(/a=sctp-init.*\r\n/, '');

describe.each([50, 100])('at %i ms, the first messages arrive', (roundTripMs) => {
  it('after 1.5 and 2 round trips between two of ours', async () => {
    const { a, b } = await roundTripsOf(roundTripMs);
    expect(a).toBeLessThan(1.6);
    expect(b).toBeLessThan(2.1);
  });

  it('after 1 and 1.5 when the first check was there before the answer', async () => {
    const { a, b } = await lateAnswerRoundTripsOf(roundTripMs);
    expect(a).toBeLessThan(1.1);
    expect(b).toBeLessThan(1.6);
  });

  it('one later when the peer knows no DTLS in STUN', async () => {
    const { a, b } = await roundTripsOf(roundTripMs, withoutSped);
    expect(a).toBeLessThan(2.6);
    expect(b).toBeLessThan(3.1);
  });

  it('and up to two later when it knows no SNAP either', async () => {
    const { a, b } = await roundTripsOf(roundTripMs, (sdp) => withoutSnap(withoutSped(sdp)));
    expect(a).toBeLessThan(4.6);
    expect(b).toBeLessThan(4.1);
  });
});
