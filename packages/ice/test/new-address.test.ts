/** A NAT that gives its inside another address on the way. */

import { openSimnet } from '@claw/simnet';
import { expect, it } from 'vitest';
import { behindNats, STUN } from './networks.ts';
import { SimTransport, trickle } from './sim-transport.ts';

it('is noticed by asking the STUN server, and the new address told, within seconds', async () => {
  // a lets nobody in whom it did not write to, so that b's checks from the new address do not reach it.
  using net = openSimnet(behindNats({ b: { filtering: 'endpoint-independent' } }), { seed: 1 });
  const a = new SimTransport(net.host('a'), { controlling: true, tcpTypes: [], servers: STUN });
  const b = new SimTransport(net.host('b'), { controlling: false, tcpTypes: [], servers: STUN });
  trickle(a, b, 20);
  a.gather();
  b.gather();
  const talk = async (forMs: number) => {
    for (const endMs = net.nowMs + forMs; net.nowMs < endMs; await net.run(net.nowMs + 100)) {
      a.say('.');
      b.say('.');
    }
  };
  await talk(20_000);
  net.apply({ do: 'set-address', atMs: 0, node: 'rb', interface: 'outside', ipv4: '20.0.2.77' });
  // A sign of life is due within six seconds, and missed for two and a half.
  await talk(10_000);
  const heard = a.received.length;
  await talk(1000);
  expect(a.received.length - heard).toBe(10);
  expect(a.agent.stats().selected?.remote.address).toBe('20.0.2.77');
});
