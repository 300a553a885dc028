/** The agent over a simulated network, in virtual time. Round trips are 40 ms. */

import { openSimnet, type Simnet } from '@claw/simnet';
import { describe, expect, it } from 'vitest';
import { behindNats, STUN, twoPaths, uselessAddresses } from './networks.ts';
import { introduceNow, SimTransport, type SimTransportOptions, trickle } from './sim-transport.ts';

const UDP_ONLY = { tcpTypes: [] };
const LOST = { loss: { model: 'bernoulli', share: 1 } } as const;
const LOSSY = { delayMs: 10, loss: { model: 'bernoulli', share: 0.25 } } as const;
const GOOD = { delayMs: 10, loss: { model: 'bernoulli', share: 0 } } as const;

function ends(net: Simnet, options: Partial<SimTransportOptions> = {}, ofB: Partial<SimTransportOptions> = {}) {
  const a = new SimTransport(net.host('a'), { controlling: true, ...options });
  const b = new SimTransport(net.host('b'), { controlling: false, ...options, ...ofB });
  return { a, b };
}

async function connected(net: Simnet, options: Partial<SimTransportOptions> = {}) {
  const both = ends(net, options);
  both.a.gather();
  both.b.gather();
  await net.run(net.nowMs + 500);
  introduceNow(both.a, both.b);
  await net.run(net.nowMs + 1000);
  return both;
}

/** Lets data flow both ways for a while: a path that carries some is watched closely. */
async function talk(net: Simnet, a: SimTransport, b: SimTransport, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    a.say('talk');
    b.say('talk');
    await net.run(net.nowMs + 1000);
  }
}

/** Fails the network that a pair is on. */
function cut(net: Simnet, interfaceName: string): void {
  for (const node of ['a', 'b']) {
    net.apply({ do: 'set-link', atMs: 0, node, interface: interfaceName, direction: 'up', link: LOST });
  }
}

describe('a cold set-up', () => {
  it('carries data after one round trip, on both sides, and nominates after the second', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = ends(net, UDP_ONLY);
    a.gather();
    b.gather();
    await net.run(100);
    introduceNow(a, b);
    await net.run(2000);
    expect(a.writableAtMs).toBeLessThanOrEqual(141);
    expect(b.writableAtMs).toBeLessThanOrEqual(141);
    expect(a.nominatedAtMs).toBeLessThanOrEqual(100 + 40 + 50 + 41);
    expect(a.agent.state).toBe('completed');
    expect(b.agent.state).toBe('completed');
    // Four pairs, two of which lead nowhere, each way: checks, their triggered twins, the nomination, and answers.
    expect(a.sent.length + b.sent.length).toBeLessThan(40);
  });

  it('through two port-restricted NATs costs one round trip and one Ta', async () => {
    using net = openSimnet(behindNats({}), { seed: 1 });
    const { a, b } = ends(net, { ...UDP_ONLY, servers: STUN });
    a.gather();
    b.gather();
    await net.run(500);
    introduceNow(a, b);
    await net.run(2000);
    expect(a.writableAtMs).toBeLessThanOrEqual(500 + 40 + 6);
    expect(a.agent.stats().selected).toMatchObject({ local: { type: 'srflx' }, remote: { type: 'srflx' } });
  });

  it('with 32 addresses that lead nowhere is as quick on the one that works', async () => {
    using net = openSimnet(uselessAddresses(32), { seed: 1 });
    const { a, b } = ends(net, { ...UDP_ONLY, servers: STUN });
    trickle(a, b, 20);
    a.gather();
    b.gather();
    await net.run(10_000);
    expect(a.agent.localCandidates).toHaveLength(34);
    // 33 sockets are asked at 5 ms each before the last one learns its address.
    expect(a.writableAtMs).toBeLessThan(400);
    expect(b.writableAtMs).toBeLessThan(400);
  });

  it('behaves when a candidate comes before the parameters, twice, or never ends', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = ends(net, UDP_ONLY);
    a.gather();
    b.gather();
    await net.run(100);
    for (const candidate of [...b.candidates, ...b.candidates])
      a.act((agent, nowMs) => agent.addRemoteCandidate(candidate, nowMs));
    a.act((agent, nowMs) => agent.setRemoteParameters(b.agent.localParameters, nowMs));
    b.act((agent, nowMs) => agent.setRemoteParameters(a.agent.localParameters, nowMs));
    await net.run(2000);
    // b learnt of a by its checks alone.
    expect(b.agent.stats().selected?.remote.type).toBe('prflx');
    expect(a.agent.state).toBe('completed');
    // Signalled late, the candidate takes the place of what was guessed.
    for (const candidate of a.candidates) b.act((agent, nowMs) => agent.addRemoteCandidate(candidate, nowMs));
    expect(b.agent.stats().selected?.remote.type).toBe('host');
  });
});

describe('roles', () => {
  it.each([true, false])('settle when both sides think that controlling is %s', async (controlling) => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = ends(net, { ...UDP_ONLY, controlling, tieBreaker: 1n }, { tieBreaker: 2n });
    a.gather();
    b.gather();
    await net.run(100);
    introduceNow(a, b);
    await net.run(3000);
    expect([a.agent.isControlling, b.agent.isControlling]).toEqual([false, true]);
    expect([a.agent.state, b.agent.state]).toEqual(['completed', 'completed']);
  });
});

describe('a path that dies', () => {
  it('is left within seconds for another one, and both sides know', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = await connected(net, UDP_ONLY);
    await talk(net, a, b, 20);
    const first = a.agent.stats().selected?.local.address;
    cut(net, first === '10.1.0.1' ? 'eth0' : 'eth1');
    // A sign of life is due within six seconds, and missed for two and a half.
    await talk(net, a, b, 9);
    await net.run(net.nowMs + 500);
    for (const { received } of [a, b]) received.length = 0;
    expect(a.agent.stats().selected?.local.address).not.toBe(first);
    a.say('found');
    b.say('found too');
    await net.run(net.nowMs + 1000);
    expect([...b.received, ...a.received]).toEqual(['found', 'found too']);
    expect([a.agent.state, b.agent.state]).toEqual(['completed', 'completed']);
  });

  it('is left much sooner when somebody asks', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a } = await connected(net, UDP_ONLY);
    const first = a.agent.stats().selected?.local.address;
    cut(net, first === '10.1.0.1' ? 'eth0' : 'eth1');
    a.act((agent, nowMs) => agent.probe(nowMs));
    await net.run(net.nowMs + 2700);
    expect(a.agent.stats().selected?.local.address).not.toBe(first);
  });

  it('without another one is disconnected, comes back if it heals, and fails when consent expires', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = await connected(net, UDP_ONLY);
    await talk(net, a, b, 20);
    cut(net, 'eth0');
    cut(net, 'eth1');
    await talk(net, a, b, 10);
    expect([a.agent.state, b.agent.state]).toEqual(['disconnected', 'disconnected']);
    for (const node of ['a', 'b'])
      net.apply({ do: 'set-link', atMs: 0, node, interface: 'eth0', direction: 'up', link: GOOD });
    await net.run(net.nowMs + 2000);
    expect([a.agent.state, b.agent.state]).toEqual(['completed', 'completed']);
    cut(net, 'eth0');
    await net.run(net.nowMs + 40_000);
    expect([a.agent.state, b.agent.state]).toEqual(['failed', 'failed']);
    const before = a.sent.filter(({ kind }) => kind === 'data').length;
    expect(a.say('into the void')).toBe(false);
    expect(a.sent.filter(({ kind }) => kind === 'data')).toHaveLength(before);
  });

  it.each([
    ['that carries data costs a check every five seconds', true, 10, 15],
    ['that is idle costs a check every fifteen seconds', false, 3, 6],
  ])('%s, and nothing else', async (_name, isBusy, least, most) => {
    using net = openSimnet(behindNats({}), { seed: 1 });
    const { a, b } = await connected(net, { ...UDP_ONLY, servers: STUN });
    const pass = (seconds: number) => (isBusy ? talk(net, a, b, seconds) : net.run(net.nowMs + seconds * 1000));
    await pass(20);
    const before = a.sent.length;
    await pass(60);
    const kinds = a.sent.slice(before).flatMap(({ kind }) => (kind === 'data' ? [] : kind));
    const consents = kinds.filter((kind) => kind === 'consent').length;
    expect(consents).toBeGreaterThanOrEqual(least);
    expect(consents).toBeLessThanOrEqual(most);
    // And one answer each.
    expect(kinds.length).toBeLessThanOrEqual(2 * most);
    expect(new Set(kinds)).toEqual(new Set(['consent', 'response']));
  });

  it('that is idle is asked about by both ends at the same time, and neither asks more often for it', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = await connected(net, UDP_ONLY);
    await net.run(net.nowMs + 60_000);
    const sinceMs = net.nowMs;
    await net.run(sinceMs + 600_000);
    const asked = ({ sent }: SimTransport) =>
      sent.filter(({ kind, atMs }) => kind === 'consent' && atMs >= sinceMs).map(({ atMs }) => atMs);
    const [byA, byB] = [asked(a), asked(b)];
    expect(byA.filter((atMs) => !byB.some((other) => Math.abs(other - atMs) <= 20))).toEqual([]);
    expect(byB.length).toBe(byA.length);
    // Each host has two addresses.
    expect(byA.length).toBeGreaterThanOrEqual(4 * Math.floor(600 / 18.5));
    expect(byA.length).toBeLessThanOrEqual(4 * Math.ceil(600 / 11.5));
  });
});

describe('a restart', () => {
  it('keeps data flowing on the old pair until the new one is valid', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = await connected(net, UDP_ONLY);
    const old = a.agent.localParameters;
    a.act((agent, nowMs) => agent.restart(nowMs));
    expect(a.agent.localParameters.password).not.toBe(old.password);
    expect(a.agent.localCandidates.every((each) => each.usernameFragment !== old.usernameFragment)).toBe(true);
    a.say('one');
    await net.run(net.nowMs + 6000);
    b.act((agent, nowMs) => agent.setRemoteParameters(a.agent.localParameters, nowMs));
    b.say('two');
    await net.run(net.nowMs + 100);
    a.act((agent, nowMs) => agent.setRemoteParameters(b.agent.localParameters, nowMs));
    for (const candidate of a.agent.localCandidates)
      b.act((agent, nowMs) => agent.addRemoteCandidate(candidate, nowMs));
    for (const candidate of b.agent.localCandidates)
      a.act((agent, nowMs) => agent.addRemoteCandidate(candidate, nowMs));
    a.say('three');
    await net.run(net.nowMs + 2000);
    b.say('four');
    await net.run(net.nowMs + 100);
    expect([...b.received, ...a.received]).toEqual(['one', 'three', 'two', 'four']);
    expect([a.agent.state, b.agent.state]).toEqual(['completed', 'completed']);
    // What was whispered under the old credentials is no longer answered.
    await net.run(net.nowMs + 40_000);
    expect(a.agent.state).toBe('completed');
  });

  it('brings back what had failed', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = await connected(net, UDP_ONLY);
    cut(net, 'eth0');
    cut(net, 'eth1');
    await net.run(net.nowMs + 60_000);
    expect([a.agent.state, b.agent.state]).toEqual(['failed', 'failed']);
    for (const node of ['a', 'b'])
      net.apply({ do: 'set-link', atMs: 0, node, interface: 'eth1', direction: 'up', link: GOOD });
    a.act((agent, nowMs) => agent.restart(nowMs));
    b.act((agent, nowMs) => agent.restart(nowMs));
    introduceNow(a, b);
    await net.run(net.nowMs + 3000);
    expect([a.agent.state, b.agent.state]).toEqual(['completed', 'completed']);
  });
});

describe('verdicts', () => {
  it('are not passed before there was gathering, and then as soon as all has been tried', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = ends(net, UDP_ONLY);
    a.act((agent, nowMs) => agent.setRemoteParameters(b.agent.localParameters, nowMs));
    a.act((agent, nowMs) => agent.endOfCandidates(nowMs));
    await net.run(1000);
    expect(a.agent.state).toBe('checking');
    a.gather();
    await net.run(1100);
    expect(a.agent.state).toBe('failed');
  });
});

describe('simultaneous open', () => {
  it('connects where nobody may be connected to from outside', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const egress = ({ protocol }: { protocol: string }) => protocol !== 'udp';
    const { a, b } = ends(net, { tcpTypes: ['so'], egress });
    a.gather();
    b.gather();
    await net.run(100);
    introduceNow(a, b);
    await net.run(8000);
    a.say('across');
    await net.run(9000);
    expect(a.agent.stats().selected?.local).toMatchObject({ protocol: 'tcp', tcpType: 'so' });
    expect(b.received).toEqual(['across']);
  });
});

describe('any network that lets some packets through', () => {
  it('connects, and both sides agree on the pair', async () => {
    const times: number[] = [];
    for (let seed = 1; seed <= 30; seed += 1) {
      using net = openSimnet(behindNats({}), { seed });
      for (const node of ['ra', 'rb'])
        net.apply({ do: 'set-link', atMs: 0, node, interface: 'outside', direction: 'up', link: LOSSY });
      const { a, b } = ends(net, { ...UDP_ONLY, servers: STUN, seed });
      trickle(a, b, 20);
      a.gather();
      b.gather();
      await net.run(15_000);
      expect.soft([a.agent.isWritable, b.agent.isWritable], `seed ${seed}`).toEqual([true, true]);
      const [mine, theirs] = [a.agent.stats().selected, b.agent.stats().selected];
      expect.soft(mine?.local.port, `seed ${seed}`).toBe(theirs?.remote.port);
      expect.soft(mine?.remote.port, `seed ${seed}`).toBe(theirs?.local.port);
      times.push(Math.max(a.writableAtMs ?? Infinity, b.writableAtMs ?? Infinity));
    }
    // A quarter is lost each way, of what the STUN server says too.
    const [median] = times.toSorted((x, y) => x - y).slice(15);
    expect(median).toBeLessThan(1000);
  });
});
