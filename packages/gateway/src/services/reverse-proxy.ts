/**
 * Forwards HTTP requests to one origin (RFC 9110 §7.6): hop-by-hop fields stay
 * behind, `host` becomes the origin's, the peer's name goes along in
 * `x-claw-peer`, which nobody else can set.
 */

import { Agent as HttpAgent, type IncomingMessage, type OutgoingHttpHeaders, request as httpRequest, type ServerResponse } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream';
import { type HttpHandler, refuse } from './http-share.ts';

const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer', 'upgrade'];

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
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.statusMessage, withoutHopByHop(answer));
      pipeline(answer, response, () => {});
    });
    upstream.on('error', (error) => {
      if (response.headersSent) response.destroy();
      else refuse(response, 502, `The shared service does not answer: ${error.message}`);
    });
    response.on('close', () => upstream.destroy());
    pipeline(request, upstream, () => {});
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, peer: string): void {
    const headers = { ...forwardedHeaders(request, this.#origin, peer), connection: 'upgrade', upgrade: request.headers.upgrade ?? '' };
    const upstream = this.#send(request, headers);
    socket.on('error', () => upstream.destroy());
    upstream.on('error', () => socket.destroy());
    upstream.on('response', (answer) => {
      writeHead(socket, answer);
      pipeline(answer, socket, () => {});
    });
    upstream.on('upgrade', (answer, upstreamSocket, upstreamHead) => {
      writeHead(socket, answer);
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
  headers['x-forwarded-host'] = request.headers.host;
  headers['host'] = origin.host;
  headers['x-claw-peer'] = peer;
  return headers;
}

function withoutHopByHop(message: IncomingMessage): OutgoingHttpHeaders {
  const named = (message.headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const dropped = new Set([...HOP_BY_HOP, ...named]);
  return Object.fromEntries(Object.entries(message.headers).filter(([name]) => !dropped.has(name)));
}

/** Copies a response's head to a raw connection, byte for byte as the origin gave its fields. */
function writeHead(socket: Duplex, answer: IncomingMessage): void {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`];
  for (let index = 0; index < answer.rawHeaders.length; index += 2) {
    lines.push(`${answer.rawHeaders[index]}: ${answer.rawHeaders[index + 1]}`);
  }
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
}
