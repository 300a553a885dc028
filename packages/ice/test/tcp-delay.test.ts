/** Pairs over TCP wait for those over UDP. Round trips are 40 ms. */

import { openSimnet } from '@claw/simnet';
import { expect, it } from 'vitest';
import { twoPaths } from './networks.ts';
import { SimTransport, trickle } from './sim-transport.ts';

it('neither connects nor listens while UDP works, and does both when the path has died', async () => {
  using net = openSimnet(twoPaths(), { seed: 1 });
  const connects: number[] = [];
  const egress = ({ kind }: { kind: string }) => {
    if (kind === 'connect') connects.push(net.nowMs);
    return true;
  };
  const a = new SimTransport(net.host('a'), { controlling: true, egress });
  const b = new SimTransport(net.host('b'), { controlling: false });
  trickle(a, b, 20);
  a.gather();
  b.gather();
  await net.run(10_000);
  expect(a.agent.stats().selected?.remote.protocol).toBe('udp');
  expect(connects).toEqual([]);
  const isListening = () => a.agent.localCandidates.some(({ tcpType }) => tcpType === 'passive');
  expect(a.candidates.some(({ tcpType }) => tcpType === 'passive')).toBe(true);
  expect(isListening()).toBe(false);
  net.apply({ do: 'partition', atMs: 0, nodes: ['a'] });
  // An idle path is asked after up to 18.5 s.
  await net.run(30_000);
  expect(connects.length).toBeGreaterThan(0);
  expect(isListening()).toBe(true);
});
