import type { NatSpec } from '@claw/scenarios';
import { describe, expect, test } from 'vitest';
import { randomStream } from '../src/core/random-stream.ts';
import { type Flow, NatCore } from '../src/index.ts';
import { PLAIN_NAT } from './topologies.ts';

const OUTSIDE = '203.0.113.1';
const REMOTE = { address: '198.51.100.9', port: 443 };
const OTHER = { address: '198.51.100.8', port: 444 };

const natOf = (spec: Partial<NatSpec> = {}, seed = 1) =>
  new NatCore({ ...PLAIN_NAT, ...spec }, { outsideAddress: OUTSIDE, random: randomStream(seed, 'nat') });
const out = (port: number, destination = REMOTE, address = '10.0.0.2'): Flow => ({
  protocol: 'udp',
  source: { address, port },
  destination,
});
const back = (port: number, source = REMOTE): Flow => ({
  protocol: 'udp',
  source,
  destination: { address: OUTSIDE, port },
});

/** Outside ports of new mappings, one after the other. */
const portsOf = (nat: NatCore, count: number, nowMs = 0, address?: string) =>
  Array.from({ length: count }, (_, index) => nat.outbound(out(5000 + index, REMOTE, address), nowMs)?.source.port);

describe('port allocation', () => {
  test('preserving keeps the inside port, and takes the next when another host has it', () => {
    const nat = natOf();
    expect(nat.outbound(out(5000), 0)?.source).toEqual({ address: OUTSIDE, port: 5000 });
    expect(nat.outbound(out(5000, REMOTE, '10.0.0.3'), 0)?.source.port).toBe(5001);
  });

  test('sequential steps by its stride and wraps at the end', () => {
    expect(portsOf(natOf({ ports: { kind: 'sequential', first: 40_000, stride: 3 } }), 3)).toEqual([
      40_000, 40_003, 40_006,
    ]);
    expect(portsOf(natOf({ ports: { kind: 'sequential', first: 65_535 } }), 2)).toEqual([65_535, 1024]);
  });

  test('random spreads over all ports and never hands one out twice', () => {
    const ports = portsOf(natOf({ ports: { kind: 'random' } }), 5000) as number[];
    expect(new Set(ports).size).toBe(5000);
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(1024);
    expect(ports.reduce((sum, port) => sum + port) / 5000).toBeCloseTo((1024 + 65_535) / 2, -3);
  });

  test('block gives each inside address ports of its own blocks, up to its quota', () => {
    const nat = natOf({ ports: { kind: 'block', blockSize: 64, quota: 100 } });
    const first = portsOf(nat, 120, 0, '10.0.0.2');
    const blocks = (ports: (number | undefined)[]) =>
      new Set(ports.filter((port) => port !== undefined).map((port) => Math.floor((port - 1024) / 64)));
    expect(first.filter((port) => port !== undefined)).toHaveLength(100);
    expect(blocks(first).size).toBe(2);
    const second = portsOf(nat, 64, 0, '10.0.0.3');
    expect(blocks(second).size).toBe(1);
    expect([...blocks(second)].some((block) => blocks(first).has(block))).toBe(false);
    expect(portsOf(nat, 1, 120_001, '10.0.0.2')[0]).toBeDefined();
  });

  test('foreign flows move a sequential NAT on by their rate', () => {
    const nat = natOf({ ports: { kind: 'sequential', first: 10_000 }, foreignMappingsPerSecond: 100 });
    const [first] = portsOf(nat, 1, 0) as [number];
    const [later] = portsOf(nat, 2, 10_000).slice(1) as [number];
    expect(later - first).toBeGreaterThan(900);
    expect(later - first).toBeLessThan(1100);
  });

  test('no port is left when foreign flows hold them all', () => {
    const nat = natOf({ ports: { kind: 'random' }, foreignMappingsPerSecond: 2000 });
    expect(portsOf(nat, 1, 100_000)).toEqual([undefined]);
  });
});

describe('a mapping', () => {
  test('lives for its time after the last packet out, not after packets in', () => {
    const nat = natOf({ mappingLifetimeMs: 30_000 });
    nat.outbound(out(5000), 0);
    nat.outbound(out(5000), 20_000);
    expect(nat.inbound(back(5000), 49_999)?.destination.port).toBe(5000);
    expect(nat.inbound(back(5000), 50_000)).toBeUndefined();
    expect(nat.mappings(50_000)).toEqual([]);
  });

  test('of TCP lives two hours once both sides spoke, and ten seconds after both FINs or a RST', () => {
    const tcp = (flow: Flow, tcpFlags: number): Flow => ({ ...flow, protocol: 'tcp', tcpFlags });
    const hour = 3_600_000;
    const nat = natOf();
    nat.outbound(tcp(out(5000), 2), 0);
    nat.inbound(tcp(back(5000), 18), 10);
    nat.outbound(tcp(out(5000), 16), 20);
    expect(nat.inbound(tcp(back(5000), 16), 2 * hour)).toBeDefined();
    nat.outbound(tcp(out(5000), 17), 2 * hour);
    nat.inbound(tcp(back(5000), 17), 2 * hour + 10);
    expect(nat.mappings(2 * hour + 10_009)).toHaveLength(1);
    expect(nat.mappings(2 * hour + 10_010)).toHaveLength(0);
    nat.outbound(tcp(out(5001), 2), 3 * hour);
    nat.inbound(tcp(back(5001), 4), 3 * hour);
    expect(nat.mappings(3 * hour + 10_000)).toHaveLength(0);
  });

  test('of an ICMP echo replaces the identifier of the inside alone', () => {
    const nat = natOf({ ports: { kind: 'sequential', first: 2000 } });
    const echo: Flow = {
      protocol: 'icmp',
      source: { address: '10.0.0.2', port: 7 },
      destination: { address: REMOTE.address, port: 7 },
    };
    expect(nat.outbound(echo, 0)?.source.port).toBe(2000);
    const reply: Flow = {
      protocol: 'icmp',
      source: { address: REMOTE.address, port: 2000 },
      destination: { address: OUTSIDE, port: 2000 },
    };
    expect(nat.inbound(reply, 1)?.destination).toEqual({ address: '10.0.0.2', port: 7 });
  });

  test('is gone when the outside address changes', () => {
    const nat = natOf();
    nat.outbound(out(5000), 0);
    nat.setOutsideAddress('203.0.113.2');
    expect(nat.mappings(1)).toEqual([]);
    expect(nat.outbound(out(5000), 1)?.source.address).toBe('203.0.113.2');
  });
});

describe('hairpin', () => {
  const second = out(6000, { address: OUTSIDE, port: 5000 }, '10.0.0.3');

  test('reaches the inside with the outside address as its source when on', () => {
    const nat = natOf({ hairpin: true });
    nat.outbound(out(5000), 0);
    expect(nat.hairpin(second, 1)).toMatchObject({
      source: { address: OUTSIDE, port: 6000 },
      destination: { address: '10.0.0.2', port: 5000 },
    });
  });

  test('drops when off, and where the filter does not let the sender in', () => {
    const nats = [natOf(), natOf({ hairpin: true, filtering: 'address-dependent' })];
    for (const nat of nats) {
      nat.outbound(out(5000), 0);
      expect(nat.hairpin(second, 1)).toBeUndefined();
    }
  });
});

test('ICMP errors are translated back to who sent the packet, and forth', () => {
  const nat = natOf({ mapping: 'address-and-port-dependent', ports: { kind: 'sequential', first: 2000 } });
  nat.outbound(out(5000), 0);
  const quoted: Flow = { protocol: 'udp', source: { address: OUTSIDE, port: 2000 }, destination: REMOTE };
  expect(nat.inboundError(quoted, 1)?.source).toEqual({ address: '10.0.0.2', port: 5000 });
  const inside: Flow = { protocol: 'udp', source: REMOTE, destination: { address: '10.0.0.2', port: 5000 } };
  expect(nat.outboundError(inside, 1)?.destination).toEqual({ address: OUTSIDE, port: 2000 });
  expect(nat.inboundError({ ...quoted, source: { address: OUTSIDE, port: 2001 } }, 1)).toBeUndefined();
});

test('a filter forgets a remote end that was not spoken to for a lifetime, though the mapping lives', () => {
  const nat = natOf({ filtering: 'address-and-port-dependent', mappingLifetimeMs: 10_000 });
  nat.outbound(out(5000, OTHER), 0);
  nat.outbound(out(5000, REMOTE), 9000);
  expect(nat.inbound(back(5000, OTHER), 9500)).toBeDefined();
  expect(nat.inbound(back(5000, OTHER), 10_500)).toBeUndefined();
  expect(nat.inbound(back(5000, REMOTE), 10_500)).toBeDefined();
});
