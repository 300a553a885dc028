import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { ClawError, type Clock, createLogger, systemClock, systemRandom } from '@claw/base';
import * as v from 'valibot';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  createGatewayClient,
  type GatewayServer,
  openGatewayServer,
  route,
  streamRoute,
  type UpgradeRoute,
} from '../src/api/index.ts';
import { isProof, signRequest } from '../src/api/request-auth.ts';

const token = randomBytes(32);
let aborted: string[] = [];
let log: { event: string; code?: string; message?: string }[] = [];
let streamed = 0;

const routes = [
  route({
    method: 'GET',
    path: '/v1/peers/:peer',
    summary: 'One peer',
    response: v.object({ peer: v.string(), query: v.string() }),
    errors: { PEER_GONE: 410 },
    handle: ({ params, query }) => {
      if (params['peer'] === 'nobody') throw new ClawError('PEER_NOT_FOUND', 'no such peer', { hint: 'claw peers' });
      if (params['peer'] === 'gone') throw new ClawError('PEER_GONE', 'gone');
      if (params['peer'] === 'boom') throw new Error('secret detail');
      if (params['peer'] === 'odd') return { peer: 5 } as never;
      return { peer: params['peer'] as string, query: query.get('q') ?? '', credential: 'not declared' } as never;
    },
  }),
  route({
    method: 'POST',
    path: '/v1/sum',
    summary: 'Adds',
    body: v.strictObject({ numbers: v.array(v.number()) }),
    response: v.number(),
    status: 201,
    handle: ({ body }) => body.numbers.reduce((sum, n) => sum + n, 0),
  }),
  route({ method: 'DELETE', path: '/v1/sum', summary: 'Forgets', response: v.null(), handle: () => null }),
  route({
    method: 'GET',
    path: '/v1/wait',
    summary: 'Waits for its end',
    response: v.null(),
    handle: ({ signal }) =>
      new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          aborted.push(signal.reason.code);
          reject(signal.reason);
        }),
      ),
  }),
  streamRoute({
    method: 'GET',
    path: '/v1/count/:to',
    summary: 'Counts',
    response: v.object({ n: v.number(), pad: v.optional(v.string()) }),
    async *handle({ params, query, signal }) {
      try {
        for (let n = 1; n <= Number(params['to']); n++) {
          streamed = n;
          yield { n, ...(query.get('pad') ? { pad: 'x'.repeat(Number(query.get('pad'))) } : {}) };
        }
      } finally {
        if (signal.aborted) aborted.push(signal.reason.code);
      }
      if (query.get('fail')) throw new ClawError('COUNT_FAILED', 'lost count', { hint: 'again' });
    },
  }),
];

const upgrades: UpgradeRoute[] = [
  {
    path: '/v1/streams/:service',
    summary: 'Echoes',
    errors: { SERVICE_ASLEEP: 409 },
    open({ params }) {
      if (params['service'] === 'asleep') throw new ClawError('SERVICE_ASLEEP', 'asleep');
      return async (stream) => {
        if (params['service'] === 'broken') throw new Error('broken');
        await pipeline(stream, stream);
      };
    },
  },
];

const logger = createLogger({ write: (line) => log.push(JSON.parse(line)) });
let server: GatewayServer;
const open = (extra: Partial<Parameters<typeof openGatewayServer>[0]> = {}) =>
  openGatewayServer({ token, routes, upgrades, logger, version: '1.2.3', ...extra });
const client = (extra: Partial<Parameters<typeof createGatewayClient>[0]> = {}) =>
  createGatewayClient({ port: server.port, token, ...extra });

beforeEach(async () => {
  aborted = [];
  log = [];
  streamed = 0;
  server = await open({ requestTimeoutMs: 1000 });
});
afterEach(() => server.close());

interface Raw {
  method?: string;
  path?: string;
  body?: string | Buffer;
  headers?: Record<string, string | string[] | undefined>;
  /** What is signed, when it is not what is sent. */
  signed?: { method?: string; target?: string; body?: Buffer; token?: Buffer; clock?: Clock };
}

/** One request, signed as asked and sent as told; the answer as it came. */
async function raw({ method = 'GET', path = '/v1/peers/bob', body = '', headers = {}, signed = {} }: Raw = {}) {
  const bytes = Buffer.from(body);
  const request = { method: signed.method ?? method, target: signed.target ?? path, body: signed.body ?? bytes };
  const auth = signRequest(signed.token ?? token, request, signed.clock ?? systemClock, systemRandom);
  const all: Record<string, string | string[] | undefined> = {
    host: `127.0.0.1:${server.port}`,
    ...(bytes.length > 0 ? { 'content-type': 'application/json' } : {}),
    'content-length': String(bytes.length),
    ...auth,
    ...headers,
  };
  const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<
    string,
    string | string[]
  >;
  const req = httpRequest({
    host: '127.0.0.1',
    port: server.port,
    method,
    path,
    agent: false,
    headers: sent,
    setHost: false,
  });
  req.end(bytes);
  const [response] = await once(req, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const proof = response.headers['x-claw-proof'];
  return {
    status: response.statusCode as number,
    headers: response.headers as Record<string, string>,
    text,
    code: text.startsWith('{"error"') ? (JSON.parse(text).error.code as string) : undefined,
    proven: isProof(token, (sent['x-claw-signature'] ?? '') as string, proof),
    auth,
  };
}

const lateClock = (ms: number): Clock => ({ ...systemClock, now: () => Date.now() + ms });

test('a signed request is answered, with a proof, with the declared fields only', async () => {
  const answer = await raw({ path: '/v1/peers/b%20b?q=1' });
  expect(answer).toMatchObject({ status: 200, proven: true, text: '{"peer":"b b","query":"1"}' });
  expect(answer.headers).toMatchObject({
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
});

test.each<[string, Raw, number, string, boolean]>([
  [
    'no headers of ours',
    { headers: { 'x-claw-signature': undefined, 'x-claw-nonce': undefined, 'x-claw-timestamp': undefined } },
    401,
    'AUTH_MISSING',
    false,
  ],
  ['no nonce', { headers: { 'x-claw-nonce': undefined } }, 401, 'AUTH_MISSING', false],
  ['a short nonce', { headers: { 'x-claw-nonce': 'abc' } }, 401, 'AUTH_MALFORMED', false],
  ['a nonce in another spelling', { headers: { 'x-claw-nonce': `${'A'.repeat(21)}B` } }, 401, 'AUTH_MALFORMED', false],
  [
    'two signatures',
    { headers: { 'x-claw-signature': ['A'.repeat(43), 'A'.repeat(43)] } },
    401,
    'AUTH_MALFORMED',
    false,
  ],
  ['a timestamp that is no number', { headers: { 'x-claw-timestamp': '1e12' } }, 401, 'AUTH_MALFORMED', false],
  ['another token', { signed: { token: randomBytes(32) } }, 401, 'AUTH_SIGNATURE', false],
  ['another path', { signed: { target: '/v1/peers/eve' } }, 401, 'AUTH_SIGNATURE', false],
  [
    'another query',
    { path: '/v1/peers/bob?q=2', signed: { target: '/v1/peers/bob?q=1' } },
    401,
    'AUTH_SIGNATURE',
    false,
  ],
  ['another method', { method: 'DELETE', path: '/v1/sum', signed: { method: 'GET' } }, 401, 'AUTH_SIGNATURE', false],
  [
    'another body',
    { method: 'POST', path: '/v1/sum', body: '{"numbers":[2]}', signed: { body: Buffer.from('{"numbers":[1]}') } },
    401,
    'AUTH_SIGNATURE',
    false,
  ],
  ['another timestamp', { headers: { 'x-claw-timestamp': '1700000000000' } }, 401, 'AUTH_SIGNATURE', false],
  ['a clock 61 s behind', { signed: { clock: lateClock(-61_000) } }, 401, 'AUTH_STALE', true],
  ['a clock 61 s ahead', { signed: { clock: lateClock(61_000) } }, 401, 'AUTH_STALE', true],
  ['a rebound name', { headers: { host: 'evil.example' } }, 403, 'AUTH_HOST', false],
  ['a rebound name on our port', { headers: { host: 'evil.example:1' } }, 403, 'AUTH_HOST', false],
  ['our host without the port', { headers: { host: '127.0.0.1' } }, 403, 'AUTH_HOST', false],
  ['a foreign origin', { headers: { origin: 'https://evil.example' } }, 403, 'AUTH_ORIGIN', false],
  ['an origin of a sandbox', { headers: { origin: 'null' } }, 403, 'AUTH_ORIGIN', false],
])('%s is refused by its own code, told apart in the log', async (_what, request, status, code, proven) => {
  expect(await raw(request)).toMatchObject({ status, code, proven });
  expect(log).toEqual([expect.objectContaining({ event: 'gateway.refused', code })]);
});

test.each([-55_000, 55_000])('a clock %i ms off is within the window', async (ms) => {
  expect((await raw({ signed: { clock: lateClock(ms) } })).status).toBe(200);
});

test('localhost is as good a Host, and an own origin passes', async () => {
  expect((await raw({ headers: { host: `localhost:${server.port}` } })).status).toBe(200);
  await server.close();
  server = await open({ origins: ['http://127.0.0.1:5173'] });
  expect((await raw({ headers: { origin: 'http://127.0.0.1:5173' } })).status).toBe(200);
  expect((await raw({ headers: { origin: 'http://127.0.0.1:5174' } })).code).toBe('AUTH_ORIGIN');
});

test('a second Host hides behind no first one', async () => {
  const socket = await dial();
  socket.write(await head('GET', '/v1/peers/bob', ['host: evil.example', 'connection: close']));
  expect(await answerOf(socket)).toMatch(/^HTTP\/1\.1 4\d\d .*(?:AUTH_HOST|REQUEST_MALFORMED)/s);
});

test('a request is taken once', async () => {
  const first = await raw();
  expect(first.status).toBe(200);
  expect(await raw({ headers: first.auth })).toMatchObject({ status: 401, code: 'AUTH_REPLAYED', proven: true });
});

test('a full memory of requests refuses, and unsigned ones do not fill it', async () => {
  await server.close();
  server = await open({ maxNonces: 3 });
  for (let i = 0; i < 5; i++) expect((await raw({ signed: { token: randomBytes(32) } })).code).toBe('AUTH_SIGNATURE');
  const first = await raw();
  await raw();
  await raw();
  expect(await raw()).toMatchObject({ status: 429, code: 'AUTH_BUSY' });
  expect((await raw({ headers: first.auth })).code).toBe('AUTH_REPLAYED');
});

test.each<[string, Raw, number, string | undefined]>([
  ['a path that is not there', { path: '/v1/nothing' }, 404, 'ROUTE_NOT_FOUND'],
  ['an empty parameter', { path: '/v1/peers/' }, 404, 'ROUTE_NOT_FOUND'],
  ['a parameter that cannot be decoded', { path: '/v1/peers/%ff' }, 404, 'ROUTE_NOT_FOUND'],
  ['a path that climbs', { path: '/v1/../v1/peers/bob' }, 404, 'ROUTE_NOT_FOUND'],
  ['another method', { method: 'PUT', path: '/v1/sum' }, 405, 'METHOD_NOT_ALLOWED'],
  ['TRACE', { method: 'TRACE', path: '/v1/sum' }, 405, 'METHOD_NOT_ALLOWED'],
  [
    'text for JSON',
    { method: 'POST', path: '/v1/sum', body: '{}', headers: { 'content-type': 'text/plain' } },
    415,
    'MEDIA_TYPE_NOT_SUPPORTED',
  ],
  [
    'no media type',
    { method: 'POST', path: '/v1/sum', body: '{}', headers: { 'content-type': undefined } },
    415,
    'MEDIA_TYPE_NOT_SUPPORTED',
  ],
  ['broken JSON', { method: 'POST', path: '/v1/sum', body: '{' }, 400, 'REQUEST_MALFORMED'],
  ['JSON nested without end', { method: 'POST', path: '/v1/sum', body: '['.repeat(500_000) }, 400, 'REQUEST_MALFORMED'],
  ['a body out of shape', { method: 'POST', path: '/v1/sum', body: '{"numbers":["1"]}' }, 400, 'REQUEST_INVALID'],
  ['a key too many', { method: 'POST', path: '/v1/sum', body: '{"numbers":[],"x":1}' }, 400, 'REQUEST_INVALID'],
  ['a body where none is taken', { method: 'DELETE', path: '/v1/sum', body: '{}' }, 400, 'REQUEST_INVALID'],
  ['an error of the handler', { path: '/v1/peers/nobody' }, 404, 'PEER_NOT_FOUND'],
  ['an error that the route declares', { path: '/v1/peers/gone' }, 410, 'PEER_GONE'],
  ['a crash of the handler', { path: '/v1/peers/boom' }, 500, 'INTERNAL'],
  ['an answer out of shape', { path: '/v1/peers/odd' }, 500, 'INTERNAL'],
  [
    'a body of 1 MiB',
    { method: 'POST', path: '/v1/sum', body: `{"numbers":[${' '.repeat(2 ** 20 - 14)}]}` },
    201,
    undefined,
  ],
])('%s gets its status', async (_what, request, status, code) => {
  const answer = await raw(request);
  expect(answer).toMatchObject({ status, proven: true });
  expect(answer.code).toBe(code);
});

test('what a crash said stays in the log', async () => {
  expect((await raw({ path: '/v1/peers/boom' })).text).not.toContain('secret detail');
  expect(log).toEqual([expect.objectContaining({ level: 'error', event: 'gateway.failed', error: 'secret detail' })]);
});

test('a body above 1 MiB is refused, announced or not', async () => {
  await expect(raw({ method: 'POST', path: '/v1/sum', body: 'x'.repeat(2 ** 20 + 1) })).resolves.toMatchObject({
    status: 413,
    code: 'REQUEST_TOO_LARGE',
  });
  const socket = await dial();
  socket.write(await head('POST', '/v1/sum', ['transfer-encoding: chunked']));
  const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
  for (let i = 0; i < 17; i++) socket.write(chunk);
  expect(await answerOf(socket)).toContain('HTTP/1.1 413');
});

test('HEAD answers as GET without a body, OPTIONS lists the methods', async () => {
  const got = await raw();
  const headed = await raw({ method: 'HEAD' });
  expect(headed).toMatchObject({ status: 200, text: '', proven: true });
  expect(headed.headers['content-length']).toBe(got.headers['content-length']);
  const options = await raw({ method: 'OPTIONS', path: '/v1/sum' });
  expect(options).toMatchObject({ status: 204, text: '' });
  expect(options.headers['allow']).toBe('POST, DELETE, OPTIONS');
  expect((await raw({ method: 'PUT', path: '/v1/peers/bob' })).headers['allow']).toBe('GET, HEAD, OPTIONS');
  expect(await raw({ method: 'HEAD', path: '/v1/count/5' })).toMatchObject({ status: 200, text: '' });
  expect(streamed).toBe(0);
});

async function dial(): Promise<Socket> {
  const socket = connect(server.port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function head(method: string, target: string, lines: string[] = []): Promise<string> {
  const auth = signRequest(token, { method, target, body: Buffer.alloc(0) }, systemClock, systemRandom);
  const headers = Object.entries(auth).map(([name, value]) => `${name}: ${value}`);
  return `${[`${method} ${target} HTTP/1.1`, `host: 127.0.0.1:${server.port}`, ...headers, ...lines].join('\r\n')}\r\n\r\n`;
}

async function answerOf(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk) => (text += chunk));
  if (!socket.closed) await once(socket, 'close', { signal: AbortSignal.timeout(5000) });
  return text;
}

test('a body or a header that does not come is given up', async () => {
  const slow = await dial();
  slow.write(await head('POST', '/v1/sum', ['content-length: 10', 'content-type: application/json']));
  slow.write('{');
  const silent = await dial();
  silent.write('GET / HTTP/1.1\r\nhost: x');
  expect(await Promise.all([answerOf(slow), answerOf(silent)])).toEqual([
    expect.stringContaining('"REQUEST_TIMEOUT"'),
    expect.stringContaining('"REQUEST_TIMEOUT"'),
  ]);
});

test('giant headers and what is no HTTP are refused, and the next caller is served', async () => {
  const giant = await dial();
  giant.write(`GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`);
  expect(await answerOf(giant)).toMatch(/^HTTP\/1\.1 413 .*REQUEST_TOO_LARGE/s);
  const noise = await dial();
  noise.write('\x16\x03\x01 hello\r\n\r\n');
  expect(await answerOf(noise)).toMatch(/^HTTP\/1\.1 400 .*REQUEST_MALFORMED/s);
  const smuggled = await dial();
  smuggled.write(await head('POST', '/v1/sum', ['content-length: 3', 'transfer-encoding: chunked']));
  expect(await answerOf(smuggled)).toMatch(/^HTTP\/1\.1 400/);
  expect((await raw()).status).toBe(200);
});

test('connections above the bound are dropped', async () => {
  await server.close();
  server = await open({ maxConnections: 2 });
  const held = [await dial(), await dial()];
  const third = await dial();
  expect(await answerOf(third)).toBe('');
  expect(log).toContainEqual(expect.objectContaining({ event: 'gateway.dropped' }));
  for (const socket of held) socket.destroy();
});

test.each(['0.0.0.0', '::', '::1', 'localhost', '192.0.2.1'])('%s is not listened on', async (host) => {
  await expect(open({ host })).rejects.toThrow(RangeError);
});

test('a port that is taken is the system error', async () => {
  await expect(open({ port: server.port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

test('the client gives typed values and the errors of the daemon', async () => {
  const sum = await client().request('POST', '/v1/sum', { body: { numbers: [1, 2, 3] }, schema: v.number() });
  expect(sum + 1).toBe(7);
  expect(await client().request('DELETE', '/v1/sum')).toBe(null);
  await expect(client().request('GET', '/v1/peers/nobody')).rejects.toMatchObject({
    name: 'ClawError',
    code: 'PEER_NOT_FOUND',
    message: 'no such peer',
    hint: 'claw peers',
  });
  await expect(
    client().request('GET', '/v1/peers/bob', { schema: v.object({ peer: v.number() }) }),
  ).rejects.toMatchObject({ code: 'GATEWAY_ANSWER_INVALID' });
  await expect(client().request('POST', '/v1/sum', { body: 'x'.repeat(2 ** 20) })).rejects.toMatchObject({
    code: 'REQUEST_TOO_LARGE',
  });
});

test('a stream gives its items, its error, and its end', async () => {
  const items: number[] = [];
  for await (const { n } of client().stream('GET', '/v1/count/3', { schema: v.object({ n: v.number() }) }))
    items.push(n);
  expect(items).toEqual([1, 2, 3]);
  const failing = client().stream('GET', '/v1/count/2?fail=1');
  await failing.next();
  await failing.next();
  await expect(failing.next()).rejects.toMatchObject({ code: 'COUNT_FAILED', hint: 'again' });
});

test('a stream waits for its reader, and ends when the reader leaves', async () => {
  for await (const item of client().stream('GET', '/v1/count/100000?pad=10000')) {
    expect(item).toHaveProperty('n', 1);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(streamed).toBeLessThan(5000);
    break;
  }
  await expect.poll(() => aborted).toEqual(['GATEWAY_CUT']);
  expect(streamed).toBeLessThan(5000);
  expect(log).toEqual([]);
});

test('an aborted call rejects with the reason, and its handler hears of it', async () => {
  const reason = new Error('enough');
  const abort = new AbortController();
  const call = client().request('GET', '/v1/wait', { signal: abort.signal });
  setTimeout(() => abort.abort(reason), 30);
  await expect(call).rejects.toBe(reason);
  await expect.poll(() => aborted).toEqual(['GATEWAY_CUT']);
  await expect(client().request('GET', '/v1/wait', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const streaming = new AbortController();
  const reading = (async () => {
    for await (const _ of client().stream('GET', '/v1/count/1000000000', { signal: streaming.signal }))
      streaming.abort(reason);
  })();
  await expect(reading).rejects.toBe(reason);
  await expect(client().upgrade('/v1/streams/x', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test('a daemon that does not answer is given up', async () => {
  await expect(client({ timeoutMs: 50 }).request('GET', '/v1/wait')).rejects.toMatchObject({ code: 'GATEWAY_TIMEOUT' });
});

test('a port without a daemon is unreachable, with a hint', async () => {
  await server.close();
  await expect(client().request('GET', '/v1/peers/bob')).rejects.toMatchObject({
    code: 'GATEWAY_UNREACHABLE',
    hint: expect.any(String),
  });
});

test('whoever took the port cannot pass for the daemon', async () => {
  const { createServer } = await import('node:http');
  let proof: string | undefined;
  const squatter = createServer((request, response) => {
    // A proof made without the token, or one of an earlier answer.
    if (proof) response.setHeader('x-claw-proof', proof);
    response.end('{"peer":"mallory","query":""}');
  });
  squatter.on('upgrade', (_request, socket) =>
    socket.end('HTTP/1.1 101 X\r\nupgrade: claw-stream\r\nconnection: upgrade\r\n\r\n'),
  );
  squatter.listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  const { port } = squatter.address() as { port: number };
  const earlier = (await raw()).headers['x-claw-proof'];
  for (const attempt of [undefined, 'A'.repeat(43), '', earlier, 'é'.repeat(22)]) {
    proof = attempt === undefined ? undefined : Buffer.from(attempt).toString('latin1');
    await expect(client({ port }).request('GET', '/v1/peers/bob')).rejects.toMatchObject({ code: 'GATEWAY_UNPROVEN' });
    await expect(client({ port }).stream('GET', '/v1/count/1').next()).rejects.toMatchObject({
      code: 'GATEWAY_UNPROVEN',
    });
  }
  await expect(client({ port }).upgrade('/v1/streams/x')).rejects.toMatchObject({ code: 'GATEWAY_UNPROVEN' });
  await expect(client({ token: randomBytes(32) }).request('GET', '/v1/peers/bob')).rejects.toMatchObject({
    code: 'GATEWAY_UNPROVEN',
  });
  squatter.closeAllConnections();
  squatter.close();
});

test('a stream that is cut is not taken for whole', async () => {
  const { createServer } = await import('node:http');
  const { proofOf } = await import('../src/api/request-auth.ts');
  const cutter = createServer((request, response) => {
    response.setHeader('x-claw-proof', proofOf(token, request.headers['x-claw-signature'] as string));
    response.write('{"item":1}\n');
    setTimeout(() => (request.url === '/cut' ? response.destroy() : response.end()), 20);
  });
  cutter.listen(0, '127.0.0.1');
  await once(cutter, 'listening');
  const { port } = cutter.address() as { port: number };
  for (const path of ['/cut', '/short']) {
    const items = client({ port }).stream('GET', path);
    expect(await items.next()).toMatchObject({ value: 1 });
    await expect(items.next()).rejects.toMatchObject({ code: 'GATEWAY_CUT' });
  }
  cutter.close();
});

test('an upgrade carries bytes both ways, with the half close', async () => {
  const sent = randomBytes(3_000_000);
  const stream = await client().upgrade('/v1/streams/echo');
  const back: Buffer[] = [];
  stream.end(sent);
  for await (const chunk of stream) back.push(chunk);
  expect(Buffer.concat(back).equals(sent)).toBe(true);
});

test('bytes that follow an upgrade request at once are not lost', async () => {
  const socket = await dial();
  socket.end(`${await head('GET', '/v1/streams/echo', ['connection: upgrade', 'upgrade: claw-stream'])}early`);
  expect(await answerOf(socket)).toMatch(/^HTTP\/1\.1 101 .*\r\n\r\nearly$/s);
});

test('an upgrade is refused like any request', async () => {
  await expect(client().upgrade('/v1/streams/asleep')).rejects.toMatchObject({ code: 'SERVICE_ASLEEP' });
  await expect(client().upgrade('/v1/nothing/here')).rejects.toMatchObject({ code: 'UPGRADE_UNKNOWN' });
  await expect(client({ token: randomBytes(32) }).upgrade('/v1/streams/echo')).rejects.toMatchObject({
    code: 'GATEWAY_UNPROVEN',
  });
  expect(log.at(-1)).toMatchObject({ code: 'AUTH_SIGNATURE' });
  for (const lines of [['upgrade: websocket'], ['upgrade: claw-stream', 'content-length: 5'], ['upgrade: h2c']]) {
    const socket = await dial();
    socket.end(await head('GET', '/v1/streams/echo', ['connection: upgrade', ...lines]));
    expect(await answerOf(socket)).toMatch(/^HTTP\/1\.1 404 .*UPGRADE_UNKNOWN/s);
  }
  const replayed = await head('GET', '/v1/streams/echo', ['connection: upgrade', 'upgrade: claw-stream']);
  const answers = [];
  for (let i = 0; i < 2; i++) {
    const socket = await dial();
    socket.end(replayed);
    answers.push((await answerOf(socket)).slice(0, 12));
  }
  expect(answers).toEqual(['HTTP/1.1 101', 'HTTP/1.1 401']);
  const foreign = await dial();
  foreign.end(
    (await head('GET', '/v1/streams/echo', ['connection: upgrade', 'upgrade: claw-stream'])).replace(
      /host: .*\r\n/,
      'host: evil.example\r\n',
    ),
  );
  expect(await answerOf(foreign)).toMatch(/^HTTP\/1\.1 403 .*AUTH_HOST/s);
});

test('a stream whose handler fails is cut', async () => {
  const stream = await client().upgrade('/v1/streams/broken');
  stream.on('error', () => {});
  stream.resume();
  await once(stream, 'close');
  expect(log).toContainEqual(expect.objectContaining({ event: 'gateway.stream-failed', error: 'broken' }));
});

test('three hundred requests at once are all answered rightly', async () => {
  await server.close();
  server = await open({ maxConnections: 400 });
  const sums = await Promise.all(
    Array.from({ length: 300 }, (_, i) => client().request('POST', '/v1/sum', { body: { numbers: [i, 1] } })),
  );
  expect(sums).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
});

test('close ends handlers and streams, and is one close however often called', async () => {
  const waiting = client()
    .request('GET', '/v1/wait')
    .catch((error) => error);
  const stream = await client().upgrade('/v1/streams/echo');
  stream.on('error', () => {});
  const ended = once(stream, 'close');
  stream.resume();
  const started = performance.now();
  expect(server.close()).toBe(server.close());
  await server[Symbol.asyncDispose]();
  await ended;
  expect(await waiting).toBeInstanceOf(ClawError);
  expect(performance.now() - started).toBeLessThan(1500);
  await expect(client().request('GET', '/v1/peers/bob')).rejects.toMatchObject({ code: 'GATEWAY_UNREACHABLE' });
});

interface OperationLike {
  readonly requestBody: { readonly content: Record<string, { readonly schema: unknown }> };
  readonly responses: Record<string, { readonly content: unknown }>;
}

test('the OpenAPI document names every route, its schemas and its failures', async () => {
  const document = (await client().request('GET', '/v1/openapi.json')) as {
    paths: Record<string, Record<string, OperationLike>>;
  };
  const operation = (path: string, method: string) =>
    document.paths[path]?.[method] ?? expect.fail(`${method} ${path} is missing`);
  expect(document).toMatchObject({ openapi: '3.1.0', info: { version: '1.2.3' } });
  expect(Object.keys(document.paths)).toEqual([
    '/v1/peers/{peer}',
    '/v1/sum',
    '/v1/wait',
    '/v1/count/{to}',
    '/v1/openapi.json',
    '/v1/streams/{service}',
  ]);
  expect(operation('/v1/peers/{peer}', 'get')).toMatchObject({
    summary: 'One peer',
    parameters: [{ name: 'peer', in: 'path', required: true }],
    responses: {
      200: { content: { 'application/json': { schema: { type: 'object', required: ['peer', 'query'] } } } },
      410: { description: 'PEER_GONE' },
    },
  });
  expect(operation('/v1/sum', 'post').requestBody.content).toMatchObject({
    'application/json': {
      schema: {
        type: 'object',
        properties: { numbers: { type: 'array', items: { type: 'number' } } },
        additionalProperties: false,
      },
    },
  });
  expect(Object.keys(document.paths['/v1/sum'] ?? {})).toEqual(['post', 'delete']);
  expect(operation('/v1/count/{to}', 'get').responses[200]?.content).toHaveProperty(['application/x-ndjson']);
  expect(operation('/v1/streams/{service}', 'get').responses).toHaveProperty('101');
});
