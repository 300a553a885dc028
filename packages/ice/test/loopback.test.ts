/** Two agents on the sockets of this machine. */

import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import type { EgressFacts, IceTransport } from '../src/index.ts';
import { listLocalAddresses } from '../src/node/index.ts';
import {
  connectTransports,
  introduce,
  type NodeTransportOptions,
  nodeTransport,
  until,
  untilGathered,
  untilState,
} from './transports.ts';

const open: IceTransport[] = [];
const hasIpv6 = Object.values(networkInterfaces()).some((each) => each?.some(({ address }) => address === '::1'));
const noUdp = ({ protocol }: Readonly<EgressFacts>) => protocol !== 'udp';

function transport(options: Partial<NodeTransportOptions> & { controlling: boolean }, received: string[] = []) {
  const made = nodeTransport({
    addresses: ['127.0.0.1'],
    events: { onDatagram: (bytes) => received.push(Buffer.from(bytes).toString('latin1', 1)) },
    ...options,
  });
  open.push(made);
  return made;
}

async function exchange(a: IceTransport, b: IceTransport, heard: string[]): Promise<void> {
  await Promise.all([untilState(a, 'completed'), untilState(b, 'completed')]);
  expect(a.agent.sendDatagram(Buffer.from('\u0016hello'))).toBe(true);
  expect(b.agent.sendDatagram(Buffer.from('\u0016there'))).toBe(true);
  await until(() => heard.length === 2, 'both datagrams');
  expect(heard.toSorted()).toEqual(['hello', 'there']);
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

describe('two agents on one machine', () => {
  it('connect over UDP and carry datagrams both ways', async () => {
    const heard: string[] = [];
    const a = transport({ controlling: true }, heard);
    const b = transport({ controlling: false }, heard);
    await connectTransports(a, b);
    await exchange(a, b, heard);
    expect(a.agent.stats().selected).toMatchObject({ local: { type: 'host', protocol: 'udp' }, packetsSent: 1 });
  });

  it.skipIf(!hasIpv6)('connect over IPv6', async () => {
    const heard: string[] = [];
    const a = transport({ controlling: true, addresses: ['::1'] }, heard);
    const b = transport({ controlling: false, addresses: ['::1'] }, heard);
    await connectTransports(a, b);
    await exchange(a, b, heard);
    expect(a.agent.stats().selected?.local.address).toBe('::1');
  });

  it.each([
    ['active', 'passive'],
    ['passive', 'active'],
  ] as const)('connect over TCP where UDP is not permitted, %s to %s', async (mine, theirs) => {
    const heard: string[] = [];
    const a = transport({ controlling: true, egress: noUdp, tcpTypes: [mine] }, heard);
    const b = transport({ controlling: false, egress: noUdp, tcpTypes: [theirs] }, heard);
    await connectTransports(a, b);
    await exchange(a, b, heard);
    expect(a.agent.stats().selected?.local.protocol).toBe('tcp');
  });

  it.skipIf(process.platform !== 'linux')('stay connected when the address of one of them changes', async () => {
    const heard: string[] = [];
    const states: string[] = [];
    const events = { onDatagram: () => {}, onStateChange: (state: string) => states.push(state) };
    const a = transport({ controlling: true, tcpTypes: [], events });
    const b = transport({ controlling: false, tcpTypes: [] }, heard);
    await connectTransports(a, b);
    await untilState(a, 'completed');
    a.gather(['127.0.0.2']);
    await until(() => a.agent.stats().selected?.local.address === '127.0.0.2', 'the new address');
    await untilState(a, 'completed');
    a.agent.sendDatagram(Buffer.from('\u0016from elsewhere'));
    await until(() => heard.length === 1, 'the datagram');
    expect(states).not.toContain('failed');
    expect(a.agent.localCandidates.map(({ address }) => address)).toContain('127.0.0.2');
  });

  it('close at any moment and leave nothing open', async () => {
    const before = process.getActiveResourcesInfo().length;
    const a = transport({ controlling: true });
    a.gather();
    await a.close();
    const b = transport({ controlling: true });
    const c = transport({ controlling: false });
    await connectTransports(b, c);
    await untilState(b, 'connected', 'completed');
    await Promise.all([b.close(), b.close(), c.close()]);
    await until(() => process.getActiveResourcesInfo().length <= before, 'the last handle to close');
  });

  it('hear of each other by a check before the answer came', async () => {
    const a = transport({ controlling: true, tcpTypes: [] });
    const b = transport({ controlling: false, tcpTypes: [] });
    a.gather();
    b.gather();
    await Promise.all([untilGathered(a), untilGathered(b)]);
    introduce(a, b);
    await until(() => a.agent.stats().pairs.length > 0, 'the check of b');
    introduce(b, a);
    await Promise.all([untilState(a, 'completed'), untilState(b, 'completed')]);
  });
});

describe('addresses of this machine', () => {
  it('are canonical, without link-local ones, and loopback only if there is nothing else or it is asked for', () => {
    const plain = listLocalAddresses();
    const all = listLocalAddresses({ loopback: true });
    expect(plain.length).toBeGreaterThan(0);
    expect(all).toContain('127.0.0.1');
    expect(plain.some((address) => address.startsWith('fe80'))).toBe(false);
    if (plain.some((address) => !address.startsWith('127.') && address !== '::1'))
      expect(plain).not.toContain('127.0.0.1');
  });
});
