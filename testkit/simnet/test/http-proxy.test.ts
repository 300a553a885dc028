import { describe, expect, test } from 'vitest';
import { openSimnet, SIMNET_PROXY, type Simnet } from '../src/index.ts';
import { behindRouters, SERVER } from './topologies.ts';

const { username, password } = SIMNET_PROXY;
const AUTHORIZATION = `Proxy-Authorization: Basic ${Buffer.from(`${username}:${password}`).toString('base64')}\r\n`;
const PROXY = { address: SERVER, port: 3128 };

/** a may reach the proxy and nothing else; b is on the Internet by forwarding. */
function open(): Simnet {
  const rules = [{ action: 'accept', protocol: 'tcp', ports: [3128] } as const, { action: 'drop' } as const];
  const nat = {
    outside: 'outside',
    mapping: 'endpoint-independent',
    filtering: 'endpoint-independent',
    ports: { kind: 'preserving' },
  } as const;
  const topology = behindRouters({ nat, firewall: { rules } });
  const { services } = topology.nodes;
  const proxied = {
    ...services,
    kind: 'host',
    interfaces: services?.interfaces ?? {},
    services: [{ kind: 'http-proxy' }],
  } as const;
  const web = { kind: 'host', interfaces: { eth0: { network: 'internet', ipv4: '20.0.0.80' } } } as const;
  return openSimnet({ ...topology, nodes: { ...topology.nodes, services: proxied, web } }, { seed: 1 });
}

/** What the proxy says to a request, and the stream to go on with. */
async function ask(simnet: Simnet, head: string) {
  const stream = await simnet.runUntil(simnet.host('a').connectTcp(PROXY), simnet.nowMs + 1000);
  await stream.write(Buffer.from(head));
  const answer = String(await simnet.runUntil(stream.read(), simnet.nowMs + 20_000));
  return { stream, status: answer.split('\r\n')[0] };
}

describe('the http-proxy service', () => {
  test('joins a client to a server, both ways and to the end', async () => {
    using simnet = open();
    simnet.host('web').listenTcp({ port: 80 }, (stream) => {
      void (async () => {
        for (let bytes = await stream.read(); bytes; bytes = await stream.read()) await stream.write(bytes);
        stream.end();
      })();
    });
    const { stream, status } = await ask(simnet, `CONNECT 20.0.0.80:80 HTTP/1.1\r\n${AUTHORIZATION}\r\n`);
    expect(status).toBe('HTTP/1.1 200 Connected');
    await stream.write(Buffer.from('echo'));
    expect(String(await simnet.runUntil(stream.read(), 2000))).toBe('echo');
    stream.end();
    expect(await simnet.runUntil(stream.read(), 3000)).toBeUndefined();
  });

  test('refuses what is not authorized, not CONNECT, or not there', async () => {
    using simnet = open();
    const connect = 'CONNECT 20.0.0.80:81 HTTP/1.1\r\n';
    expect((await ask(simnet, `${connect}\r\n`)).status).toBe('HTTP/1.1 407 Proxy Authentication Required');
    expect((await ask(simnet, 'GET / HTTP/1.1\r\n\r\n')).status).toBe('HTTP/1.1 400 Bad Request');
    expect((await ask(simnet, `${connect}${AUTHORIZATION}\r\n`)).status).toBe('HTTP/1.1 502 Bad Gateway');
  });

  test('breaks its connections when it goes down', async () => {
    using simnet = open();
    simnet.host('web').listenTcp({ port: 80 }, () => {});
    const { stream } = await ask(simnet, `CONNECT 20.0.0.80:80 HTTP/1.1\r\n${AUTHORIZATION}\r\n`);
    simnet.apply({ atMs: 0, do: 'service-down', node: 'services', service: 'http-proxy' });
    await expect(simnet.runUntil(stream.read(), simnet.nowMs + 1000)).rejects.toMatchObject({ code: 'SIMNET_RESET' });
  });
});
