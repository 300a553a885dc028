/** Multicast DNS: what is asked and what is believed (RFC 6762), and one question over real sockets. */

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { VirtualClock } from '@claw/testkit';
import { describe, expect, it } from 'vitest';
import { addressToBytes } from '../src/address.ts';
import { encodeMdnsQuestion, RECORD, readMdnsAnswers } from '../src/mdns/mdns-message.ts';
import { MdnsResolver } from '../src/mdns/mdns-resolver.ts';
import { NodeSockets } from '../src/node/index.ts';
import { encodeName, type MdnsRecord, mdnsResponse } from './mdns-response.ts';

const NAME = '9b36eaac-bb2e-49bb-bb78-21c41c499900.local';
const OTHER = 'b977f597-260c-4f70-9ac4-26e69b55f966.local';
const ADDRESS = '192.0.2.7';
const never = new AbortController().signal;

describe('a question', () => {
  it('is one name and one type, from nobody in particular', () => {
    expect(encodeMdnsQuestion('a-1.local', RECORD.aaaa).toString('hex')).toBe(
      '0000' + '0000' + '0001' + '000000000000' + '03612d31' + '056c6f63616c' + '00' + '001c' + '0001',
    );
  });
});

describe('a response', () => {
  const answersOf = (records: readonly MdnsRecord[], changes = {}) => readMdnsAnswers(mdnsResponse(records, changes));

  it('gives its addresses, from the answers and from beside them, whatever else there is', () => {
    const nsec: MdnsRecord = { name: NAME, type: 47, data: Buffer.from('c00c0001400000', 'hex') };
    expect(answersOf([nsec, { name: NAME.toUpperCase(), type: RECORD.a, data: addressToBytes(ADDRESS)! }])).toEqual([
      { name: NAME, address: ADDRESS },
    ]);
    const ipv6: MdnsRecord = { name: OTHER, type: RECORD.aaaa, data: addressToBytes('fd00::7')!, class: 0x8001 };
    // As Chromium answers to a question of the other family.
    expect(answersOf([nsec, ipv6], { answers: 1 })).toEqual([{ name: OTHER, address: 'fd00::7' }]);
  });

  it('may name by pointers, and repeat the question', () => {
    const packet = Buffer.concat([
      Buffer.from('000084000001000200000000', 'hex'),
      encodeName(NAME),
      Buffer.from('00010001', 'hex'),
      Buffer.from('c00c00018001000000780004c0000207', 'hex'),
      Buffer.from('c00c00018001000000780004c0000208', 'hex'),
    ]);
    expect(readMdnsAnswers(packet).map(({ address }) => address)).toEqual([ADDRESS, '192.0.2.8']);
  });

  it.each<[string, Partial<MdnsRecord>, object]>([
    ['that takes a name back', { ttl: 0 }, {}],
    ['of another class', { class: 3 }, {}],
    ['whose address has a wrong length', { data: Buffer.alloc(5) }, {}],
    ['that is a question', {}, { flags: 0 }],
    ['that is an error', {}, { flags: 0x8403 }],
    ['of another kind', {}, { flags: 0x8c00 }],
    ['that is cut off', {}, { cut: 1 }],
  ])('%s says nothing', (_name, record, changes) => {
    const whole = { name: NAME, type: RECORD.a, data: addressToBytes(ADDRESS)! };
    expect(answersOf([whole])).toHaveLength(1);
    expect(answersOf([{ ...whole, ...record }], changes)).toEqual([]);
  });

  it('with names that lead in circles or nowhere ends', () => {
    for (const name of ['c00c', 'c00d', 'ffff', '40', '3f61', '01', '01610161c00c']) {
      const packet = Buffer.concat([Buffer.from('000084000000ffff00000000', 'hex'), Buffer.from(name, 'hex')]);
      expect(readMdnsAnswers(packet), name).toEqual([]);
    }
  });
});

describe('the resolver', () => {
  function make() {
    const clock = new VirtualClock();
    const asked: { readonly atMs: number; readonly packet: string }[] = [];
    const links: { hear: (packet: Buffer) => void; ready: () => void; isOpen: boolean }[] = [];
    const resolver = new MdnsResolver({
      clock,
      openLink: (hear, ready) => {
        const link = { hear, ready, isOpen: true };
        links.push(link);
        return {
          send: (packet) => void asked.push({ atMs: clock.monotonicMs(), packet: packet.toString('hex') }),
          close: () => {
            link.isOpen = false;
          },
        };
      },
    });
    const startMs = clock.monotonicMs();
    const timesOf = (name: string) => {
      const a = encodeMdnsQuestion(name, RECORD.a).toString('hex');
      return asked.flatMap(({ atMs, packet }) => (packet === a ? atMs - startMs : []));
    };
    return { clock, resolver, asked, links, timesOf };
  }

  const response = (name = NAME, address = ADDRESS) =>
    mdnsResponse([{ name, type: address.includes(':') ? RECORD.aaaa : RECORD.a, data: addressToBytes(address)! }]);

  it('asks once for all who want a name, for both families, and closes when it has the answer', async () => {
    const { clock, resolver, asked, links } = make();
    const both = [resolver.resolve(NAME, never), resolver.resolve(NAME, never)];
    expect(links).toHaveLength(1);
    links[0]?.ready();
    await clock.advance(10);
    expect(asked.map(({ packet }) => packet)).toEqual(
      [RECORD.a, RECORD.aaaa].map((type) => encodeMdnsQuestion(NAME, type).toString('hex')),
    );
    links[0]?.hear(response(OTHER));
    links[0]?.hear(Buffer.from('nonsense'));
    expect(links[0]?.isOpen).toBe(true);
    links[0]?.hear(response());
    expect(await Promise.all(both)).toEqual([[ADDRESS], [ADDRESS]]);
    expect(links[0]?.isOpen).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });

  it('asks again after one second and three, and gives up after five', async () => {
    const { clock, resolver, links, timesOf } = make();
    const answer = resolver.resolve(NAME, never);
    links[0]?.ready();
    await clock.advance(4999);
    expect([timesOf(NAME), links[0]?.isOpen]).toEqual([[0, 1000, 3000], true]);
    await clock.advance(1);
    expect(await answer).toEqual([]);
    expect([links[0]?.isOpen, clock.pendingTimers]).toEqual([false, 0]);
  });

  it('gives up in time where the port cannot be had', async () => {
    const { clock, resolver, asked } = make();
    const answer = resolver.resolve(NAME, never);
    await clock.advance(5000);
    expect([await answer, asked]).toEqual([[], []]);
  });

  it('lets one who no longer wants it go, and stops when nobody does', async () => {
    const { clock, resolver, links } = make();
    const [one, two] = [new AbortController(), new AbortController()];
    const answers = [resolver.resolve(NAME, one.signal), resolver.resolve(NAME, two.signal)];
    one.abort();
    expect(await answers[0]).toEqual([]);
    expect(links[0]?.isOpen).toBe(true);
    two.abort();
    expect(await answers[1]).toEqual([]);
    expect([links[0]?.isOpen, clock.pendingTimers]).toEqual([false, 0]);
    expect(await resolver.resolve(NAME, one.signal)).toEqual([]);
    expect(links).toHaveLength(1);
  });

  it('asks for no name that no browser made, and for 64 at a time', async () => {
    const { resolver, links, asked, clock } = make();
    for (const name of ['printer.local', 'example.org', `${NAME}.example.org`, NAME.replace('local', 'lan')]) {
      expect(await resolver.resolve(name, never)).toEqual([]);
    }
    expect(links).toEqual([]);
    const nameOf = (index: number) => NAME.replace(/^.{4}/, (1000 + index).toString());
    const stop = new AbortController();
    const answers = Array.from({ length: 64 }, (_, index) => resolver.resolve(nameOf(index), stop.signal));
    expect(await resolver.resolve(nameOf(64), never)).toEqual([]);
    links[0]?.ready();
    await clock.advance(1);
    expect(asked).toHaveLength(128);
    stop.abort();
    expect((await Promise.all(answers)).flat()).toEqual([]);
  });

  it('gives all addresses of a name', async () => {
    const { resolver, links } = make();
    const answer = resolver.resolve(NAME, never);
    links[0]?.hear(
      mdnsResponse([
        { name: NAME, type: RECORD.a, data: addressToBytes(ADDRESS)! },
        { name: NAME, type: RECORD.aaaa, data: addressToBytes('fd00::7')! },
      ]),
    );
    expect(await answer).toEqual([ADDRESS, 'fd00::7']);
  });
});

const own = Object.values(networkInterfaces())
  .flatMap((each) => each ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

describe.runIf(process.platform === 'linux' && own !== undefined)('real sockets', () => {
  const GROUP = '224.0.0.251';

  const answer = (address: string) =>
    mdnsResponse([{ name: NAME, type: RECORD.a, data: addressToBytes(address) ?? Buffer.alloc(0) }]);

  async function bind(port: number, address: string | undefined): Promise<Socket> {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    socket.bind({ port, address });
    await once(socket, 'listening');
    socket.setMulticastInterface(own ?? '');
    return socket;
  }

  it('find a neighbour by its name, beside another who listens there, and believe none who speaks from elsewhere', async () => {
    // A browser answers to the group, from its port.
    const [neighbour, liar] = [await bind(5353, GROUP), await bind(0, own)];
    neighbour.addMembership(GROUP, own);
    neighbour.on('message', (packet) => {
      if (!packet.equals(encodeMdnsQuestion(NAME, RECORD.a))) return;
      liar.send(answer('192.0.2.66'), 5353, GROUP, () => neighbour.send(answer(ADDRESS), 5353, GROUP));
    });
    expect(await new NodeSockets().resolve(NAME, never)).toEqual([ADDRESS]);
    neighbour.close();
    liar.close();
  });
});
