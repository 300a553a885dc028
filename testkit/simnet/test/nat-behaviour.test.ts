import type { NatDependence, NatSpec } from '@claw/scenarios';
import { describe, expect, test } from 'vitest';
import { type Endpoint, openSimnet, type Simnet, type UdpSocket } from '../src/index.ts';
import {
  attributeOf,
  decodeStun,
  decodeStunAddress,
  encodeStun,
  STUN_ATTRIBUTE,
  STUN_METHOD,
} from '../src/stun/message.ts';
import { behindRouters, OTHER_SERVER, PLAIN_NAT, SERVER } from './topologies.ts';

const DEPENDENCES: readonly NatDependence[] = [
  'endpoint-independent',
  'address-dependent',
  'address-and-port-dependent',
];

/** A STUN client: one transaction at a time, 500 ms for an answer. */
class Probe {
  readonly #simnet: Simnet;
  readonly #socket: UdpSocket;
  readonly #clock;
  #transactions = 0;

  constructor(simnet: Simnet, host: string) {
    this.#simnet = simnet;
    this.#clock = simnet.host(host).clock;
    this.#socket = simnet.host(host).bindUdp();
  }

  /** The mapped address, or undefined when nothing came back. */
  async ask(server: Endpoint, change = 0): Promise<Endpoint | undefined> {
    this.#transactions += 1;
    const transaction = Buffer.alloc(12, this.#transactions);
    const value = Buffer.alloc(4);
    value.writeUInt32BE(change);
    const attributes = change ? [{ type: STUN_ATTRIBUTE.changeRequest, value }] : [];
    const answer = new Promise<Endpoint | undefined>((resolve) => {
      this.#socket.onMessage((bytes) => {
        const response = decodeStun(bytes);
        if (!response.transaction.equals(transaction)) return;
        resolve(decodeStunAddress(attributeOf(response, STUN_ATTRIBUTE.xorMappedAddress) as Buffer, transaction));
      });
      this.#clock.setTimer(500, () => resolve(undefined));
    });
    this.#socket.send(encodeStun({ method: STUN_METHOD.binding, class: 'request', transaction, attributes }), server);
    return this.#simnet.runUntil(answer, this.#simnet.nowMs + 1000);
  }
}

/** RFC 5780, sections 4.3 and 4.4. */
async function classify(simnet: Simnet, host: string): Promise<{ mapping: NatDependence; filtering: NatDependence }> {
  const mapping = new Probe(simnet, host);
  const first = await mapping.ask({ address: SERVER, port: 3478 });
  const second = await mapping.ask({ address: OTHER_SERVER, port: 3478 });
  const third = await mapping.ask({ address: OTHER_SERVER, port: 3479 });
  const filtering = new Probe(simnet, host);
  await filtering.ask({ address: SERVER, port: 3478 });
  const byOther = await filtering.ask({ address: SERVER, port: 3478 }, 6);
  const byPort = await filtering.ask({ address: SERVER, port: 3478 }, 2);
  const of = (independent: boolean, address: boolean): NatDependence =>
    independent ? 'endpoint-independent' : address ? 'address-dependent' : 'address-and-port-dependent';
  return {
    mapping: of(first?.port === second?.port, second?.port === third?.port),
    filtering: of(!!byOther, !!byPort),
  };
}

describe('a probe by RFC 5780 tells', () => {
  for (const mapping of DEPENDENCES) {
    for (const filtering of DEPENDENCES) {
      test(`${mapping} mapping and ${filtering} filtering`, async () => {
        const nat: NatSpec = { ...PLAIN_NAT, mapping, filtering, ports: { kind: 'sequential' } };
        using simnet = openSimnet(behindRouters({ nat }), { seed: 1 });
        expect(await classify(simnet, 'a')).toEqual({ mapping, filtering });
      });
    }
  }

  test('the outer mapping and the stricter filter of a NAT behind a NAT', async () => {
    const nat = (changes: Partial<NatSpec>): NatSpec => ({ ...PLAIN_NAT, ...changes });
    const topology = behindRouters({ nat: nat({ mapping: 'address-dependent', ports: { kind: 'random' } }) });
    const delayed = {
      networks: { ...topology.networks, inner: { ipv4: '10.9.0.0/24' } },
      nodes: {
        ...topology.nodes,
        inner: {
          kind: 'router',
          interfaces: {
            inside: { network: 'inner', ipv4: '10.9.0.1' },
            outside: { network: 'lana', ipv4: '192.168.1.9' },
          },
          gateway: { ipv4: '192.168.1.1' },
          nat: nat({ filtering: 'address-and-port-dependent' }),
        },
        deep: {
          kind: 'host',
          interfaces: { eth0: { network: 'inner', ipv4: '10.9.0.5' } },
          gateway: { ipv4: '10.9.0.1' },
        },
      },
    } as const;
    using simnet = openSimnet(delayed, { seed: 1 });
    expect(await classify(simnet, 'deep')).toEqual({
      mapping: 'address-dependent',
      filtering: 'address-and-port-dependent',
    });
    expect(simnet.nat('inner').mappings(simnet.nowMs)[0]?.inside.address).toBe('10.9.0.5');
    expect(simnet.nat('ra').mappings(simnet.nowMs)[0]?.inside.address).toBe('192.168.1.9');
  });
});

describe('port forwarding on request', () => {
  const nat: NatSpec = { ...PLAIN_NAT, filtering: 'address-and-port-dependent', portMapping: ['nat-pmp', 'pcp'] };

  /** Sends one request to the gateway and returns its answer. */
  async function request(simnet: Simnet, bytes: Buffer): Promise<Buffer> {
    const socket = simnet.host('a').bindUdp();
    const answer = new Promise<Buffer>((resolve) => socket.onMessage(resolve));
    socket.send(bytes, { address: '192.168.1.1', port: 5351 });
    return simnet.runUntil(answer, simnet.nowMs + 1000);
  }

  /** Whether a datagram from b, unasked, reaches port 7000 of a by the outside port. */
  async function isOpen(simnet: Simnet, outsidePort: number): Promise<boolean> {
    const inside = simnet.host('a').bindUdp({ port: 7000 });
    let isReached = false;
    inside.onMessage(() => {
      isReached = true;
    });
    const other = simnet.host('b').bindUdp();
    other.send(Buffer.from('hello'), { address: '20.0.1.1', port: outsidePort });
    await simnet.run(simnet.nowMs + 100);
    inside.close();
    other.close();
    return isReached;
  }

  test('NAT-PMP opens a port to everyone until its lifetime ends', async () => {
    using simnet = openSimnet(behindRouters({ nat }), { seed: 1 });
    expect((await request(simnet, Buffer.of(0, 0))).subarray(8).join('.')).toBe('20.0.1.1');
    const map = Buffer.from('000100001b581f4000000e10', 'hex');
    const answer = await request(simnet, map);
    expect([answer.readUInt16BE(2), answer.readUInt16BE(8), answer.readUInt16BE(10), answer.readUInt32BE(12)]).toEqual([
      0, 7000, 8000, 3600,
    ]);
    expect(await isOpen(simnet, 8000)).toBe(true);
    await simnet.run(3_600_100);
    expect(await isOpen(simnet, 8000)).toBe(false);
  });

  test('PCP opens a port, answers with the outside address, and closes it when asked for no lifetime', async () => {
    using simnet = openSimnet(behindRouters({ nat }), { seed: 1 });
    const map = (lifetimeS: number) => {
      const bytes = Buffer.alloc(60);
      bytes.set([2, 1]);
      bytes.writeUInt32BE(lifetimeS, 4);
      bytes.set([0xff, 0xff, 192, 168, 1, 10], 18);
      bytes.fill(9, 24, 36);
      bytes[36] = 17;
      bytes.writeUInt16BE(7000, 40);
      bytes.writeUInt16BE(8000, 42);
      return bytes;
    };
    const answer = await request(simnet, map(600));
    expect([answer[1], answer[3], answer.readUInt16BE(42), answer.subarray(56, 60).join('.')]).toEqual([
      129,
      0,
      8000,
      '20.0.1.1',
    ]);
    expect(await isOpen(simnet, 8000)).toBe(true);
    expect((await request(simnet, map(0)))[3]).toBe(0);
    expect(await isOpen(simnet, 8000)).toBe(false);
  });
});
