/**
 * HTTP on the serving side of a share: streams of the link are connections of a
 * server that listens nowhere. Requests go to a handler: the reverse proxy below,
 * or the folder of files-share.ts.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { errorText } from '@claw/base';
import type { LinkStream } from '@claw/link';
import type { Share, ShareContext } from './share.ts';

export interface HttpHandler {
  request(request: IncomingMessage, response: ServerResponse, peer: string): void;
  /** Takes over the connection for a protocol such as WebSocket; absent: upgrades are refused. */
  upgrade?(request: IncomingMessage, socket: Duplex, head: Buffer, peer: string): void;
  close(): void;
}

export class HttpShare implements Share {
  readonly #handler: HttpHandler;
  readonly #server: Server;
  readonly #streams = new Map<Duplex, string>();

  constructor(handler: HttpHandler) {
    this.#handler = handler;
    // What else may be offered, such as h2c, is left alone, as RFC 9110 §7.8 allows.
    const shouldUpgradeCallback = ({ headers }: IncomingMessage) =>
      handler.upgrade !== undefined && headers.upgrade?.toLowerCase() === 'websocket';
    this.#server = createServer({ shouldUpgradeCallback }, (request, response) => this.#handle(request, response));
    this.#server.requestTimeout = 0; // uploads may take their time; the peer is known and counted
    this.#server.on('upgrade', (request, socket, head) =>
      handler.upgrade?.(request, socket, head, this.#peerOf(request)),
    );
    this.#server.on('clientError', (_, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
      else socket.destroy();
    });
  }

  async serve(accept: () => LinkStream, context: ShareContext): Promise<void> {
    const stream = accept();
    this.#streams.set(stream, context.peer);
    this.#server.emit('connection', stream);
    await finished(stream).catch(() => {}); // a connection that breaks off is nobody's fault here
    this.#streams.delete(stream);
  }

  async close(): Promise<void> {
    for (const stream of this.#streams.keys()) stream.destroy();
    this.#handler.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A request that a handler chokes on is answered, and ends nobody but itself. */
  #handle(request: IncomingMessage, response: ServerResponse): void {
    try {
      this.#handler.request(request, response, this.#peerOf(request));
    } catch (error) {
      refuse(response, 400, `This request cannot be served: ${errorText(error)}`);
    }
  }

  #peerOf(request: IncomingMessage): string {
    return this.#streams.get(request.socket) ?? '';
  }
}

/** Answers with a plain sentence; an answer that has begun is broken off instead. */
export function refuse(response: ServerResponse, status: number, message: string): void {
  if (response.headersSent) return void response.destroy();
  for (const name of response.getHeaderNames()) if (name !== 'allow') response.removeHeader(name);
  response.writeHead(status, STATUS_CODES[status] ?? '', { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${message}\n`);
}
