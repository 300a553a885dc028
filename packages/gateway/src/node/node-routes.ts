/** Routes about the node itself and its peers. */

import * as v from 'valibot';
import { type Route, route, streamRoute } from '../api/routes.ts';
import { describePeer, describePeers, describeStatus } from './describe.ts';
import { diagnose } from './diagnose.ts';
import { HandSessions } from './hand-sessions.ts';
import type { Node } from './node.ts';
import { doctorView, peerView, statusView } from './views.ts';

const MAX_PINGS = 100;
const PAIR_TIMEOUT_MS = 60_000;
const PAIR_BY_HAND_TIMEOUT_MS = 10 * 60_000;
const peerName = v.pipe(
  v.string(),
  v.regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,31}$/, 'a name of letters, digits, ".", "_" and "-"'),
);

export function nodeRoutes(node: Node, onShutdown: () => void): Route[] {
  const hand = new HandSessions(node);
  return [
    route({
      method: 'GET',
      path: '/v1/status',
      summary: 'The node, its carriers, its links and what it lends.',
      response: statusView,
      handle: () => describeStatus(node),
    }),
    route({
      method: 'GET',
      path: '/v1/doctor',
      summary: 'What is wrong and what to do.',
      response: doctorView,
      handle: () => diagnose(node),
    }),
    route({
      method: 'POST',
      path: '/v1/shutdown',
      summary: 'Stop the node.',
      response: v.object({ pid: v.number() }),
      handle: () => {
        node.clock.setTimer(20, onShutdown); // the answer goes first
        return { pid: process.pid };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/peers',
      summary: 'The paired machines.',
      response: v.array(peerView),
      handle: () => describePeers(node),
    }),
    route({
      method: 'DELETE',
      path: '/v1/peers/:peer',
      summary: 'Unpair: cuts live links at once and tells the peer.',
      response: peerView,
      handle: async ({ params }) => {
        const peer = node.peers.find(params['peer'] ?? '');
        const before = await describePeer(node, peer);
        await node.unpair(peer);
        return { ...before, link: null, state: 'waiting' as const };
      },
    }),
    route({
      method: 'POST',
      path: '/v1/peers/:peer/ping',
      summary: 'Measure round trips over the link.',
      body: v.object({ count: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(MAX_PINGS)) }),
      response: v.object({ peer: v.string(), roundTripsMs: v.array(v.number()) }),
      handle: async ({ params, body, signal }) => {
        const peer = node.peers.find(params['peer'] ?? '');
        const link = await node.keeper.linkTo(peer.id, { signal });
        const roundTripsMs: number[] = [];
        for (let count = 0; count < body.count && !signal.aborted; count += 1) roundTripsMs.push(await link.ping());
        return { peer: peer.name, roundTripsMs };
      },
    }),
    route({
      method: 'POST',
      path: '/v1/invites',
      summary: 'Make an invite: ten minutes, one machine.',
      body: v.object({ name: v.optional(peerName), relay: v.optional(v.string()) }),
      response: v.object({ invite: v.string(), expiresAt: v.string(), reach: v.array(v.string()) }),
      handle: async ({ body }) => {
        if (body.relay !== undefined) await node.addRelay(body.relay);
        const { text, expiresAtMs } = await node.pairing.invite(body.name === undefined ? {} : { name: body.name });
        const reach = node.router.carriers().flatMap(({ name, state }) => (state === 'down' ? [] : [name]));
        return { invite: text, expiresAt: new Date(expiresAtMs).toISOString(), reach };
      },
    }),
    route({
      method: 'POST',
      path: '/v1/pair',
      summary: 'Complete an invite of another machine.',
      body: v.object({ invite: v.string(), name: v.optional(peerName), byHand: v.optional(v.boolean()) }),
      response: peerView,
      handle: async ({ body, signal }) => {
        const peer = await node.pairing.join(body.invite, {
          signal,
          timeoutMs: body.byHand ? PAIR_BY_HAND_TIMEOUT_MS : PAIR_TIMEOUT_MS,
          once: body.byHand ?? false,
          prepare: (invite) => invite.relays.forEach((url) => node.useRelay(url)),
          ...(body.name !== undefined && { name: body.name }),
        });
        return describePeer(node, peer);
      },
    }),
    streamRoute({
      method: 'POST',
      path: '/v1/hand',
      summary: 'Carry signaling by hand: first the session’s name, then texts to carry, until the caller goes.',
      body: v.object({}),
      response: v.union([v.object({ session: v.string() }), v.object({ text: v.string() })]),
      handle: ({ signal }) => hand.open(signal),
    }),
    route({
      method: 'POST',
      path: '/v1/hand/:session',
      summary: 'Take in a text that was carried here.',
      body: v.object({ text: v.string() }),
      response: v.object({ taken: v.boolean() }),
      handle: ({ params, body }) => {
        hand.accept(params['session'] ?? '', body.text);
        return { taken: true };
      },
    }),
  ];
}
