import { describe, expect, test } from 'vitest';
import { openSimnet, type Simnet } from '../src/index.ts';
import { readPcapng } from './read-pcapng.ts';
import { behindRouters, PLAIN_NAT, pair, SERVER } from './topologies.ts';

/** a sends to b and to nobody over a bad link: UDP, TCP and ICMP, some of it corrupt. */
async function busy(seed: number): Promise<Simnet> {
  const link = { delayMs: 3, jitterMs: 1, corruptShare: 0.2, loss: { model: 'bernoulli', share: 0.1 } } as const;
  const simnet = openSimnet(pair(link), { seed, record: true });
  const [a, b] = [simnet.host('a'), simnet.host('b')];
  b.listenTcp({ port: 80 }, (stream) => void stream.write(Buffer.alloc(5000)).then(() => stream.end()));
  const stream = await simnet.runUntil(a.connectTcp({ address: '2001:db8::2', port: 80 }), 60_000);
  stream.end();
  const socket = a.bindUdp();
  for (const address of ['10.0.0.2', '2001:db8::2']) {
    for (let length = 0; length < 20; length += 1) socket.send(Buffer.alloc(length, length), { address, port: 9 });
  }
  await simnet.run(30_000);
  return simnet;
}

describe('a simulation', () => {
  test('is the same to the byte with the same seed, and another with another', async () => {
    const [first, again, other] = [await busy(1), await busy(1), await busy(2)].map((simnet) => simnet.capture());
    expect(first?.equals(again as Buffer)).toBe(true);
    expect(first?.equals(other as Buffer)).toBe(false);
  });

  test('writes captures whose packets have right lengths and checksums, but for what was corrupted', async () => {
    using simnet = await busy(3);
    const { interfaces, packets } = readPcapng(simnet.capture('b'));
    expect(interfaces).toEqual(['a eth0', 'b eth0']);
    expect(new Set(packets.map((packet) => packet.interface))).toEqual(new Set([1]));
    expect(new Set(packets.map((packet) => packet.protocol))).toEqual(new Set([1, 6, 17, 58]));
    expect(packets.filter((packet) => packet.direction === 'out').every((packet) => packet.isChecksumRight)).toBe(true);
    const wrong = packets.filter((packet) => !packet.isChecksumRight).length;
    expect(wrong).toBeGreaterThan(0);
    expect(wrong).toBeLessThan(packets.length / 2);
    const stamps = packets.map((packet) => packet.atNs);
    expect(stamps).toEqual(stamps.toSorted((a, b) => Number(a - b)));
    expect(Number(stamps[0])).toBeGreaterThanOrEqual(Date.UTC(2026, 0, 1) * 1e6);
  });

  test('leaves no event behind when every program is done', async () => {
    using simnet = await busy(4);
    await simnet.run(200_000);
    expect(simnet.pendingEvents).toBe(0);
  });

  test('runs promises to their end before time moves on', async () => {
    using simnet = openSimnet(pair(), { seed: 1 });
    const { clock } = simnet.host('a');
    const seen: number[] = [];
    clock.setTimer(5, () => {
      void (async () => {
        for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
        seen.push(simnet.nowMs);
      })();
    });
    clock.setTimer(5.001, () => seen.push(simnet.nowMs));
    await simnet.run(10);
    expect(seen).toEqual([5, 5.001]);
  });

  test('says so when a promise stays open, and when a handler throws', async () => {
    using simnet = openSimnet(pair(), { seed: 1 });
    await expect(simnet.runUntil(new Promise(() => {}), 1000)).rejects.toMatchObject({ code: 'SIMNET_STALLED' });
    simnet.host('a').clock.setTimer(1, () => {
      throw new RangeError('of a handler');
    });
    await expect(simnet.run(2000)).rejects.toThrow('of a handler');
    await simnet.run(3000);
    expect(simnet.nowMs).toBe(3000);
  });

  test('falls silent when it is closed', async () => {
    const simnet = openSimnet(pair(), { seed: 1 });
    simnet.host('a').clock.setTimer(1, () => expect.unreachable());
    simnet.close();
    await simnet.run(10);
    expect(simnet.pendingEvents).toBe(0);
  });

  test('refuses a topology with faults', () => {
    const topology = pair();
    const nodes = {
      ...topology.nodes,
      c: { kind: 'host', interfaces: { eth0: { network: 'nowhere', ipv4: '10.0.0.3' } } },
    } as const;
    expect(() => openSimnet({ ...topology, nodes }, { seed: 1 })).toThrow(
      expect.objectContaining({ code: 'TOPOLOGY_INVALID' }),
    );
  });

  test('carries two hosts behind the same NAT to each other by hairpin, when it has one', async () => {
    const heard = async (hairpin: boolean) => {
      const topology = behindRouters({ nat: { ...PLAIN_NAT, hairpin } });
      const second = {
        kind: 'host',
        interfaces: { eth0: { network: 'lana', ipv4: '192.168.1.11' } },
        gateway: { ipv4: '192.168.1.1' },
      } as const;
      using simnet = openSimnet({ ...topology, nodes: { ...topology.nodes, second } }, { seed: 1 });
      const socket = simnet.host('a').bindUdp({ port: 5000 });
      const senders: string[] = [];
      socket.onMessage((_bytes, from) => senders.push(from.address));
      socket.send(Buffer.from('x'), { address: SERVER, port: 1 });
      await simnet.run(50);
      simnet.host('second').bindUdp().send(Buffer.from('x'), { address: '20.0.1.1', port: 5000 });
      await simnet.run(100);
      return senders;
    };
    expect(await heard(true)).toEqual(['20.0.1.1']);
    expect(await heard(false)).toEqual([]);
  });
});

test('a minute of twelve hosts behind NATs, 50 packets a second each, takes well under a second', async () => {
  const one = behindRouters({ nat: PLAIN_NAT }, { nat: PLAIN_NAT });
  const networks: Record<string, { ipv4: string }> = { internet: { ipv4: '20.0.0.0/16' } };
  const nodes: Record<string, (typeof one.nodes)[string]> = {};
  for (let index = 1; index <= 12; index += 1) {
    networks[`lan${index}`] = { ipv4: `192.168.${index}.0/24` };
    const inside = { network: `lan${index}`, ipv4: `192.168.${index}.1` };
    const outside = { network: 'internet', ipv4: `20.0.${index}.1`, up: { delayMs: 10 }, down: { delayMs: 10 } };
    nodes[`r${index}`] = { kind: 'router', interfaces: { inside, outside }, nat: PLAIN_NAT };
    const eth0 = { network: `lan${index}`, ipv4: `192.168.${index}.10` };
    nodes[`h${index}`] = { kind: 'host', interfaces: { eth0 }, gateway: { ipv4: `192.168.${index}.1` } };
  }
  const startMs = performance.now();
  using simnet = openSimnet({ networks, nodes }, { seed: 1 });
  let received = 0;
  for (let index = 1; index <= 12; index += 1) {
    const host = simnet.host(`h${index}`);
    const socket = host.bindUdp({ port: 5000 });
    socket.onMessage(() => {
      received += 1;
    });
    const to = { address: `20.0.${(index % 12) + 1}.1`, port: 5000 };
    const tick = () => {
      socket.send(Buffer.alloc(200), to);
      host.clock.setTimer(20, tick);
    };
    tick();
  }
  await simnet.run(60_000);
  expect(received).toBeGreaterThan(35_900);
  // About 300 ms here; the bound leaves room for a loaded machine.
  expect(performance.now() - startMs).toBeLessThan(3000);
});
