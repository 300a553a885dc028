/** The hooks of path prediction, each with a use it is there for. */

import { openSimnet } from '@claw/simnet';
import { describe, expect, it } from 'vitest';
import type { Candidate, CheckObservation } from '../src/index.ts';
import { behindNats, STUN, twoPaths, uselessAddresses } from './networks.ts';
import { introduceNow, SimTransport, trickle } from './sim-transport.ts';

const UDP_ONLY = { tcpTypes: [] };
const SEQUENTIAL = {
  mapping: 'address-and-port-dependent',
  ports: { kind: 'sequential', first: 40_000, stride: 1 },
} as const;

describe('propose', () => {
  const nextPorts = (remote: Candidate): Candidate[] =>
    remote.type === 'srflx'
      ? Array.from({ length: 8 }, (_, index) => ({ ...remote, port: remote.port + index + 1, foundation: `p${index}` }))
      : [];

  it.each([
    ['without it a NAT that takes the next port for each peer cannot be reached', {}, false],
    ['with the ports that come next it can', { hooks: { propose: nextPorts } }, true],
  ])('%s', async (_name, hooks, isConnected) => {
    using net = openSimnet(behindNats({ b: SEQUENTIAL }), { seed: 3 });
    const a = new SimTransport(net.host('a'), { controlling: true, servers: STUN, ...UDP_ONLY, ...hooks });
    const b = new SimTransport(net.host('b'), { controlling: false, servers: STUN, ...UDP_ONLY });
    trickle(a, b, 20);
    a.gather();
    b.gather();
    await net.run(6000);
    expect(a.agent.isWritable).toBe(isConnected);
  });
});

describe('rank', () => {
  it('puts what is known to work first, and keeps out what is not wanted', async () => {
    using net = openSimnet(uselessAddresses(32), { seed: 1 });
    const rank = ({ address }: { address: string }, remote: { address: string }) =>
      remote.address.startsWith('192.168.') ? undefined : address.startsWith('192.168.') ? 1 : 0;
    const a = new SimTransport(net.host('a'), { controlling: true, servers: STUN, ...UDP_ONLY, hooks: { rank } });
    const b = new SimTransport(net.host('b'), { controlling: false, servers: STUN, ...UDP_ONLY });
    a.gather();
    b.gather();
    await net.run(2000);
    introduceNow(a, b);
    await net.run(4000);
    const startMs = a.sent.find(({ kind }) => kind === 'check')!;
    expect(startMs.to).toBe('20.0.2.1:' + startMs.to.split(':')[1]);
    expect(a.writableAtMs).toBeLessThanOrEqual(2000 + 41);
    expect(a.agent.stats().pairs.some(({ remote }) => remote.address.startsWith('192.168.'))).toBe(false);
  });
});

describe('onCheck', () => {
  it('sees the round trip of every check', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const seen: CheckObservation[] = [];
    const hooks = { onCheck: (observation: CheckObservation) => seen.push(observation) };
    const a = new SimTransport(net.host('a'), { controlling: true, ...UDP_ONLY, hooks });
    const b = new SimTransport(net.host('b'), { controlling: false, ...UDP_ONLY });
    a.gather();
    b.gather();
    await net.run(100);
    introduceNow(a, b);
    await net.run(20_000);
    expect(new Set(seen.map(({ purpose }) => purpose))).toEqual(new Set(['check', 'nominate', 'consent']));
    for (const { rttMs, isRttExact } of seen) if (isRttExact) expect(rttMs).toBeCloseTo(40, 0);
    expect(a.agent.stats().selected?.roundTripMs).toBeCloseTo(40, 0);
  });
});

describe('nominate', () => {
  it('moves a live session to another pair and back without losing or doubling a packet', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const a = new SimTransport(net.host('a'), { controlling: true, ...UDP_ONLY });
    const b = new SimTransport(net.host('b'), { controlling: false, ...UDP_ONLY });
    a.gather();
    b.gather();
    await net.run(100);
    introduceNow(a, b);
    await net.run(1000);
    const [first] = a.agent.stats().pairs.filter(({ isSelected }) => isSelected);
    const other = a.agent
      .stats()
      .pairs.find(
        ({ local, remote, state, isSelected }) =>
          !isSelected && state === 'succeeded' && local.address.slice(0, 5) === remote.address.slice(0, 5),
      );
    const expected: string[] = [];
    const used = new Set<string>();
    for (let count = 0; count < 300; count += 1) {
      if (count === 100) a.act((agent, nowMs) => agent.nominate(other!.id, nowMs));
      if (count === 200) a.act((agent, nowMs) => agent.nominate(first!.id, nowMs));
      expected.push(`${count}`);
      a.say(`${count}`);
      b.say(`${count}`);
      used.add(`${b.agent.stats().selected?.local.address} ${a.agent.stats().selected?.local.address}`);
      await net.run(net.nowMs + 5);
    }
    await net.run(net.nowMs + 100);
    const byNumber = (x: string, y: string) => Number(x) - Number(y);
    expect(a.received.toSorted(byNumber)).toEqual(expected);
    expect(b.received.toSorted(byNumber)).toEqual(expected);
    expect(used.size).toBeGreaterThanOrEqual(3);
    expect(() => b.agent.nominate(1, net.nowMs)).toThrow(expect.objectContaining({ code: 'ICE_NO_SUCH_PAIR' }));
  });
});
