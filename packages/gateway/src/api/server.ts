/**
 * The daemon's door: HTTP on 127.0.0.1 and nowhere else. Nothing about the API can
 * be learnt or tried without the session's token: every request is authenticated
 * before its path is looked at. Plain `node:http`: with our own route table, a
 * framework added 7 MB of memory and no line less.
 */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type Clock,
  errorCode,
  errorText,
  isClawError,
  type Logger,
  silentLogger,
  systemClock,
  TaskScope,
} from '@claw/base';
import * as v from 'valibot';
import { COMMON_HEADERS, refuseRaw, sendError, sendJson, writeSwitch } from './answers.ts';
import { parseBody, readBody } from './body.ts';
import { apiError } from './errors.ts';
import { sendLines } from './ndjson.ts';
import { PROOF_HEADER, proofOf, RequestVerifier, type RequestVerifierOptions } from './request-auth.ts';
import { headerReader, pathOf, splitTarget } from './request-head.ts';
import {
  matchPath,
  type RequestContext,
  type Route,
  STREAM_PROTOCOL,
  type StreamRoute,
  type UpgradeRoute,
} from './routes.ts';

export interface GatewayServerOptions {
  /** Must be `127.0.0.1`, the default. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** 32 random bytes, made anew at every start. */
  readonly token: Uint8Array;
  readonly routes: readonly Route[];
  readonly upgrades?: readonly UpgradeRoute[];
  /** Shown in the OpenAPI document. */
  readonly version?: string;
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** Origins of pages that are our own. Default none. */
  readonly origins?: readonly string[];
  /** How long a request, headers and body, may take to arrive. Default 10,000 ms. */
  readonly requestTimeoutMs?: number;
  /** Connections at once, upgraded ones included; more are dropped. Default 128. */
  readonly maxConnections?: number;
  /** How long {@link GatewayServer.close} waits for handlers. Default 2,000 ms. */
  readonly closeDeadlineMs?: number;
  /** See {@link RequestVerifierOptions}. */
  readonly maxNonces?: RequestVerifierOptions['maxNonces'];
}

export interface GatewayServer extends AsyncDisposable {
  readonly port: number;
  /** Aborts every handler's signal, cuts the streams, waits for handlers up to the deadline, then cuts the rest. Idempotent. */
  close(): Promise<void>;
}

const HEADERS_TIMEOUT_MS = 5000;
const KEEP_ALIVE_TIMEOUT_MS = 5000;
const MAX_HEADER_BYTES = 16_384;

/**
 * Listens when it resolves. The caller closes it.
 * @throws RangeError for a host that is not 127.0.0.1; the system's error for a port that is taken
 */
export async function openGatewayServer(options: GatewayServerOptions): Promise<GatewayServer> {
  const host = options.host ?? '127.0.0.1';
  if (host !== '127.0.0.1') throw new RangeError(`the gateway listens on 127.0.0.1 alone, not on ${host}`);
  const requestTimeout = options.requestTimeoutMs ?? 10_000;
  const server = createServer({
    requestTimeout,
    headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeout),
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: Math.min(1000, requestTimeout),
    maxHeaderSize: MAX_HEADER_BYTES,
  });
  server.maxConnections = options.maxConnections ?? 128;
  server.listen(options.port ?? 0, host);
  await once(server, 'listening');
  return new HttpGateway(server, options);
}

class HttpGateway implements GatewayServer {
  readonly port: number;
  readonly #server: Server;
  readonly #verifier: RequestVerifier;
  readonly #token: Uint8Array;
  readonly #routes: readonly Route[];
  readonly #upgrades: readonly UpgradeRoute[];
  readonly #logger: Logger;
  readonly #scope: TaskScope;
  readonly #streams = new Set<Duplex>();
  #closing: Promise<void> | undefined;

  constructor(server: Server, options: GatewayServerOptions) {
    const { token, routes, upgrades = [], version = '0.0.0', origins, maxNonces, clock = systemClock } = options;
    this.port = (server.address() as AddressInfo).port;
    this.#server = server;
    this.#token = token;
    this.#logger = options.logger ?? silentLogger;
    this.#routes = [...routes, documentRoute(() => this.#routes, upgrades, version)];
    this.#upgrades = upgrades;
    this.#verifier = new RequestVerifier({
      token,
      clock,
      port: this.port,
      ...(origins ? { origins } : {}),
      ...(maxNonces === undefined ? {} : { maxNonces }),
    });
    this.#scope = new TaskScope({
      clock,
      closeDeadlineMs: options.closeDeadlineMs ?? 2000,
      onError: (error, task) => this.#logger.error('gateway.failed', { task, error: errorText(error) }),
    });
    server.on('request', (request, response) => this.#onRequest(request, response));
    server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
    server.on('clientError', (error, socket) => refuseRaw(socket, clientFault(error)));
    server.on('drop', () => this.#logger.warn('gateway.dropped', { reason: 'too many connections' }));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    const ended = this.#scope.close(apiError('GATEWAY_CLOSING', 'the daemon is closing'));
    for (const stream of this.#streams) stream.destroy();
    await ended;
    this.#server.closeAllConnections();
    await closed;
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    response.on('error', () => {});
    if (this.#scope.closed) return sendError(request, response, apiError('GATEWAY_CLOSING', 'the daemon is closing'));
    this.#scope.run('request', async (closing) => {
      const gone = new AbortController();
      response.once('close', () => gone.abort(apiError('GATEWAY_CUT', 'the caller has gone')));
      const signal = AbortSignal.any([closing, gone.signal]);
      const matched: { route?: Route } = {};
      try {
        await this.#answer(request, response, signal, matched);
      } catch (error) {
        if (gone.signal.aborted) return this.#logger.debug('gateway.caller-gone', { path: pathOf(request) });
        this.#logRefusal(error, request);
        sendError(request, response, error, matched.route?.errors);
      }
    });
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
    matched: { route?: Route },
  ): Promise<void> {
    const body = await this.#authenticate(request, (proof) => response.setHeader(PROOF_HEADER, proof));
    const { pathname, query } = splitTarget(request);
    const candidates = matchPath(this.#routes, pathname);
    if (candidates.length === 0) throw apiError('ROUTE_NOT_FOUND', 'the API has no such path');
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const found = candidates.find((candidate) => candidate.route.method === method);
    if (!found) {
      response.setHeader('allow', allowed(candidates.map((candidate) => candidate.route.method)));
      if (method === 'OPTIONS') return void response.writeHead(204, COMMON_HEADERS).end();
      throw apiError('METHOD_NOT_ALLOWED', `this path does not take ${method}`);
    }
    const { route, params } = found;
    matched.route = route;
    const context = { params, query, signal, body: parseBody(route.body, request.headers['content-type'], body) };
    if (route.stream) return answerStream(request, response, route, context);
    const value = await route.handle(context);
    sendJson(request, response, route.status ?? 200, checkAnswer(route, value));
  }

  /** The body of a request that knows the token; `onProven` runs as soon as that is certain. */
  async #authenticate(request: IncomingMessage, onProven: (proof: string) => void): Promise<Buffer> {
    const credentials = this.#verifier.checkHeaders(headerReader(request));
    const body = await readBody(request);
    this.#verifier.checkSignature(credentials, { method: request.method ?? '', target: request.url ?? '', body });
    onProven(proofOf(this.#token, credentials.signature));
    this.#verifier.admit(credentials);
    return body;
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => {});
    if (this.#scope.closed) return void socket.destroy();
    this.#streams.add(socket);
    socket.once('close', () => this.#streams.delete(socket));
    this.#scope.run('upgrade', async (closing) => {
      const gone = new AbortController();
      socket.once('close', () => gone.abort(apiError('GATEWAY_CUT', 'the caller has gone')));
      const matched: { route?: UpgradeRoute; proof?: string } = {};
      let carry: (stream: Duplex) => Promise<void>;
      try {
        carry = await this.#acceptUpgrade(request, AbortSignal.any([closing, gone.signal]), matched);
      } catch (error) {
        this.#logRefusal(error, request);
        return refuseRaw(socket, error, matched.route?.errors, matched.proof);
      }
      writeSwitch(socket, STREAM_PROTOCOL, matched.proof as string);
      if (head.length > 0) socket.unshift(head);
      try {
        await carry(socket);
        socket.end();
      } catch (error) {
        socket.destroy();
        if (!closing.aborted)
          this.#logger.warn('gateway.stream-failed', { path: pathOf(request), error: errorText(error) });
      }
    });
  }

  async #acceptUpgrade(
    request: IncomingMessage,
    signal: AbortSignal,
    matched: { route?: UpgradeRoute; proof?: string },
  ) {
    const credentials = this.#verifier.checkHeaders(headerReader(request));
    const body = Buffer.alloc(0);
    this.#verifier.checkSignature(credentials, { method: request.method ?? '', target: request.url ?? '', body });
    matched.proof = proofOf(this.#token, credentials.signature);
    this.#verifier.admit(credentials);
    const { pathname, query } = splitTarget(request);
    const [found] = matchPath(this.#upgrades, pathname);
    const bodied =
      Number(request.headers['content-length'] ?? 0) > 0 || request.headers['transfer-encoding'] !== undefined;
    if (!found || request.method !== 'GET' || bodied || request.headers.upgrade !== STREAM_PROTOCOL) {
      throw apiError(
        'UPGRADE_UNKNOWN',
        `upgrades are GET requests for ${STREAM_PROTOCOL}, without a body, on a path that has one`,
      );
    }
    matched.route = found.route;
    return found.route.open({ params: found.params, query, signal, body: undefined });
  }

  #logRefusal(error: unknown, request: IncomingMessage): void {
    const fields = { code: errorCode(error), method: request.method, path: pathOf(request) };
    if (isClawError(error)) this.#logger.warn('gateway.refused', { ...fields, message: error.message });
    else this.#logger.error('gateway.failed', { ...fields, error: errorText(error) });
  }
}

function documentRoute(routes: () => readonly Route[], upgrades: readonly UpgradeRoute[], version: string): Route {
  return {
    method: 'GET',
    path: '/v1/openapi.json',
    summary: 'This API as an OpenAPI 3.1 document',
    response: v.looseObject({ openapi: v.string() }),
    handle: async () => (await import('./openapi.ts')).buildOpenApi(routes(), upgrades, { version }),
  };
}

async function answerStream(
  request: IncomingMessage,
  response: ServerResponse,
  route: StreamRoute,
  context: RequestContext,
): Promise<void> {
  const headers = { ...COMMON_HEADERS, 'content-type': 'application/x-ndjson' };
  if (request.method === 'HEAD') return void response.writeHead(route.status ?? 200, headers).end();
  const items = await route.handle(context);
  response.writeHead(route.status ?? 200, headers).flushHeaders();
  await sendLines(response, items, (item) => checkAnswer(route, item), context.signal);
}

/** What does not fit the declared shape is a fault of ours; what the shape does not name stays here. */
function checkAnswer(route: Route, value: unknown): unknown {
  const result = v.safeParse(route.response, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(
    `${route.method} ${route.path} answered out of shape: ${v.getDotPath(issue) ?? 'value'}: ${issue.message}`,
  );
}

function clientFault(error: Error): unknown {
  switch (errorCode(error)) {
    case 'HPE_HEADER_OVERFLOW':
      return apiError('REQUEST_TOO_LARGE', `the headers have more than ${MAX_HEADER_BYTES} bytes`);
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return apiError('REQUEST_TIMEOUT', 'the request took too long to arrive');
    default:
      return apiError('REQUEST_MALFORMED', 'the request is not HTTP/1.1 as this server reads it');
  }
}

function allowed(methods: readonly string[]): string {
  return [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
}
