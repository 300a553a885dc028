import type { InterfaceSpec, Topology } from '@claw/scenarios';
import { describe, expect, test } from 'vitest';
import { openSimnet, type TcpStream, type UdpProblem } from '../src/index.ts';
import { pair } from './topologies.ts';

/** a, a router, b; the network of b is as the router's interface says. */
function routed(outside: Partial<InterfaceSpec>): Topology {
  const host = (network: string, last: number) =>
    ({
      kind: 'host',
      interfaces: { eth0: { network, ipv4: `10.0.${last}.2`, ipv6: `2001:db8:${last}::2` } },
      gateway: { ipv4: `10.0.${last}.1`, ipv6: `2001:db8:${last}::1` },
    }) as const;
  return {
    networks: {
      one: { ipv4: '10.0.1.0/24', ipv6: '2001:db8:1::/64' },
      two: { ipv4: '10.0.2.0/24', ipv6: '2001:db8:2::/64' },
    },
    nodes: {
      a: host('one', 1),
      b: host('two', 2),
      r: {
        kind: 'router',
        interfaces: {
          inside: { network: 'one', ipv4: '10.0.1.1', ipv6: '2001:db8:1::1' },
          outside: { network: 'two', ipv4: '10.0.2.1', ipv6: '2001:db8:2::1', ...outside },
        },
      },
    },
  };
}

async function transfer(topology: Topology): Promise<number> {
  using simnet = openSimnet(topology, { seed: 1 });
  const accepted = new Promise<TcpStream>((resolve) => simnet.host('b').listenTcp({ port: 80 }, resolve));
  const calling = simnet.host('a').connectTcp({ address: '10.0.2.2', port: 80 });
  const [a, b] = await simnet.runUntil(Promise.all([calling, accepted]), 1000);
  let bytes = 0;
  const reading = (async () => {
    for (let part = await b.read(); part; part = await b.read()) bytes += part.length;
  })();
  reading.catch(() => {});
  await a.write(Buffer.alloc(100_000));
  a.end();
  await simnet.run(30_000);
  return bytes;
}

describe('a datagram', () => {
  test('is refused when the first hop does not take it', () => {
    using simnet = openSimnet(pair({}, {}, 1280), { seed: 1 });
    const socket = simnet.host('a').bindUdp();
    const send = (bytes: number, address: string) => () => socket.send(Buffer.alloc(bytes), { address, port: 9 });
    expect(send(1252, '10.0.0.2')).not.toThrow();
    expect(send(1253, '10.0.0.2')).toThrow(expect.objectContaining({ code: 'SIMNET_TOO_BIG' }));
    expect(send(1233, '2001:db8::2')).toThrow(expect.objectContaining({ code: 'SIMNET_TOO_BIG' }));
  });

  test.each(['10.0.2.2', '2001:db8:2::2'])(
    'to %s comes back as an error when a router cannot forward it',
    async (address) => {
      using simnet = openSimnet(routed({ mtuBytes: 1400 }), { seed: 1 });
      const socket = simnet.host('a').bindUdp();
      const problem = new Promise<UdpProblem>((resolve) => socket.onError(resolve));
      socket.send(Buffer.alloc(1420), { address, port: 9 });
      const expected = { problem: 'too-big', destination: { address, port: 9 }, nextHopMtuBytes: 1400 };
      expect(await simnet.runUntil(problem, 1000)).toEqual(expected);
    },
  );

  test('to a port where nobody is comes back as an error', async () => {
    using simnet = openSimnet(routed({}), { seed: 1 });
    const socket = simnet.host('a').bindUdp();
    const problem = new Promise<UdpProblem>((resolve) => socket.onError(resolve));
    socket.send(Buffer.from('x'), { address: '10.0.2.2', port: 9 });
    expect(await simnet.runUntil(problem, 1000)).toEqual({
      problem: 'port-unreachable',
      destination: { address: '10.0.2.2', port: 9 },
    });
  });
});

describe('a stream', () => {
  test('shrinks its segments when a router says how much passes', async () => {
    expect(await transfer(routed({ mtuBytes: 1300 }))).toBe(100_000);
  });

  test('connects and then hangs where large packets vanish', async () => {
    expect(await transfer(routed({ up: { dropAboveBytes: 1300 } }))).toBe(0);
  });
});

describe('a datagram that may be fragmented', () => {
  /** What arrives of datagrams of these sizes, sent one after the other. */
  async function arrivals(outside: Partial<InterfaceSpec>, to: string, sizes: readonly number[]): Promise<number[]> {
    using simnet = openSimnet(routed(outside), { seed: 1 });
    const arrived: number[] = [];
    simnet
      .host('b')
      .bindUdp({ port: 9 })
      .onMessage(({ length }) => arrived.push(length));
    const socket = simnet.host('a').bindUdp({ mayFragment: true });
    for (const size of sizes) {
      socket.send(Buffer.alloc(size), { address: to, port: 9 });
      await simnet.run(simnet.nowMs + 100);
    }
    return arrived;
  }

  test.each(['10.0.2.2', '2001:db8:2::2'])('to %s arrives once a router has said what passes', async (to) => {
    expect(await arrivals({ mtuBytes: 1300 }, to, [1300, 1300, 4000])).toEqual([1300, 4000]);
  });

  test('is fragmented by routers in IPv4 when its sender has begun with it', async () => {
    expect(await arrivals({ mtuBytes: 600 }, '10.0.2.2', [2000])).toEqual([2000]);
    expect(await arrivals({ mtuBytes: 1280 }, '2001:db8:2::2', [2000, 2000])).toEqual([2000]);
  });

  test('is lost in silence where its pieces are too large', async () => {
    expect(await arrivals({ up: { dropAboveBytes: 1300 } }, '10.0.2.2', [2000, 1200])).toEqual([1200]);
  });

  test('is as likely to be lost as one of its pieces', async () => {
    const loss = { model: 'bernoulli', share: 0.1 } as const;
    const count = async (bytes: number) =>
      (await arrivals({ up: { loss } }, '10.0.2.2', Array(500).fill(bytes))).length;
    expect(await count(1000)).toBeGreaterThan(430);
    // Five pieces: 0.9^5.
    expect(await count(7000)).toBeLessThan(330);
  });
});

test('an MTU that shrinks on the way is said by ICMP', async () => {
  using simnet = openSimnet(routed({}), { seed: 1 });
  const socket = simnet.host('a').bindUdp();
  const problems: UdpProblem[] = [];
  socket.onError((problem) => problems.push(problem));
  socket.send(Buffer.alloc(1400), { address: '10.0.2.2', port: 9 });
  await simnet.run(100);
  simnet.setMtu('r', 'outside', 1000);
  socket.send(Buffer.alloc(1400), { address: '10.0.2.2', port: 9 });
  await simnet.run(200);
  expect(problems.map(({ problem }) => problem)).toEqual(['port-unreachable', 'too-big']);
});
