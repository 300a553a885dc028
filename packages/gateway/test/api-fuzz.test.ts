import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createLogger, systemClock, systemRandom } from '@claw/base';
import fc from 'fast-check';
import * as v from 'valibot';
import { expect, test } from 'vitest';
import { createGatewayClient, openGatewayServer, route, streamRoute } from '../src/api/index.ts';
import { signRequest } from '../src/api/request-auth.ts';

const numRuns = Number(process.env['CLAW_FUZZ_RUNS'] ?? 2000);
const token = randomBytes(32);

test('random requests and raw bytes never crash the server, reach a handler unsigned, or leave a 500', {
  timeout: 300_000,
}, async () => {
  let handled = 0;
  const failures: string[] = [];
  await using server = await openGatewayServer({
    token,
    requestTimeoutMs: 2000,
    logger: createLogger({ write: (line) => failures.push(line), level: 'error' }),
    routes: [
      route({
        method: 'POST',
        path: '/v1/echo/:a',
        summary: 'x',
        body: v.unknown(),
        response: v.unknown(),
        handle: ({ body }) => (handled++, body),
      }),
      streamRoute({
        method: 'GET',
        path: '/v1/s',
        summary: 'x',
        response: v.number(),
        async *handle() {
          handled++;
          yield 1;
        },
      }),
    ],
    upgrades: [{ path: '/v1/u', summary: 'x', open: () => (handled++, async (stream) => void stream.pipe(stream)) }],
  });
  const send = async (bytes: Buffer): Promise<string> => {
    const socket = connect(server.port, '127.0.0.1');
    let answer = '';
    socket.on('error', () => {}).on('data', (chunk) => (answer += chunk));
    const closed = once(socket, 'close', { signal: AbortSignal.timeout(8000) });
    socket.end(bytes);
    await closed;
    return answer;
  };
  const target = fc.constantFrom(
    '/v1/echo/a',
    '/v1/echo/%',
    '/v1/s',
    '/v1/u',
    '/',
    '*',
    '/v1/openapi.json',
    'http://x/v1/s',
    '//v1',
    '/v1/echo/%00?a=%ff&&=',
  );
  const method = fc.constantFrom('GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'TRACE', 'CONNECT', 'X');
  const extra = fc.constantFrom(
    'connection: upgrade',
    'upgrade: claw-stream',
    'upgrade: x',
    'transfer-encoding: chunked',
    'content-length: 5',
    'expect: 100-continue',
    'content-type: application/json',
    'host: x',
    'connection: close',
    'x-claw-nonce: a',
    '__proto__: 1',
    'origin: null',
  );
  const shaped = fc.record({
    kind: fc.constant('shaped' as const),
    method: fc.oneof(fc.constantFrom('GET', 'POST'), method),
    target: fc.oneof(fc.constantFrom('/v1/echo/a', '/v1/s', '/v1/u'), target),
    lines: fc.oneof(
      fc.constantFrom(['content-type: application/json'], ['connection: upgrade', 'upgrade: claw-stream'], []),
      fc.array(extra, { maxLength: 4 }),
    ),
    signed: fc.boolean(),
    body: fc.oneof(fc.constant(''), fc.json(), fc.string()),
  });
  const plausible = fc.constantFrom(
    { method: 'POST', target: '/v1/echo/a', lines: ['content-type: application/json'], body: '{"a":1}' },
    { method: 'GET', target: '/v1/s', lines: [], body: '' },
    { method: 'GET', target: '/v1/u', lines: ['connection: upgrade', 'upgrade: claw-stream'], body: '' },
  );
  const fitting = fc
    .tuple(plausible, fc.boolean())
    .map(([request, signed]) => ({ kind: 'shaped' as const, signed, ...request }));
  const noise = fc.record({
    kind: fc.constant('noise' as const),
    bytes: fc.uint8Array({ maxLength: 300 }),
    line: fc.boolean(),
  });
  const seen = { signed: 0, unsigned: 0, answered: 0 };
  type Input =
    typeof shaped extends fc.Arbitrary<infer S> ? (typeof noise extends fc.Arbitrary<infer N> ? S | N : never) : never;
  const check = async (input: Input) => {
    const before = handled;
    let answer: string;
    let mayHandle = false;
    if (input.kind === 'noise') {
      answer = await send(Buffer.concat([Buffer.from(input.line ? 'GET /v1/s HTTP/1.1\r\n' : ''), input.bytes]));
    } else {
      const body = Buffer.from(input.body);
      mayHandle = input.signed;
      const auth = signRequest(
        input.signed ? token : randomBytes(32),
        { method: input.method, target: input.target, body },
        systemClock,
        systemRandom,
      );
      const headers = [
        `host: 127.0.0.1:${server.port}`,
        `content-length: ${body.length}`,
        ...Object.entries(auth).map(([k, x]) => `${k}: ${x}`),
        ...input.lines,
      ];
      answer = await send(
        Buffer.concat([
          Buffer.from(`${input.method} ${input.target} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`),
          body,
        ]),
      );
      seen[input.signed ? 'signed' : 'unsigned'] += 1;
    }
    if (answer) seen.answered += 1;
    expect(answer).not.toMatch(/HTTP\/1\.1 5\d\d/);
    if (!mayHandle) {
      expect(handled).toBe(before);
      expect(answer).not.toMatch(/x-claw-proof|HTTP\/1\.1 (?:[23]|101)/);
    }
  };
  // One at a time, so that a handled request has one suspect.
  await fc.assert(fc.asyncProperty(fc.oneof(fitting, shaped, shaped, noise), check), { numRuns });
  expect(failures).toEqual([]);
  expect(handled).toBeGreaterThan(numRuns / 50);
  expect(seen.answered).toBeGreaterThan(numRuns / 2);
  expect(
    await createGatewayClient({ port: server.port, token }).request('POST', '/v1/echo/x', { body: { fine: true } }),
  ).toEqual({ fine: true });
});
