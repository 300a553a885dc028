/** Other servers and another policy: they hold for the next gathering, and what is connected goes on until then. */

import { openSimnet, SIMNET_TURN, type Simnet } from '@claw/simnet';
import { describe, expect, it } from 'vitest';
import type { IceConfiguration } from '../src/index.ts';
import { ATTRIBUTE } from '../src/stun/constants.ts';
import { StunWriter } from '../src/stun/encode.ts';
import { BareAgent, LOCAL } from './bare-agent.ts';
import { behindNats } from './networks.ts';
import { introduceNow, SimTransport, trickle } from './sim-transport.ts';

const { username, credential } = SIMNET_TURN;
const TURN: IceConfiguration = { servers: [{ urls: 'turn:20.0.0.10', username, credential }] };
/** Servers that were asked from a socket since the last time. */
const askedFrom = (bare: BareAgent, socket: number) => [
  ...new Set(bare.sent.splice(0).flatMap(({ id, remote }) => (id === socket ? remote.address : []))),
];

describe('another configuration', () => {
  it('before gathering takes the place of the first', () => {
    const bare = new BareAgent({ servers: [{ urls: 'stun:198.51.100.1' }] });
    bare.agent.configure({ servers: [{ urls: 'stun:198.51.100.2' }] });
    const id = bare.open();
    bare.wait(100);
    expect(askedFrom(bare, id)).toEqual(['198.51.100.2']);
  });

  it('after it changes nothing until a restart, which gathers by it from sockets of its own', () => {
    const bare = new BareAgent({ servers: [{ urls: 'stun:198.51.100.1' }] });
    const first = bare.open();
    bare.wait(100);
    bare.agent.configure({ servers: [{ urls: 'stun:198.51.100.2' }] });
    bare.wait(400);
    expect(askedFrom(bare, first)).toEqual(['198.51.100.1']);
    bare.agent.restart(bare.nowMs);
    const bind = bare.requests.findLast(({ type }) => type === 'bind-udp')!;
    expect(bind.id).not.toBe(first);
    bare.agent.transportOpened(bind.id, { ...LOCAL, port: 6000 }, bare.nowMs);
    bare.wait(100);
    expect(askedFrom(bare, bind.id)).toEqual(['198.51.100.2']);
    expect(bare.agent.localCandidates.map(({ port }) => port)).toEqual([6000]);
  });

  it('that a restart brought goes with it when it is taken back, and comes with the next', () => {
    const bare = new BareAgent();
    bare.open();
    bare.agent.configure({ servers: [{ urls: 'stun:198.51.100.2' }] });
    const restart = () => {
      bare.agent.restart(bare.nowMs);
      const bind = bare.requests.findLast(({ type }) => type === 'bind-udp')!;
      bare.agent.transportOpened(bind.id, { ...LOCAL, port: 6000 }, bare.nowMs);
      bare.wait(100);
      return bind.id;
    };
    const id = restart();
    expect(askedFrom(bare, id)).toEqual(['198.51.100.2']);
    bare.agent.rollback(bare.nowMs);
    expect(bare.requests).toContainEqual({ type: 'close', id });
    expect(bare.agent.localCandidates.map(({ port }) => port)).toEqual([LOCAL.port]);
    expect(askedFrom(bare, restart())).toEqual(['198.51.100.2']);
  });

  it('gets no relay that the former one still asks for', () => {
    const urls = 'turn:198.51.100.1?transport=tcp';
    const bare = new BareAgent({ servers: [{ urls, username: 'user', credential: 'secret' }] });
    bare.open();
    /** The connection that was asked for last opens, and the server gives a relay. */
    const allocate = (port: number) => {
      const { id } = bare.requests.findLast(({ type }) => type === 'connect-tcp')!;
      bare.agent.transportOpened(id, LOCAL, bare.nowMs);
      for (const { message, remote } of bare.take('request')) {
        const writer = new StunWriter('success', message.method, message.transactionId);
        writer.address(ATTRIBUTE.xorRelayedAddress, { address: '203.0.113.1', port }).uint32(ATTRIBUTE.lifetime, 600);
        bare.hear(id, writer.finish(), remote);
      }
      return id;
    };
    const id = allocate(1);
    expect(bare.agent.localCandidates.map(({ type }) => type)).toEqual(['host', 'relay']);
    bare.agent.configure({});
    bare.agent.restart(bare.nowMs);
    bare.agent.transportFailed(id, bare.nowMs);
    bare.wait(1000);
    expect(allocate(2)).not.toBe(id);
    bare.meet();
    expect(bare.agent.localCandidates).toEqual([]);
    expect(bare.agent.stats().pairs).toEqual([]);
  });

  it('is refused when a server is none', () => {
    const bare = new BareAgent();
    expect(() => bare.agent.configure({ servers: [{ urls: 'http://example.org' }] })).toThrow(
      expect.objectContaining({ code: 'ICE_SERVER_INVALID' }),
    );
  });
});

describe('the policy', () => {
  async function connected(net: Simnet, ofA: IceConfiguration) {
    const a = new SimTransport(net.host('a'), { controlling: true, tcpTypes: [], ...ofA });
    const b = new SimTransport(net.host('b'), { controlling: false, tcpTypes: [], ...TURN });
    a.gather();
    b.gather();
    await net.run(1000);
    introduceNow(a, b);
    await net.run(3000);
    return { a, b };
  }

  async function restart(net: Simnet, a: SimTransport, b: SimTransport): Promise<void> {
    for (const each of [a, b]) each.act((agent, nowMs) => agent.restart(nowMs));
    trickle(a, b, 20);
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      for (const candidate of from.agent.localCandidates)
        to.act((agent, nowMs) => agent.addRemoteCandidate(candidate, nowMs));
    }
    // Packets go on meanwhile.
    for (const endMs = net.nowMs + 5000; net.nowMs < endMs; await net.run(net.nowMs + 50)) a.say(`${net.nowMs}`);
  }

  it('of relays takes hold at a restart, without a packet lost on the way, and leaves nothing else open', async () => {
    using net = openSimnet(behindNats({}), { seed: 1 });
    const { a, b } = await connected(net, TURN);
    expect(a.selected).toBe('srflx srflx');
    const former = a.agent.localCandidates.find(({ type }) => type === 'host')!;
    a.act((agent) => agent.configure({ ...TURN, transportPolicy: 'relay' }));
    await net.run(net.nowMs + 1000);
    expect(a.selected).toBe('srflx srflx');
    await restart(net, a, b);
    // The former socket is closed, so that its port is free.
    net.host('a').bindUdp({ address: former.address, port: former.port }).close();
    expect(a.agent.localCandidates.map(({ type }) => type)).toEqual(['relay']);
    expect(a.selected).toMatch(/^relay /);
    const spoken = a.sent.filter(({ kind }) => kind === 'data').length;
    expect(b.received).toHaveLength(spoken);
    const since = a.sent.length;
    await net.run(net.nowMs + 30_000);
    // Only its TURN server hears of it.
    expect(new Set(a.sent.slice(since).map(({ to }) => to))).toEqual(new Set(['20.0.0.10:3478']));
  });

  it('of all takes hold at a restart too', async () => {
    using net = openSimnet(behindNats({}), { seed: 1 });
    const { a, b } = await connected(net, { ...TURN, transportPolicy: 'relay' });
    expect(a.selected).toMatch(/^relay /);
    a.act((agent) => agent.configure(TURN));
    await restart(net, a, b);
    expect(a.selected).toBe('srflx srflx');
    expect(b.received).toHaveLength(a.sent.filter(({ kind }) => kind === 'data').length);
  });

  it('of relays answers nobody who finds our sockets, not even with the password', () => {
    const bare = new BareAgent({ transportPolicy: 'relay' });
    const id = bare.open();
    bare.meet();
    bare.hear(id, bare.check());
    bare.hear(id, bare.check({ remote: { usernameFragment: 'nobody', password: 'x'.repeat(22) } }));
    expect(bare.sent).toEqual([]);
  });
});
