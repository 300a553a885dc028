/**
 * Every way to the Internet against every other, in virtual time: who connects
 * directly is what RFC 4787's terms say, no more and no less. (The simulated TURN
 * service answers Binding only; relays are tested against coturn.)
 */

import { type AccessSpec, loadAccesses, twoPeers } from '@claw/scenarios';
import { openSimnet } from '@claw/simnet';
import { describe, expect, it } from 'vitest';
import { SimTransport, trickle } from './sim-transport.ts';

const STUN = [{ urls: 'stun:20.0.0.10:3478' }];
const LINK = { up: { delayMs: 10 }, down: { delayMs: 10 } };

interface Traits {
  readonly isPublic: boolean;
  readonly hasUdp: boolean;
  readonly hasTcp: boolean;
  readonly isEndpointIndependent: boolean;
  readonly filtering: string;
}

function traitsOf(access: AccessSpec): Traits {
  const nats = access.routers.flatMap((router) => router.nat ?? []);
  const rules = access.routers.flatMap((router) => router.firewall?.rules ?? []);
  const blocksAll = rules.some((rule) => rule.action !== 'accept' && rule.protocol === undefined);
  const strictest = ['address-and-port-dependent', 'address-dependent', 'endpoint-independent'];
  return {
    isPublic: nats.length === 0,
    hasUdp: !blocksAll && !rules.some((rule) => rule.action !== 'accept' && rule.protocol === 'udp'),
    hasTcp: !blocksAll,
    isEndpointIndependent: nats.every((nat) => nat.mapping === 'endpoint-independent'),
    filtering: strictest.find((each) => nats.some((nat) => nat.filtering === each)) ?? 'none',
  };
}

/** Whether hole punching with STUN alone can work: RFC 4787 §4 and §5. */
function isUdpPossible(a: Traits, b: Traits): boolean {
  if (!a.hasUdp || !b.hasUdp) return false;
  // Who maps by destination has an unknown port: the other side must take packets from any port.
  const accepts = (one: Traits, other: Traits) =>
    other.isEndpointIndependent || other.isPublic || one.isPublic || one.filtering !== 'address-and-port-dependent';
  return (a.isEndpointIndependent || b.isEndpointIndependent) && accepts(a, b) && accepts(b, a);
}

const isTcpPossible = (a: Traits, b: Traits) => (a.hasTcp && b.isPublic) || (b.hasTcp && a.isPublic);

async function connect(a: AccessSpec, b: AccessSpec) {
  using net = openSimnet(twoPeers({ a, b, links: { a: LINK, b: LINK } }), { seed: 7 });
  const left = new SimTransport(net.host('a'), { controlling: true, servers: STUN });
  const right = new SimTransport(net.host('b'), { controlling: false, servers: STUN });
  trickle(left, right, 20);
  left.gather();
  right.gather();
  await net.run(8000);
  const selected = left.agent.stats().selected;
  if (left.agent.isWritable && right.agent.isWritable) {
    left.say('ping');
    right.say('pong');
    await net.run(net.nowMs + 500);
  }
  left.close();
  right.close();
  return { left, right, protocol: selected?.local.protocol, remote: selected?.remote.type };
}

describe('access kinds against each other', () => {
  const accesses = loadAccesses();
  for (const a of accesses) {
    it(`${a.name} connects to whom it can`, async () => {
      for (const b of accesses) {
        const [mine, theirs] = [traitsOf(a), traitsOf(b)];
        const udp = isUdpPossible(mine, theirs);
        const expected = udp ? 'udp' : isTcpPossible(mine, theirs) ? 'tcp' : undefined;
        const { left, right, protocol } = await connect(a, b);
        expect.soft(protocol, `${a.name} to ${b.name}`).toBe(expected);
        const heard = expected ? ['pong', 'ping'] : [];
        expect.soft([...left.received, ...right.received], `${a.name} to ${b.name}`).toEqual(heard);
      }
    });
  }
});
