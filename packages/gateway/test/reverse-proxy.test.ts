import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import WebSocket, { WebSocketServer } from 'ws';
import { HttpShare } from '../src/services/http-share.ts';
import { ReverseProxy } from '../src/services/reverse-proxy.ts';
import { readAll } from './node-pair.ts';
import { agentOn, ask, askRaw, openOn } from './stream-client.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const closers: (() => unknown)[] = [];
let handle: Handler;
let connections: number;
let port: number;
let share: HttpShare;

beforeEach(async () => {
  handle = (request, response) => void echo(request, response);
  connections = 0;
  const server = createServer((request, response) => handle(request, response));
  server.on('connection', () => (connections += 1));
  port = await listen(server);
  share = shareOf(`http://127.0.0.1:${port}`);
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => ('closeAllConnections' in server ? server.closeAllConnections() : undefined, server.close()));
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

function shareOf(target: string): HttpShare {
  const made = new HttpShare(new ReverseProxy(target));
  closers.push(() => made.close());
  return made;
}

/** Tells what of a request arrived. */
async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = String(await readAll(request));
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body }));
}

const echoed = async (...asked: Parameters<typeof ask> extends [unknown, ...infer Rest] ? Rest : never) =>
  JSON.parse((await ask(share, ...asked)).body) as {
    method: string;
    url: string;
    headers: Record<string, string>;
    body: string;
  };

describe('reverse proxy', () => {
  it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'])(
    'passes %s on with its path and query',
    async (method) => {
      expect(await echoed('/a%20b//c/../d?x=%C3%A9&y', { method })).toMatchObject({
        method,
        url: '/a%20b//c/../d?x=%C3%A9&y',
      });
    },
  );

  it('answers HEAD with the head alone', async () => {
    handle = (_, response) => response.setHeader('content-length', 5).end('hello');
    expect(await ask(share, '/', { method: 'HEAD' })).toMatchObject({
      status: 200,
      body: '',
      headers: { 'content-length': '5' },
    });
  });

  it('passes a body of known length and one in chunks whole', async () => {
    const text = randomBytes(200_000).toString('hex');
    expect((await echoed('/', { method: 'POST', body: text })).body).toBe(text);
    const chunked = await echoed('/', { method: 'POST', body: text, headers: { 'transfer-encoding': 'chunked' } });
    expect(chunked.body).toBe(text);
  });

  it('passes an answer in chunks and its fields, repeated ones too', async () => {
    handle = (_, response) => {
      response.writeHead(201, 'Made', { 'set-cookie': ['a=1', 'b=2'], 'x-custom': 'yes' });
      response.write('one ');
      response.end('two');
    };
    const answer = await ask(share, '/');
    expect(answer).toMatchObject({
      status: 201,
      body: 'one two',
      headers: { 'set-cookie': ['a=1', 'b=2'], 'x-custom': 'yes' },
    });
  });

  it('tells the service its own name as host, and the peer’s name', async () => {
    const { headers } = await echoed('/', { headers: { host: 'localhost:9999' } });
    expect(headers).toMatchObject({
      host: `127.0.0.1:${port}`,
      'x-forwarded-host': 'localhost:9999',
      'x-claw-peer': 'laptop',
    });
  });

  it.each([
    ['x-claw-peer: admin'],
    ['X-Claw-Peer: admin\r\nx-claw-peer: admin'],
    ['X_Claw_Peer: admin'],
    ['x-claw_peer: admin'],
    ['Connection: close, x-claw-peer\r\nx-claw-peer: admin'],
  ])('lets nobody forge the peer’s name with %j', async (fields) => {
    const text = await askRaw(
      share,
      `GET / HTTP/1.1\r\nhost: x\r\n${fields}\r\n${fields.startsWith('Conn') ? '' : 'connection: close\r\n'}\r\n`,
    );
    expect(text).toContain('"x-claw-peer":"laptop"');
    expect(text).not.toContain('admin');
  });

  it('lets no body pass for a second request when its length is named hop by hop', async () => {
    const seen: string[] = [];
    handle = (request, response) => {
      seen.push(`${request.url} ${String(request.headers['x-claw-peer'])}`);
      void echo(request, response);
    };
    const smuggled = 'GET /admin HTTP/1.1\r\nhost: x\r\nx-claw-peer: admin\r\n\r\n';
    const head = `GET / HTTP/1.1\r\nhost: x\r\nconnection: close, content-length\r\ncontent-length: ${smuggled.length}\r\n\r\n`;
    const answer = await askRaw(share, head + smuggled);
    expect(seen).toEqual(['/ laptop']);
    expect(answer).toContain(JSON.stringify(smuggled).slice(1, -1));
  });

  it('keeps hop-by-hop fields and those that connection names to itself', async () => {
    const fields = {
      te: 'trailers',
      'proxy-authorization': 'Basic x',
      'keep-alive': 'timeout=9',
      'x-mine': 'yes',
      connection: 'keep-alive, x-mine',
    };
    const { headers } = await echoed('/', { headers: { ...fields, 'x-other': 'stays' } });
    expect(Object.keys(headers).sort()).toEqual(
      ['connection', 'host', 'x-claw-peer', 'x-forwarded-host', 'x-other'].sort(),
    );
  });

  it('serves many requests of one stream over one connection to the service', async () => {
    const agent = agentOn(share, 1);
    for (let count = 0; count < 20; count += 1) expect((await ask(share, `/${count}`, { agent })).status).toBe(200);
    agent.destroy();
    expect(connections).toBe(1);
  });

  it('answers 502 when the service is down, and again 200 when it is back', async () => {
    const gone = shareOf('http://127.0.0.1:1');
    expect(await ask(gone, '/')).toMatchObject({ status: 502, body: expect.stringContaining('ECONNREFUSED') });
    expect((await ask(share, '/')).status).toBe(200);
  });

  it('breaks the answer off when the service breaks off', async () => {
    handle = (_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half');
      setImmediate(() => response.destroy());
    };
    await expect(ask(share, '/')).rejects.toThrow('aborted');
  });

  it('ends the request to the service when the peer is gone', async () => {
    const arrived = Promise.withResolvers<IncomingMessage>();
    handle = (request) => arrived.resolve(request);
    const stream = openOn(share);
    stream.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    const request = await arrived.promise;
    const closed = once(request.socket, 'close');
    stream.resume().end();
    await closed;
  });

  it.each(['http://evil.example/', 'evil.example:80', '*'])(
    'refuses the request target %s with 400',
    async (target) => {
      const method = target === '*' ? 'OPTIONS' : 'GET';
      expect(await askRaw(share, `${method} ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)).toMatch(
        /^HTTP\/1\.1 400 /,
      );
    },
  );

  it.each(['//evil.example/x', '/..//../etc', '/%00', '/a?b?c#d', `/${'x'.repeat(4000)}`])(
    'keeps to the service for the path %.20s',
    async (path) => {
      const text = await askRaw(share, `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
      expect(text).toContain(`"url":${JSON.stringify(path)}`);
    },
  );

  it.each([
    'GET / HTTP/1.1\r\nbad header\r\n\r\n',
    '\u0016\u0003\u0001',
    `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
  ])('answers what is no HTTP with 400 and ends (%#)', async (text) => {
    expect(await askRaw(share, text)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it.each(['HTTP/1.1 099 Odd', 'HTTP/1.1 200 Bad\u0001Reason', 'ICY 200 OK'])(
    'answers 502 when the service answers %j',
    async (line) => {
      const server = createTcpServer(
        (socket) => void socket.on('error', () => {}).end(`${line}\r\ncontent-length: 0\r\n\r\n`),
      );
      expect((await ask(shareOf(`http://127.0.0.1:${await listen(server)}`), '/')).status).toBe(502);
    },
  );

  it('puts the target’s own path before the request’s', async () => {
    share = shareOf(`http://127.0.0.1:${port}/base/`);
    expect((await echoed('/x?y')).url).toBe('/base/x?y');
  });

  it('answers HTTP/1.0 without chunks', async () => {
    handle = (_, response) => {
      response.write('one ');
      response.end('two');
    };
    expect(await askRaw(share, 'GET / HTTP/1.0\r\n\r\n')).toMatch(/\r\n\r\none two$/);
  });

  it('leaves an offer of h2c alone and answers in HTTP/1.1', async () => {
    const offer = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' };
    expect(await echoed('/', { method: 'POST', body: 'whole', headers: offer })).toMatchObject({ body: 'whole' });
  });
});

describe('WebSocket', () => {
  it('carries messages both ways and the end with its code', async () => {
    const sockets = new WebSocketServer({ noServer: true });
    const peers: (string | undefined)[] = [];
    const server = createServer();
    server.on('upgrade', (request, socket, head) => {
      peers.push(request.headers['x-claw-peer'] as string);
      sockets.handleUpgrade(request, socket, head, (ws) =>
        ws.on('message', (data, binary) => ws.send(data, { binary })),
      );
    });
    const target = shareOf(`http://127.0.0.1:${await listen(server)}`);
    const client = new WebSocket('ws://service/chat', { createConnection: () => openOn(target) as never });
    await once(client, 'open');
    for (const message of ['hello', randomBytes(300_000)]) {
      client.send(message);
      const [data] = await once(client, 'message');
      expect(Buffer.from(data as Buffer).equals(Buffer.from(message))).toBe(true);
    }
    client.close(4001, 'done');
    expect((await once(client, 'close'))[0]).toBe(4001);
    expect(peers).toEqual(['laptop']);
    sockets.close();
  });

  it('is refused with the service’s own answer, chunks undone, when the service knows none', async () => {
    handle = (_, response) => {
      response.writeHead(426, { 'x-why': 'no sockets' });
      response.write('plain ');
      response.end('HTTP only');
    };
    const fields =
      'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13';
    const text = await askRaw(share, `GET / HTTP/1.1\r\nhost: x\r\n${fields}\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 426 /);
    expect(text).toMatch(/\r\n\r\nplain HTTP only$/);
    expect(text.toLowerCase()).not.toContain('transfer-encoding');
  });

  it('ends when the service is down', async () => {
    const client = new WebSocket('ws://service/', {
      createConnection: () => openOn(shareOf('http://127.0.0.1:1')) as never,
    });
    const [error] = await once(client, 'error');
    expect(error).toBeInstanceOf(Error);
  });
});
