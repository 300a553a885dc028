/**
 * Forwards HTTP requests to one origin (RFC 9110 §7.6): hop-by-hop fields stay
 * behind, `host` becomes the origin's, the peer's name goes along in
 * `x-claw-peer`, which nobody else can set.
 */

import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream';
import { errorText } from '@claw/base';
import { type HttpHandler, refuse } from './http-share.ts';

/** Fields that a `connection` field may not take away: they say where a message ends and whom it is for. */
const FRAMING = ['content-length', 'transfer-encoding', 'host'];
const PEER_FIELD = 'x-claw-peer';
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
];

export class ReverseProxy implements HttpHandler {
  readonly #origin: URL;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(target: string) {
    this.#origin = new URL(target);
    const options = { keepAlive: true, maxSockets: 256 };
    this.#agent = this.#origin.protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options);
  }

  request(request: IncomingMessage, response: ServerResponse, peer: string): void {
    if (!request.url?.startsWith('/')) return refuse(response, 400, 'Only requests for a path are forwarded.');
    const upstream = this.#send(request, forwardedHeaders(request, this.#origin, peer));
    const fail = (error: unknown) => refuse(response, 502, `The shared service does not answer: ${errorText(error)}`);
    upstream.on('response', (answer) => {
      try {
        response.writeHead(answer.statusCode ?? 502, answer.statusMessage, answeredHeaders(answer));
        pipeline(answer, response, () => {});
      } catch (error) {
        fail(error); // a head that HTTP does not allow
        upstream.destroy();
      }
    });
    upstream.on('error', fail);
    response.on('close', () => upstream.destroy());
    pipeline(request, upstream, () => {});
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, peer: string): void {
    const headers = {
      ...forwardedHeaders(request, this.#origin, peer),
      connection: 'upgrade',
      upgrade: request.headers.upgrade ?? '',
    };
    const upstream = this.#send(request, headers);
    socket.on('error', () => upstream.destroy());
    upstream.on('error', () => socket.destroy());
    upstream.on('response', (answer) => {
      // No upgrade after all. The body comes without its chunks, so it ends with the connection.
      writeHead(socket, answer, (name) => !['connection', 'keep-alive', 'transfer-encoding'].includes(name), [
        'connection: close',
      ]);
      pipeline(answer, socket, () => {});
    });
    upstream.on('upgrade', (answer, upstreamSocket, upstreamHead) => {
      writeHead(socket, answer, () => true);
      if (upstreamHead.length > 0) socket.write(upstreamHead);
      if (head.length > 0) upstreamSocket.write(head);
      pipeline(socket, upstreamSocket, () => {});
      pipeline(upstreamSocket, socket, () => {});
    });
    upstream.end();
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(request: IncomingMessage, headers: OutgoingHttpHeaders) {
    const send = this.#origin.protocol === 'https:' ? httpsRequest : httpRequest;
    const path = this.#origin.pathname.replace(/\/$/, '') + (request.url ?? '/');
    return send(this.#origin, { method: request.method, path, headers, agent: this.#agent, setHost: false });
  }
}

function forwardedHeaders(request: IncomingMessage, origin: URL, peer: string): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = withoutHopByHop(request);
  // Servers that know fields as variables take "_" for "-".
  for (const name of Object.keys(headers)) if (name.replaceAll('_', '-') === PEER_FIELD) delete headers[name];
  if (request.headers.host !== undefined) headers['x-forwarded-host'] = request.headers.host; // HTTP/1.0 may lack it
  headers['host'] = origin.host;
  headers[PEER_FIELD] = peer;
  return headers;
}

function withoutHopByHop(message: IncomingMessage): OutgoingHttpHeaders {
  const named = (message.headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const dropped = new Set([...HOP_BY_HOP, ...named.filter((name) => !FRAMING.includes(name))]);
  return Object.fromEntries(Object.entries(message.headers).filter(([name]) => !dropped.has(name)));
}

/** How a body is framed is settled anew towards the peer. */
function answeredHeaders(answer: IncomingMessage): OutgoingHttpHeaders {
  const { 'transfer-encoding': _, ...headers } = withoutHopByHop(answer);
  return headers;
}

/** Copies a response's head to a raw connection: the fields that `keeps` names as the origin wrote them, then `added`. */
function writeHead(
  socket: Duplex,
  answer: IncomingMessage,
  keeps: (name: string) => boolean,
  added: readonly string[] = [],
): void {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`];
  for (let index = 0; index < answer.rawHeaders.length; index += 2) {
    const name = answer.rawHeaders[index] as string;
    if (keeps(name.toLowerCase())) lines.push(`${name}: ${answer.rawHeaders[index + 1]}`);
  }
  lines.push(...added);
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
}
