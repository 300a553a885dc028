/** The only relay dies under a live path and is back later, knowing nothing of its allocations. */

import { openSimnet, SIMNET_TURN } from '@claw/simnet';
import { expect, it } from 'vitest';
import { behindNats } from './networks.ts';
import { SimTransport, trickle } from './sim-transport.ts';

const { username, credential } = SIMNET_TURN;
const SYMMETRIC = { mapping: 'address-and-port-dependent', ports: { kind: 'random' } } as const;
const OPTIONS = { tcpTypes: [], servers: [{ urls: 'turn:20.0.0.10', username, credential }] };
const DOWN_MS = 9000;

it.each([1, 2, 3, 4])(
  'data flows again a second after the relay is back, without a restart (seed %i)',
  async (seed) => {
    using net = openSimnet(behindNats({ a: SYMMETRIC, b: SYMMETRIC }), { seed });
    const a = new SimTransport(net.host('a'), { controlling: true, seed: 2 * seed, ...OPTIONS });
    const b = new SimTransport(net.host('b'), { controlling: false, seed: 2 * seed + 1, ...OPTIONS });
    const heard = new Map([a, b].map((each) => [each, { count: 0, atMs: 3000 }]));
    const talk = async (untilMs: number, isEnough = () => false) => {
      while (net.nowMs < untilMs && !isEnough()) {
        for (const [each, last] of heard) {
          each.say('something');
          if (each.received.length > last.count) Object.assign(last, { count: each.received.length, atMs: net.nowMs });
          // As SCTP does, whose packets are not acknowledged.
          else if (net.nowMs > last.atMs + 500) each.act((agent, nowMs) => agent.probe(nowMs));
        }
        await net.run(net.nowMs + 50);
      }
    };
    trickle(a, b, 50);
    a.gather();
    b.gather();
    await net.run(3000);
    await talk(6000);
    expect(a.received.length * b.received.length).toBeGreaterThan(0);
    const turn = { atMs: 0, node: 'services', service: 'turn' } as const;
    net.apply({ ...turn, do: 'service-down' });
    await talk(net.nowMs + DOWN_MS);
    net.apply({ ...turn, do: 'service-up' });
    const [ofA, ofB] = [a.received.length, b.received.length];
    const upMs = net.nowMs;
    await talk(upMs + 10_000, () => a.received.length > ofA && b.received.length > ofB);
    expect(net.nowMs - upMs).toBeLessThanOrEqual(1500);
    a.close();
    b.close();
  },
);
