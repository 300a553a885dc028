/** Relays of a real coturn: over UDP, TCP, TLS and through an HTTP proxy. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { EgressFacts, IceServer, IceTransport } from '../src/index.ts';
import { startConnectProxy } from './connect-proxy.ts';
import { type Coturn, startCoturn, TURN_PASSWORD, TURN_USER, whyNoCoturn } from './coturn.ts';
import {
  connectTransports,
  type NodeTransportOptions,
  nodeTransport,
  until,
  untilGathered,
  untilState,
} from './transports.ts';

const missing = whyNoCoturn();

describe.skipIf(missing)(`relays of coturn${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let turn: Coturn;
  const open: IceTransport[] = [];
  beforeAll(async () => {
    turn = await startCoturn();
  });
  afterAll(() => turn[Symbol.asyncDispose]());
  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.close()));
  });

  const server = (url: string, credential = TURN_PASSWORD): IceServer => ({
    urls: url,
    username: TURN_USER,
    credential,
  });
  const urls = () => ({
    udp: `turn:127.0.0.1:${turn.port}`,
    tcp: `turn:127.0.0.1:${turn.port}?transport=tcp`,
    tls: `turns:localhost:${turn.tlsPort}`,
  });

  function transport(options: Partial<NodeTransportOptions> & { controlling: boolean }, received: string[] = []) {
    const made = nodeTransport({
      addresses: ['127.0.0.1'],
      transportPolicy: 'relay',
      ca: turn.ca,
      events: { onDatagram: (bytes) => received.push(Buffer.from(bytes).toString('latin1', 1)) },
      ...options,
    });
    open.push(made);
    return made;
  }

  it.each(['udp', 'tcp', 'tls'] as const)('carry datagrams both ways over %s, relay to relay', async (protocol) => {
    const heard: string[] = [];
    const servers = [server(urls()[protocol])];
    const a = transport({ controlling: true, servers }, heard);
    const b = transport({ controlling: false, servers }, heard);
    await connectTransports(a, b);
    await Promise.all([untilState(a, 'completed'), untilState(b, 'completed')]);
    // Odd lengths, so that the padding of ChannelData in a stream matters.
    for (const size of [1, 2, 3, 1199]) {
      a.agent.sendDatagram(Buffer.from(`\u0016${'a'.repeat(size)}`));
      b.agent.sendDatagram(Buffer.from(`\u0016${'b'.repeat(size)}`));
    }
    await until(() => heard.length === 8, 'eight datagrams');
    expect(heard.map((text) => text.length).toSorted((x, y) => x - y)).toEqual([1, 1, 2, 2, 3, 3, 1199, 1199]);
    const { selected } = a.agent.stats();
    expect(selected?.local).toMatchObject({ type: 'relay', relayProtocol: protocol });
    expect(selected?.remote.type).toBe('relay');
  });

  it('with the policy "relay" nothing but the server hears from us', async () => {
    const remotes = new Set<string>();
    const peers = new Set<string>();
    const egress = (facts: Readonly<EgressFacts>) => {
      remotes.add(`${facts.remote.address}:${facts.remote.port}`);
      if (facts.kind === 'check') peers.add(`${facts.peer.address}:${facts.peer.port}`);
      return true;
    };
    const servers = [server(urls().udp)];
    const a = transport({ controlling: true, servers, egress });
    const b = transport({ controlling: false, transportPolicy: 'all' });
    await connectTransports(a, b);
    await untilState(a, 'completed');
    expect(a.agent.localCandidates.map(({ type }) => type)).toEqual(['relay']);
    expect([...remotes]).toEqual([`127.0.0.1:${turn.port}`]);
    // The policy sees who a relayed packet is for all the same.
    const udp = b.agent.localCandidates.find(({ protocol }) => protocol === 'udp');
    expect([...peers]).toEqual([`127.0.0.1:${udp?.port}`]);
  });

  it('go through an HTTP proxy that asks for a password', async () => {
    await using proxy = await startConnectProxy('me', 'pass');
    const way = { host: '127.0.0.1', port: proxy.port, username: 'me' };
    const a = transport({ controlling: true, servers: [server(urls().tls)], proxy: { ...way, password: 'pass' } });
    const b = transport({ controlling: false, servers: [server(urls().udp)] });
    await connectTransports(a, b);
    await untilState(a, 'completed');
    expect(proxy.tunnels).toEqual([`localhost:${turn.tlsPort}`]);
    const c = transport({ controlling: true, servers: [server(urls().tls)], proxy: { ...way, password: 'wrong' } });
    c.gather();
    await untilGathered(c);
    expect(c.agent.localCandidates).toEqual([]);
    expect(proxy.refusals).toBe(1);
  });

  it('are refused to a wrong password, and to a certificate that nobody signed', async () => {
    const wrong = transport({ controlling: true, servers: [server(urls().udp, 'wrong')] });
    const unknown = transport({ controlling: true, servers: [server(urls().tls)] });
    wrong.gather();
    unknown.gather();
    await untilGathered(wrong);
    await untilGathered(unknown);
    expect(wrong.agent.localCandidates).toEqual([]);
    expect(unknown.agent.localCandidates).toHaveLength(1);
    const distrustful = transport({ controlling: true, servers: [server(urls().tls)], ca: '' });
    distrustful.gather();
    await untilGathered(distrustful);
    expect(distrustful.agent.localCandidates).toEqual([]);
  });

  it('tell of the reflexive address on the way', async () => {
    const a = transport({
      controlling: true,
      transportPolicy: 'all',
      servers: [{ urls: `stun:127.0.0.1:${turn.port}` }],
    });
    a.gather();
    await untilGathered(a);
    // On loopback it is the host candidate again, and is not told twice.
    const kinds = a.agent.localCandidates.map(({ type, protocol }) => `${type} ${protocol}`);
    expect(kinds.toSorted()).toEqual(['host tcp', 'host tcp', 'host udp']);
  });
});

describe.skipIf(missing)('a coturn with limits', () => {
  it('whose nonce goes stale is answered with the new one, and one over quota gives no relay', async () => {
    await using turn = await startCoturn(['--stale-nonce=1', '--user-quota=1']);
    const servers = [{ urls: `turn:127.0.0.1:${turn.port}`, username: TURN_USER, credential: TURN_PASSWORD }];
    const events = { onDatagram: () => {} };
    const options = { addresses: ['127.0.0.1'], servers, events, transportPolicy: 'relay' } as const;
    await using a = nodeTransport({ controlling: true, ...options });
    await using b = nodeTransport({ controlling: false, ...options });
    a.gather();
    await untilGathered(a);
    expect(a.agent.localCandidates).toHaveLength(1);
    b.gather();
    await untilGathered(b);
    expect(b.agent.localCandidates).toEqual([]);
    await new Promise((resolve) => setTimeout(resolve, 2100));
    await using c = nodeTransport({ controlling: false, addresses: ['127.0.0.1'], events });
    await connectTransports(c, a);
    await untilState(a, 'completed');
  });
});
