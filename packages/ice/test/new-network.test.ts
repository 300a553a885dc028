/** Addresses of the machine that come and go, at a restart and without one. */

import { openSimnet, type Simnet } from '@claw/simnet';
import { describe, expect, it } from 'vitest';
import { encodeCheckSuccess } from '../src/agent/check-messages.ts';
import { ATTRIBUTE, METHOD } from '../src/stun/constants.ts';
import { StunWriter } from '../src/stun/encode.ts';
import { decodeStun } from '../src/stun/message.ts';
import { BareAgent, LOCAL, PEER } from './bare-agent.ts';
import { twoPaths } from './networks.ts';
import { introduceNow, SimTransport } from './sim-transport.ts';

const OTHER = { address: '192.0.2.2', port: 5001 };
const STUN = { urls: 'stun:198.51.100.9' };
const SEEN = { address: '203.0.113.1', port: 1111 };
const SEEN_LATER = { address: '203.0.113.1', port: 2222 };

const addressesOf = ({ agent }: BareAgent) => agent.localCandidates.map(({ address, port }) => `${address}:${port}`);
const isClosed = (bare: BareAgent, id: number) =>
  bare.requests.some((request) => request.type === 'close' && request.id === id);

/** Opens the UDP socket that was asked for last, there. */
function openLast(bare: BareAgent, local: typeof LOCAL): number {
  const { id } = bare.requests.findLast(({ type }) => type === 'bind-udp')!;
  bare.agent.transportOpened(id, local, bare.nowMs);
  return id;
}

/** Answers what the STUN server was asked since the last time. */
function answerStun(bare: BareAgent, id: number, seen: typeof SEEN): number {
  bare.wait(100);
  const asked = bare.take('request').filter(({ remote }) => remote.address === '198.51.100.9');
  for (const { message, remote } of asked) {
    const writer = new StunWriter('success', METHOD.binding, message.transactionId);
    bare.hear(id, writer.address(ATTRIBUTE.xorMappedAddress, seen).finish(), remote);
  }
  return asked.length;
}

describe('a restart', () => {
  it('wants the addresses of the machine, and gathering is not complete before they are there', () => {
    const bare = new BareAgent();
    bare.open();
    expect(bare.agent.isGatheringComplete).toBe(true);
    bare.agent.restart(0);
    expect([bare.addressesWanted, bare.agent.isGatheringComplete]).toEqual([1, false]);
    bare.agent.gather([LOCAL], 0);
    expect([bare.gatheringEnds, bare.agent.isGatheringComplete]).toEqual([2, true]);
  });

  it('gathers on what came, drops what went, and names all by the new credentials', () => {
    const bare = new BareAgent();
    const first = bare.open();
    const before = bare.agent.localParameters.usernameFragment;
    bare.agent.restart(0);
    bare.agent.gather([LOCAL, OTHER], 0);
    expect(bare.requests.filter(({ type }) => type === 'bind-udp')).toHaveLength(2);
    const second = openLast(bare, OTHER);
    expect(addressesOf(bare)).toEqual(['192.0.2.1:5000', '192.0.2.2:5001']);
    bare.agent.restart(0);
    bare.agent.gather([OTHER], 0);
    expect(addressesOf(bare)).toEqual(['192.0.2.2:5001']);
    expect([isClosed(bare, first), isClosed(bare, second)]).toEqual([true, false]);
    const { usernameFragment } = bare.agent.localParameters;
    expect(usernameFragment).not.toBe(before);
    expect(bare.agent.localCandidates.map((each) => each.usernameFragment)).toEqual([usernameFragment]);
  });

  it('drops TCP candidates of an address that went, and does not double those of one that stays', () => {
    const bare = new BareAgent({ tcpTypes: ['active', 'passive', 'so'] });
    const open = (local: typeof LOCAL) => {
      for (const { id, type } of bare.requests.splice(0))
        if (type !== 'close') bare.agent.transportOpened(id, local, 0);
    };
    const kinds = () => bare.agent.localCandidates.map(({ tcpType = 'udp', address }) => `${tcpType} ${address}`);
    bare.agent.gather([LOCAL], 0);
    open(LOCAL);
    bare.agent.gather([LOCAL, OTHER], 0);
    open(OTHER);
    const on = (address: string) => ['active', 'passive', 'so', 'udp'].map((kind) => `${kind} ${address}`);
    expect(kinds().toSorted()).toEqual([...on(LOCAL.address), ...on(OTHER.address)].toSorted());
    bare.agent.gather([OTHER], 0);
    expect(kinds().toSorted()).toEqual(on(OTHER.address));
  });

  it('asks servers again, and what they saw before is no candidate any more', () => {
    const bare = new BareAgent({ servers: [STUN] });
    const id = bare.open();
    expect(answerStun(bare, id, SEEN)).toBe(1);
    expect(addressesOf(bare)).toEqual(['192.0.2.1:5000', '203.0.113.1:1111']);
    bare.agent.restart(bare.nowMs);
    bare.agent.gather([LOCAL], bare.nowMs);
    expect(answerStun(bare, id, SEEN_LATER)).toBe(1);
    expect(addressesOf(bare)).toEqual(['192.0.2.1:5000', '203.0.113.1:2222']);
  });

  it('looks names of servers up again', () => {
    const bare = new BareAgent({ servers: [{ urls: 'stun:stun.example.org' }] });
    const lookUps = () => bare.requests.filter(({ type }) => type === 'resolve');
    const id = bare.open();
    bare.agent.nameResolved(lookUps()[0]!.id, [], 0);
    expect(bare.agent.isGatheringComplete).toBe(true);
    bare.agent.restart(0);
    bare.agent.gather([LOCAL], 0);
    bare.agent.nameResolved(lookUps()[1]!.id, ['198.51.100.9'], 0);
    expect(answerStun(bare, id, SEEN)).toBe(1);
  });

  it('does not wait for answers to questions from a socket that is gone', () => {
    const bare = new BareAgent({ servers: [STUN] });
    bare.open();
    bare.wait(100);
    bare.agent.restart(bare.nowMs);
    bare.agent.gather([OTHER], bare.nowMs);
    const id = openLast(bare, OTHER);
    answerStun(bare, id, SEEN);
    expect(bare.agent.isGatheringComplete).toBe(true);
  });

  it('keeps relays that stand, and asks for no second one from the same socket', () => {
    const turn = { urls: 'turn:198.51.100.9', username: 'user', credential: 'secret' };
    const bare = new BareAgent({ servers: [turn] });
    const id = bare.open();
    const answer = () =>
      bare.take('request').map(({ message, remote }) => {
        const writer = new StunWriter('success', message.method, message.transactionId);
        if (message.method === METHOD.allocate) writer.address(ATTRIBUTE.xorRelayedAddress, SEEN);
        bare.hear(id, writer.uint32(ATTRIBUTE.lifetime, 600).finish(), remote);
        return message.method;
      });
    bare.wait(100);
    expect(answer()).toEqual([METHOD.allocate]);
    bare.agent.restart(bare.nowMs);
    bare.agent.gather([LOCAL], bare.nowMs);
    bare.wait(100);
    // Whether the server still knows us is worth a question.
    expect(answer()).toEqual([METHOD.refresh]);
    expect(addressesOf(bare)).toEqual(['192.0.2.1:5000', '203.0.113.1:1111']);
  });

  it('a connection to a TURN server from an address that is gone is made again', () => {
    const turn = { urls: 'turn:198.51.100.9?transport=tcp', username: 'user', credential: 'secret' };
    const bare = new BareAgent({ servers: [turn], transportPolicy: 'relay' });
    bare.open();
    const connections = () => bare.requests.filter(({ type }) => type === 'connect-tcp');
    bare.agent.transportOpened(connections()[0]!.id, LOCAL, 0);
    bare.agent.gather([LOCAL, OTHER], 0);
    expect(connections()).toHaveLength(1);
    bare.agent.gather([OTHER], 0);
    bare.wait(1000);
    expect(isClosed(bare, connections()[0]!.id)).toBe(true);
    expect(connections()).toHaveLength(2);
  });
});

describe('a restart that is taken back', () => {
  function restarted() {
    const bare = new BareAgent();
    const id = bare.open();
    bare.meet();
    bare.answerChecks(id);
    bare.wait(100);
    bare.answerChecks(id);
    const before = bare.agent.localParameters;
    bare.agent.restart(bare.nowMs);
    bare.agent.gather([LOCAL, OTHER], bare.nowMs);
    return { bare, id, before };
  }

  it('leaves the former credentials and the path as they were, and what was gathered', () => {
    const { bare, id, before } = restarted();
    const other = openLast(bare, OTHER);
    bare.take('request');
    bare.agent.rollback(bare.nowMs);
    expect(bare.agent.localParameters).toBe(before);
    expect(bare.agent.isWritable).toBe(true);
    bare.hear(id, bare.check());
    expect(bare.take('success')).toHaveLength(1);
    expect(addressesOf(bare)).toEqual(['192.0.2.1:5000', '192.0.2.2:5001']);
    // The new socket is tried with the peer's candidates under the old credentials.
    bare.wait(100);
    bare.hear(other, bare.check());
    expect(bare.take('success')).toHaveLength(1);
    expect(bare.agent.stats().pairs).toHaveLength(2);
  });

  it('once answered, stays', () => {
    const { bare, id } = restarted();
    const { usernameFragment } = bare.agent.localParameters;
    const next = { usernameFragment: 'next', password: PEER.password };
    bare.agent.setRemoteParameters(next, bare.nowMs);
    bare.agent.rollback(bare.nowMs);
    expect(bare.agent.localParameters.usernameFragment).toBe(usernameFragment);
    bare.meet();
    bare.wait(500);
    for (const { bytes, remote } of bare.sent.splice(0)) {
      const message = decodeStun(bytes);
      if (message?.class === 'request') bare.hear(id, encodeCheckSuccess(message, LOCAL, next), remote);
    }
    expect(bare.agent.isWritable).toBe(true);
  });
});

describe('a dead path', () => {
  it('has the addresses looked at every four seconds, tells no end of gathering for that, and stops when it works', () => {
    const bare = new BareAgent();
    const id = bare.open();
    bare.meet();
    const settle = () => {
      for (let turn = 0; turn < 10; turn += 1) {
        bare.wait(100);
        bare.answerChecks(id);
      }
    };
    settle();
    expect(bare.agent.state).toBe('completed');
    // An idle path is asked after 18 s at most.
    for (let turn = 0; turn < 250 && bare.agent.state !== 'disconnected'; turn += 1) bare.wait(100);
    const wanted = bare.addressesWanted;
    expect(wanted).toBeGreaterThan(0);
    for (let turn = 0; turn < 5; turn += 1) {
      bare.agent.gather([LOCAL], bare.nowMs);
      bare.wait(4000);
    }
    expect(bare.addressesWanted - wanted).toBe(5);
    settle();
    bare.agent.gather([LOCAL], bare.nowMs);
    const after = bare.addressesWanted;
    settle();
    settle();
    expect(bare.addressesWanted).toBe(after);
    expect(bare.gatheringEnds).toBe(1);
  });
});

describe('a machine that moves to another network', () => {
  /** Hosts on two networks, of which the second is down at `a`. */
  async function connected(net: Simnet) {
    net.apply({ do: 'interface-down', atMs: 0, node: 'a', interface: 'eth1' });
    const a = new SimTransport(net.host('a'), { controlling: true, tcpTypes: [] });
    const b = new SimTransport(net.host('b'), { controlling: false, tcpTypes: [] });
    a.gather();
    b.gather();
    await net.run(500);
    introduceNow(a, b);
    await net.run(1500);
    expect(a.agent.stats().selected?.local.address).toBe('10.1.0.1');
    return { a, b };
  }

  it('is found again by its checks alone, within seconds and without signals', async () => {
    using net = openSimnet(twoPaths(), { seed: 1 });
    const { a, b } = await connected(net);
    net.apply({ do: 'interface-down', atMs: 0, node: 'a', interface: 'eth0' });
    // It is without any address for a while.
    const talk = async (forMs: number) => {
      for (const endMs = net.nowMs + forMs; net.nowMs < endMs; await net.run(net.nowMs + 100)) {
        a.say('.');
        b.say('.');
      }
    };
    await talk(21_000);
    expect([a.agent.state, a.agent.localCandidates]).toEqual(['disconnected', []]);
    net.apply({ do: 'interface-up', atMs: 0, node: 'a', interface: 'eth1' });
    await talk(5000);
    expect(a.agent.stats().selected).toMatchObject({
      local: { address: '10.2.0.1' },
      remote: { address: '10.2.0.2' },
    });
    const heard = a.received.length;
    await talk(1000);
    expect(a.received.length - heard).toBeGreaterThan(8);
    expect([a.agent.state, b.agent.state]).toEqual(['completed', 'completed']);
  });
});
