import { errorCode } from '@claw/base';
import type { LinkSpec } from '@claw/scenarios';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openSimnet, type Simnet, type TcpOptions, type TcpStream } from '../src/index.ts';
import { behindRouters, PLAIN_NAT, pair } from './topologies.ts';

const B = '10.0.0.2';

interface Streams {
  readonly a: TcpStream;
  readonly b: TcpStream;
}

async function connect(simnet: Simnet, options: TcpOptions = {}, address = B): Promise<Streams> {
  const accepted = new Promise<TcpStream>((resolve) => simnet.host('b').listenTcp({ ...options, port: 80 }, resolve));
  const both = Promise.all([simnet.host('a').connectTcp({ ...options, address, port: 80 }), accepted]);
  const [a, b] = await simnet.runUntil(both, simnet.nowMs + 120_000);
  return { a, b };
}

async function readAll(stream: TcpStream): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let part = await stream.read(); part; part = await stream.read()) parts.push(part);
  return Buffer.concat(parts);
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (error: unknown) => errorCode(error),
  );
const numbered = (length: number) =>
  Buffer.from(Array.from({ length }, (_, index) => (index * 7 + (index >> 8)) & 255));

/** Mbit/s of a transfer for ten seconds. */
async function throughput(link: LinkSpec, backDelayMs: number): Promise<number> {
  using simnet = openSimnet(pair(link, { delayMs: backDelayMs }), { seed: 1 });
  const { a, b } = await connect(simnet, { sendBufferBytes: 4 * 1024 * 1024 });
  const endMs = simnet.nowMs + 10_000;
  let bytes = 0;
  const reading = (async () => {
    for (let part = await b.read(); part; part = await b.read()) bytes += part.length;
  })();
  const writing = (async () => {
    while (simnet.nowMs < endMs) await a.write(Buffer.alloc(65_536));
  })();
  await simnet.run(endMs);
  a.reset();
  await simnet.runUntil(Promise.allSettled([reading, writing]), endMs + 1000);
  return (bytes * 8) / 10_000_000;
}

describe('a stream', () => {
  test('carries every byte once and in order over loss, reordering, duplication and corruption', async () => {
    const runs = fc.asyncProperty(fc.integer(), fc.nat(60_000), async (seed, length) => {
      const bad: LinkSpec = {
        rateBitsPerSecond: 5_000_000,
        delayMs: 10,
        jitterMs: 5,
        loss: { model: 'bernoulli', share: 0.05 },
        reorder: { share: 0.05, holdMs: 15 },
        duplicateShare: 0.05,
        corruptShare: 0.03,
      };
      using simnet = openSimnet(pair(bad, bad), { seed });
      const { a, b } = await connect(simnet);
      const there = numbered(length);
      const back = numbered(length >> 1).reverse();
      const transfers = Promise.all([a.write(there), b.write(back), readAll(b), readAll(a)]);
      a.end();
      b.end();
      const [, , atB, atA] = await simnet.runUntil(transfers, 600_000);
      expect(atB.equals(there)).toBe(true);
      expect(atA.equals(back)).toBe(true);
      await simnet.runUntil(Promise.all([a.closed, b.closed]), 900_000);
      await simnet.run(simnet.nowMs + 60_000);
      expect(simnet.pendingEvents).toBe(0);
    });
    await fc.assert(runs, { numRuns: 25, examples: [[-1849318491, 59_861]] });
  });

  test('comes near the rate of its link', async () => {
    // 1,460 of 1,514 bytes are payload.
    expect(await throughput({ rateBitsPerSecond: 20_000_000, delayMs: 10 }, 10)).toBeGreaterThan(
      20 * (1460 / 1514) * 0.95,
    );
    expect(await throughput({ rateBitsPerSecond: 10_000_000, delayMs: 50 }, 50)).toBeGreaterThan(
      10 * (1460 / 1514) * 0.9,
    );
  });

  test('makes a writer wait for a reader, and goes on when it reads', async () => {
    using simnet = openSimnet(pair({ delayMs: 5 }), { seed: 1 });
    const { a, b } = await connect(simnet, { receiveBufferBytes: 20_000, sendBufferBytes: 10_000 });
    let written = 0;
    const writing = (async () => {
      while (written < 200_000) {
        await a.write(Buffer.alloc(5000));
        written += 5000;
      }
      a.end();
    })();
    await simnet.run(30_000);
    expect(written).toBeLessThanOrEqual(40_000);
    const [bytes] = await simnet.runUntil(Promise.all([readAll(b), writing]), 300_000);
    expect(bytes).toHaveLength(200_000);
  });

  test('answers after the other side said all it had', async () => {
    using simnet = openSimnet(pair({ delayMs: 5 }), { seed: 1 });
    const { a, b } = await connect(simnet);
    await a.write(Buffer.from('question'));
    a.end();
    expect(String(await simnet.runUntil(readAll(b), 1000))).toBe('question');
    await b.write(Buffer.from('answer'));
    b.end();
    expect(String(await simnet.runUntil(readAll(a), 1000))).toBe('answer');
    await simnet.runUntil(Promise.all([a.closed, b.closed]), 1000);
    await expect(a.write(Buffer.from('x'))).rejects.toThrow(TypeError);
  });

  test('breaks at the peer when it is reset', async () => {
    using simnet = openSimnet(pair({ delayMs: 5 }), { seed: 1 });
    const { a, b } = await connect(simnet);
    const reading = codeOf(b.read());
    a.reset();
    expect(await simnet.runUntil(reading, 1000)).toBe('SIMNET_RESET');
    expect(await codeOf(b.closed)).toBe('SIMNET_RESET');
  });

  test('times out when nothing is acknowledged any more', async () => {
    using simnet = openSimnet(pair({ delayMs: 5 }), { seed: 1 });
    const { a } = await connect(simnet, { timeoutMs: 20_000 });
    simnet.apply({ atMs: 0, do: 'partition', nodes: ['a'] });
    await a.write(Buffer.from('x'));
    expect(await simnet.runUntil(codeOf(a.closed), 60_000)).toBe('SIMNET_TIMEOUT');
    await simnet.run(200_000);
    expect(simnet.pendingEvents).toBe(0);
  });

  test('passes a NAT, which forgets it after the end', async () => {
    using simnet = openSimnet(behindRouters({ nat: PLAIN_NAT }, { nat: { ...PLAIN_NAT, portMapping: ['nat-pmp'] } }), {
      seed: 1,
    });
    const forward = simnet.host('b').bindUdp();
    forward.send(Buffer.from('000200000050005000000e10', 'hex'), { address: '192.168.2.1', port: 5351 });
    await simnet.run(100);
    const { a, b } = await connect(simnet, {}, '20.0.2.1');
    await a.write(Buffer.from('through two NATs'));
    a.end();
    b.end();
    expect(String(await simnet.runUntil(readAll(b), 2000))).toBe('through two NATs');
    expect(b.remote.address).toBe('20.0.1.1');
    await simnet.run(30_000);
    expect(simnet.nat('ra').mappings(simnet.nowMs)).toEqual([]);
  });
});

describe('connecting', () => {
  test('is refused where nobody listens, and times out where nobody is', async () => {
    using simnet = openSimnet(pair(), { seed: 1 });
    const a = simnet.host('a');
    expect(await simnet.runUntil(codeOf(a.connectTcp({ address: B, port: 81 })), 1000)).toBe('SIMNET_REFUSED');
    const silent = codeOf(a.connectTcp({ address: '10.0.0.77', port: 80, connectTimeoutMs: 5000 }));
    expect(await simnet.runUntil(silent, 10_000)).toBe('SIMNET_TIMEOUT');
    expect(simnet.nowMs).toBeCloseTo(5000);
    expect(await codeOf(a.connectTcp({ address: '8.8.8.8', port: 80 }))).toBe('SIMNET_NO_ROUTE');
  });

  test('from both sides at once makes one connection', async () => {
    using simnet = openSimnet(pair({ delayMs: 10 }, { delayMs: 10 }), { seed: 1 });
    const calls = [
      simnet.host('a').connectTcp({ address: B, port: 2000, localPort: 1000 }),
      simnet.host('b').connectTcp({ address: '10.0.0.1', port: 1000, localPort: 2000 }),
    ] as const;
    const [a, b] = await simnet.runUntil(Promise.all(calls), 1000);
    await a.write(Buffer.from('hello'));
    expect(String(await simnet.runUntil(b.read(), 1000))).toBe('hello');
  });

  test('works over IPv6', async () => {
    using simnet = openSimnet(pair({ delayMs: 1 }), { seed: 1 });
    const { a, b } = await connect(simnet, {}, '2001:db8::2');
    await b.write(Buffer.from('six'));
    expect(String(await simnet.runUntil(a.read(), 1000))).toBe('six');
    expect(a.local.address).toBe('2001:db8::1');
  });
});
