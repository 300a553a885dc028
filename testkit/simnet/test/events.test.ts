import type { ScenarioEvent } from '@claw/scenarios';
import { describe, expect, test } from 'vitest';
import { type HostAddress, openSimnet, type Simnet } from '../src/index.ts';
import { encodeStun, STUN_METHOD } from '../src/stun/message.ts';
import { behindRouters, PLAIN_NAT, pair, SERVER } from './topologies.ts';

const down = { atMs: 0, do: 'interface-down', node: 'a', interface: 'eth0' } as const;
const codeOf = (work: () => unknown) => {
  try {
    work();
    return 'none';
  } catch (error) {
    return (error as { code?: string }).code;
  }
};

/** Numbers that b hears from a, one each 10 ms, with the time. */
function count(simnet: Simnet, to = '10.0.0.2'): { readonly at: number[] } {
  const at: number[] = [];
  simnet
    .host('b')
    .bindUdp({ port: 9 })
    .onMessage(() => at.push(simnet.nowMs));
  const { clock } = simnet.host('a');
  const socket = simnet.host('a').bindUdp();
  const send = () => {
    codeOf(() => socket.send(Buffer.from('x'), { address: to, port: 9 }));
    clock.setTimer(10, send);
  };
  send();
  return { at };
}

describe('an event', () => {
  test('takes an interface away and brings it back, and the host hears of both', async () => {
    using simnet = openSimnet(pair(), { seed: 1 });
    const heard: (readonly HostAddress[])[] = [];
    simnet.host('a').onInterfaceChange((addresses) => heard.push(addresses));
    const { at } = count(simnet);
    simnet.schedule([
      { ...down, atMs: 995 },
      { ...down, do: 'interface-up', atMs: 1995 },
    ]);
    await simnet.run(3000);
    expect(at.filter((ms) => ms > 995 && ms < 1995)).toEqual([]);
    expect(at.filter((ms) => ms > 1995).length).toBeGreaterThan(95);
    expect(heard.map((addresses) => addresses.length)).toEqual([0, 2]);
    simnet.apply(down);
    const send = () => simnet.host('a').bindUdp().send(Buffer.from('x'), { address: '10.0.0.2', port: 9 });
    expect(codeOf(send)).toBe('SIMNET_NO_ROUTE');
  });

  test('changes an address: old sockets lose theirs, a family left out is taken away', async () => {
    using simnet = openSimnet(pair(), { seed: 1 });
    const bound = simnet.host('a').bindUdp({ address: '10.0.0.1' });
    const open = simnet.host('a').bindUdp();
    const from: string[] = [];
    simnet
      .host('b')
      .bindUdp({ port: 9 })
      .onMessage((_bytes, sender) => from.push(sender.address));
    simnet.apply({ atMs: 0, do: 'set-address', node: 'a', interface: 'eth0', ipv4: '10.0.0.50' });
    expect(codeOf(() => bound.send(Buffer.from('x'), { address: '10.0.0.2', port: 9 }))).toBe('SIMNET_NO_ADDRESS');
    open.send(Buffer.from('x'), { address: '10.0.0.2', port: 9 });
    await simnet.run(10);
    expect(from).toEqual(['10.0.0.50']);
    expect(simnet.host('a').addresses()).toEqual([{ interface: 'eth0', address: '10.0.0.50' }]);
  });

  test("changes a NAT's outside address, and its mappings are gone", async () => {
    using simnet = openSimnet(behindRouters({ nat: PLAIN_NAT }), { seed: 1 });
    const seen: string[] = [];
    simnet
      .host('services')
      .bindUdp({ port: 9 })
      .onMessage((_bytes, sender) => seen.push(sender.address));
    const socket = simnet.host('a').bindUdp();
    const send = () => socket.send(Buffer.from('x'), { address: SERVER, port: 9 });
    send();
    await simnet.run(100);
    simnet.apply({ atMs: 0, do: 'set-address', node: 'ra', interface: 'outside', ipv4: '20.0.1.200' });
    expect(simnet.nat('ra').mappings(simnet.nowMs)).toEqual([]);
    send();
    await simnet.run(200);
    expect(seen).toEqual(['20.0.1.1', '20.0.1.200']);
  });

  test('changes a link: what comes later has the new delay, the queue the new rate', async () => {
    using simnet = openSimnet(pair({ delayMs: 5 }), { seed: 1 });
    const { at } = count(simnet);
    simnet.schedule([
      { atMs: 101, do: 'set-link', node: 'a', interface: 'eth0', direction: 'up', link: { delayMs: 500 } },
    ]);
    await simnet.run(1000);
    expect(at.filter((ms) => ms > 106 && ms < 610)).toEqual([]);
    expect(at.includes(610)).toBe(true);

    using stepped = openSimnet(pair({ rateBitsPerSecond: 1_000_000, queueBytes: 1_000_000 }), { seed: 1 });
    let lastMs = 0;
    stepped
      .host('b')
      .bindUdp({ port: 9 })
      .onMessage(() => {
        lastMs = stepped.nowMs;
      });
    const socket = stepped.host('a').bindUdp();
    for (let index = 0; index < 100; index += 1) socket.send(Buffer.alloc(1208), { address: '10.0.0.2', port: 9 });
    const link = { rateBitsPerSecond: 10_000_000, queueBytes: 1_000_000 };
    stepped.schedule([{ atMs: 500, do: 'set-link', node: 'a', interface: 'eth0', direction: 'both', link }]);
    await stepped.run(2000);
    expect(lastMs).toBeCloseTo(550, 6);
  });

  test('cuts the network in two and heals it', async () => {
    using simnet = openSimnet(pair(), { seed: 1 });
    const { at } = count(simnet);
    simnet.schedule([
      { atMs: 995, do: 'partition', nodes: ['a'] },
      { atMs: 1995, do: 'heal' },
    ]);
    await simnet.run(3000);
    expect(at.filter((ms) => ms > 995 && ms < 1995)).toEqual([]);
    expect(at).toHaveLength(201);
  });

  test('puts a host to sleep: its timers and its monotonic clock wait, its wall clock is right on waking', async () => {
    using simnet = openSimnet(pair(), { seed: 1 });
    const { clock } = simnet.host('a');
    const startMs = clock.now();
    const { at } = count(simnet);
    simnet.schedule([
      { atMs: 995, do: 'sleep', node: 'a' },
      { atMs: 5995, do: 'wake', node: 'a' },
    ]);
    await simnet.run(7000);
    expect(at.filter((ms) => ms > 995 && ms < 5995)).toEqual([]);
    expect(at).toHaveLength(201);
    expect(clock.monotonicMs()).toBe(2000);
    expect(clock.now() - startMs).toBe(7000);
    expect(simnet.host('b').clock.monotonicMs()).toBe(7000);
  });

  test('steps the wall clock of one host', () => {
    using simnet = openSimnet(pair(), { seed: 1 });
    const { clock } = simnet.host('a');
    const before = clock.now();
    simnet.apply({ atMs: 0, do: 'clock-step', node: 'a', byMs: -3_600_000 });
    expect(clock.now() - before).toBe(-3_600_000);
    expect(clock.monotonicMs()).toBe(0);
  });

  test('kills a service and brings it back', async () => {
    using simnet = openSimnet(behindRouters({ nat: PLAIN_NAT }), { seed: 1 });
    const socket = simnet.host('a').bindUdp();
    const outcomes: string[] = [];
    socket.onMessage(() => outcomes.push('answer'));
    socket.onError(({ problem }) => outcomes.push(problem));
    const ask = async () => {
      const attributes: never[] = [];
      const transaction = Buffer.alloc(12);
      const request = encodeStun({ method: STUN_METHOD.binding, class: 'request', transaction, attributes });
      socket.send(request, { address: SERVER, port: 3478 });
      await simnet.run(simnet.nowMs + 100);
    };
    await ask();
    simnet.apply({ atMs: 0, do: 'service-down', node: 'services', service: 'turn' });
    await ask();
    simnet.apply({ atMs: 0, do: 'service-up', node: 'services', service: 'turn' });
    await ask();
    expect(outcomes).toEqual(['answer', 'port-unreachable', 'answer']);
  });

  test('moves a host to another gateway', async () => {
    using simnet = openSimnet(behindRouters({ nat: PLAIN_NAT }), { seed: 1 });
    simnet.apply({ atMs: 0, do: 'set-gateway', node: 'a', ipv4: '192.168.1.77' });
    const heard: string[] = [];
    simnet
      .host('services')
      .bindUdp({ port: 9 })
      .onMessage((_bytes, from) => heard.push(from.address));
    const send = () => simnet.host('a').bindUdp().send(Buffer.from('x'), { address: SERVER, port: 9 });
    send();
    await simnet.run(100);
    simnet.apply({ atMs: 0, do: 'set-gateway', node: 'a', ipv4: '192.168.1.1' });
    send();
    await simnet.run(200);
    expect(heard).toEqual(['20.0.1.1']);
  });

  test('that names what is not there is refused', () => {
    using simnet = openSimnet(pair(), { seed: 1 });
    const events: ScenarioEvent[] = [
      { ...down, node: 'nobody' },
      { ...down, interface: 'eth9' },
      { atMs: 0, do: 'service-down', node: 'a', service: 'turn' },
      { atMs: 0, do: 'partition', nodes: ['nobody'] },
    ];
    expect(events.map((event) => codeOf(() => simnet.apply(event)))).toEqual(events.map(() => 'SIMNET_BAD_EVENT'));
  });
});
