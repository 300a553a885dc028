/** Several transports on one real socket, and another protocol beside them. */

import { afterEach, describe, expect, it } from 'vitest';
import { type IceSocket, IceTransport, SharedSockets, type TransportAddress } from '../src/index.ts';
import { NodeSockets } from '../src/node/index.ts';
import { connectTransports, introduce, nodeTransport, until, untilState } from './transports.ts';

const ADDRESS = '127.0.0.1';
const opened: AsyncDisposable[] = [];

function keep<T extends AsyncDisposable>(one: T): T {
  opened.push(one);
  return one;
}

afterEach(async () => {
  // Transports before what they stand on.
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function onShared(sockets: SharedSockets, heard: string[]): IceTransport {
  const events = { onDatagram: (bytes: Uint8Array) => heard.push(Buffer.from(bytes).toString('latin1', 1)) };
  return keep(new IceTransport({ sockets, controlling: true, addresses: [ADDRESS], tcpTypes: [], events }));
}

function alone(heard: string[]): IceTransport {
  const events = { onDatagram: (bytes: Uint8Array) => heard.push(Buffer.from(bytes).toString('latin1', 1)) };
  return keep(nodeTransport({ controlling: false, addresses: [ADDRESS], tcpTypes: [], events }));
}

const portOf = ({ agent }: IceTransport) => agent.localCandidates.find(({ type }) => type === 'host')?.port;

describe('shared sockets of a machine', () => {
  it('serve ten transports and a restart at one port', async () => {
    const sockets = keep(new SharedSockets(new NodeSockets()));
    const heard: string[] = [];
    const pairs = Array.from({ length: 10 }, () => [onShared(sockets, heard), alone(heard)] as const);
    for (const [a, b] of pairs) await connectTransports(a, b);
    await Promise.all(pairs.flat().map((each) => untilState(each, 'completed')));
    expect(new Set(pairs.map(([a]) => portOf(a))).size).toBe(1);
    for (const [index, [a, b]] of pairs.entries()) {
      a.agent.sendDatagram(Buffer.from(`\u0016a${index}`));
      b.agent.sendDatagram(Buffer.from(`\u0016b${index}`));
    }
    await until(() => heard.length === 20, 'twenty datagrams');
    const numbers = Array.from({ length: 10 }, (_, index) => index);
    expect(heard.toSorted()).toEqual(['a', 'b'].flatMap((side) => numbers.map((index) => `${side}${index}`)));
    const [[a, b]] = pairs as [readonly [IceTransport, IceTransport]];
    a.act((agent, nowMs) => agent.restart(nowMs));
    b.act((agent, nowMs) => agent.restart(nowMs));
    introduce(a, b);
    introduce(b, a);
    await Promise.all([untilState(a, 'completed'), untilState(b, 'completed')]);
    expect(a.agent.stats().selected?.local.port).toBe(portOf(a));
  });

  it('are open to another protocol at the same port, both ways', async () => {
    const sockets = keep(new SharedSockets(new NodeSockets()));
    const transport = onShared(sockets, []);
    transport.gather();
    await until(() => portOf(transport) !== undefined, 'a candidate');
    const heard: string[] = [];
    let local: TransportAddress | undefined;
    const listen = (into: string[]) => ({
      onOpen: (address: TransportAddress) => {
        local = address;
      },
      onBytes: (bytes: Uint8Array) => into.push(Buffer.from(bytes).toString()),
      onFailure: () => into.push('failed'),
    });
    const dht: IceSocket = sockets.bindOther(ADDRESS, listen(heard));
    await until(() => local !== undefined, 'the address');
    expect(local?.port).toBe(portOf(transport));
    const answers: string[] = [];
    const here = local as unknown as TransportAddress;
    const other = new NodeSockets().bindUdp(ADDRESS, listen(answers));
    await until(() => local !== here, 'the other address');
    other.send(Buffer.from('d1:q4:pinge'), here, undefined);
    await until(() => heard.length === 1, 'the query');
    dht.send(Buffer.from('d1:r2:idee'), local ?? here, undefined);
    await until(() => answers.length === 1, 'the answer');
    expect([...heard, ...answers]).toEqual(['d1:q4:pinge', 'd1:r2:idee']);
    await other.close();
  });

  it('that are closed refuse to serve, and leave nothing open', async () => {
    const before = process.getActiveResourcesInfo().length;
    const sockets = new SharedSockets(new NodeSockets());
    const transport = onShared(sockets, []);
    transport.gather();
    await until(() => portOf(transport) !== undefined, 'a candidate');
    await transport.close();
    await Promise.all([sockets.close(), sockets.close()]);
    await until(() => process.getActiveResourcesInfo().length <= before, 'the last handle to close');
    const late = { onOpen: () => {}, onBytes: () => {}, onFailure: () => {} };
    expect(() => sockets.bindUdp(ADDRESS, late)).toThrow(TypeError);
  });
});
