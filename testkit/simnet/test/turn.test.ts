import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { type Endpoint, openSimnet, SIMNET_TURN, type Simnet } from '../src/index.ts';
import { StunFrames } from '../src/services/stun-frames.ts';
import {
  attributeOf,
  decodeStun,
  decodeStunAddress,
  encodeStun,
  encodeStunAddress,
  STUN_ATTRIBUTE,
  STUN_METHOD,
  type StunAttribute,
  type StunMessage,
} from '../src/stun/message.ts';
import { behindRouters, PLAIN_NAT, SERVER } from './topologies.ts';

const { username, credential, realm } = SIMNET_TURN;
const KEY = createHash('md5').update(`${username}:${realm}:${credential}`).digest();
const B: Endpoint = { address: '20.0.2.1', port: 6000 };
const STRICT = { ...PLAIN_NAT, filtering: 'address-and-port-dependent' } as const;
const uint32 = (value: number) => Buffer.of(value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255);

/** A TURN client on host a, over UDP or TCP. */
class Client {
  readonly #simnet: Simnet;
  readonly #send: (bytes: Buffer) => void;
  readonly received: Buffer[] = [];
  nonce = Buffer.alloc(0);
  #transactions = 0;

  private constructor(simnet: Simnet, send: (bytes: Buffer) => void) {
    this.#simnet = simnet;
    this.#send = send;
  }

  static async open(simnet: Simnet, over: 'udp' | 'tcp'): Promise<Client> {
    const server = { address: SERVER, port: 3478 };
    if (over === 'udp') {
      const socket = simnet.host('a').bindUdp();
      const client = new Client(simnet, (bytes) => socket.send(bytes, server));
      socket.onMessage((bytes) => client.received.push(bytes));
      return client;
    }
    const stream = await simnet.runUntil(simnet.host('a').connectTcp(server), simnet.nowMs + 1000);
    const client = new Client(simnet, (bytes) => void stream.write(bytes));
    const frames = new StunFrames();
    const reading = async () => {
      for (let bytes = await stream.read(); bytes; bytes = await stream.read())
        client.received.push(...frames.push(bytes));
    };
    reading().catch(() => {});
    return client;
  }

  /** Sends and returns what came within 200 ms. */
  async exchange(bytes: Buffer): Promise<Buffer[]> {
    this.received.length = 0;
    this.#send(bytes);
    await this.#simnet.run(this.#simnet.nowMs + 200);
    return [...this.received];
  }

  async request(
    method: number,
    attributes: (transaction: Buffer) => StunAttribute[],
    isSigned = true,
    isRepeated = false,
  ): Promise<StunMessage> {
    if (!isRepeated) this.#transactions += 1;
    const transaction = Buffer.alloc(12, this.#transactions);
    const signing = [
      { type: STUN_ATTRIBUTE.username, value: Buffer.from(username) },
      { type: STUN_ATTRIBUTE.realm, value: Buffer.from(realm) },
      { type: STUN_ATTRIBUTE.nonce, value: this.nonce },
    ];
    const all = [...attributes(transaction), ...(isSigned ? signing : [])];
    const [answer] = await this.exchange(
      encodeStun({ method, class: 'request', transaction, attributes: all }, isSigned ? KEY : undefined),
    );
    return decodeStun(answer as Buffer);
  }

  allocate(isSigned = true, isRepeated = false): Promise<StunMessage> {
    const wish = [{ type: STUN_ATTRIBUTE.requestedTransport, value: Buffer.of(17, 0, 0, 0) }];
    return this.request(STUN_METHOD.allocate, () => wish, isSigned, isRepeated);
  }
}

const peer = (transaction: Buffer) => ({
  type: STUN_ATTRIBUTE.xorPeerAddress,
  value: encodeStunAddress(B, transaction),
});
const errorOf = (message: StunMessage) => {
  const value = attributeOf(message, STUN_ATTRIBUTE.errorCode);
  return value && (value[2] ?? 0) * 100 + (value[3] ?? 0);
};

describe.each(['udp', 'tcp'] as const)('the turn service over %s', (over) => {
  /** An allocation, its relayed address, and host b with a socket that its NAT opened to it. */
  async function allocated(simnet: Simnet) {
    const client = await Client.open(simnet, over);
    const refused = await client.allocate(false);
    expect(errorOf(refused)).toBe(401);
    client.nonce = Buffer.from(attributeOf(refused, STUN_ATTRIBUTE.nonce) as Buffer);
    const answer = await client.allocate();
    const relayed = decodeStunAddress(
      attributeOf(answer, STUN_ATTRIBUTE.xorRelayedAddress) as Buffer,
      answer.transaction,
    );
    const heard: string[] = [];
    const b = simnet.host('b').bindUdp({ port: B.port });
    b.onMessage((bytes, from) => heard.push(`${String(bytes)} from ${from.address}`));
    b.send(Buffer.from('too soon'), relayed);
    await simnet.run(simnet.nowMs + 100);
    expect(client.received.filter((bytes) => bytes.includes('too soon'))).toEqual([]);
    return { client, relayed, heard, b };
  }

  test('relays both ways for a peer that was permitted', async () => {
    using simnet = openSimnet(behindRouters({ nat: STRICT }, { nat: STRICT }), { seed: 1 });
    const { client, relayed, heard, b } = await allocated(simnet);
    const permission = await client.request(STUN_METHOD.createPermission, (transaction) => [peer(transaction)]);
    expect(permission.class).toBe('success');

    const transaction = Buffer.alloc(12);
    const attributes = [peer(transaction), { type: STUN_ATTRIBUTE.data, value: Buffer.from('to b') }];
    await client.exchange(encodeStun({ method: STUN_METHOD.send, class: 'indication', transaction, attributes }));
    expect(heard).toEqual([`to b from ${SERVER}`]);
    b.send(Buffer.from('to a'), relayed);
    client.received.length = 0;
    await simnet.run(simnet.nowMs + 100);
    const indication = decodeStun(client.received[0] as Buffer);
    expect(String(attributeOf(indication, STUN_ATTRIBUTE.data))).toBe('to a');
  });

  test('relays on a channel, and no more once the allocation was given back', async () => {
    using simnet = openSimnet(behindRouters({ nat: STRICT }, { nat: STRICT }), { seed: 1 });
    const { client, relayed, heard, b } = await allocated(simnet);
    const number = { type: STUN_ATTRIBUTE.channelNumber, value: Buffer.of(0x40, 1, 0, 0) };
    await client.request(STUN_METHOD.channelBind, (transaction) => [number, peer(transaction)]);
    await client.exchange(Buffer.from('400100046f7665720000', 'hex').subarray(0, 8));
    expect(heard).toEqual([`over from ${SERVER}`]);
    b.send(Buffer.from('back'), relayed);
    client.received.length = 0;
    await simnet.run(simnet.nowMs + 100);
    expect(client.received).toEqual([Buffer.from('400100046261636b', 'hex')]);

    const given = await client.request(STUN_METHOD.refresh, () => [
      { type: STUN_ATTRIBUTE.lifetime, value: uint32(0) },
    ]);
    expect(given.class).toBe('success');
    b.send(Buffer.from('late'), relayed);
    expect(await client.exchange(Buffer.from('400100046f766572', 'hex'))).toEqual([]);
    expect(heard).toHaveLength(1);
  });

  test('answers a request that comes again, for its answer was lost, as it did at first', async () => {
    using simnet = openSimnet(behindRouters({ nat: STRICT }), { seed: 1 });
    const { client, relayed } = await allocated(simnet);
    const { transaction, ...again } = await client.allocate(true, true);
    const value = attributeOf({ transaction, ...again }, STUN_ATTRIBUTE.xorRelayedAddress) as Buffer;
    expect(decodeStunAddress(value, transaction)).toEqual(relayed);
    expect(errorOf(await client.allocate())).toBe(437);
  });

  test('forgets an allocation that is not refreshed, and all of them when it is restarted', async () => {
    using simnet = openSimnet(behindRouters({ nat: STRICT }), { seed: 1 });
    const { client } = await allocated(simnet);
    expect(errorOf(await client.allocate())).toBe(437);
    await simnet.run(simnet.nowMs + 600_000);
    expect((await client.allocate()).class).toBe('success');
    simnet.apply({ atMs: 0, do: 'service-down', node: 'services', service: 'turn' });
    simnet.apply({ atMs: 0, do: 'service-up', node: 'services', service: 'turn' });
    const later = await Client.open(simnet, over);
    later.nonce = client.nonce;
    expect(errorOf(await later.allocate())).toBe(438);
  });
});
