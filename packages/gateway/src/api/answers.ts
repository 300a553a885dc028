/** Answers as JSON; by hand where Node.js has handed the connection over or has no request. */

import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorBody, statusOf } from './errors.ts';
import { PROOF_HEADER } from './request-auth.ts';

export const COMMON_HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

export function sendJson(request: IncomingMessage, response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value) ?? 'null');
  response.writeHead(status, { ...COMMON_HEADERS, 'content-type': 'application/json', 'content-length': body.length });
  response.end(request.method === 'HEAD' ? undefined : body);
}

export function sendError(
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
  own?: Readonly<Record<string, number>>,
): void {
  if (response.headersSent) return void response.destroy();
  const body = errorBody(error);
  // What is left of an unread body would be taken for the next request.
  if (!request.complete) response.setHeader('connection', 'close');
  sendJson(request, response, statusOf(body.error.code, own), body);
}

/** Answers with an error and ends the connection. */
export function refuseRaw(
  stream: Duplex,
  error: unknown,
  own?: Readonly<Record<string, number>>,
  proof?: string,
): void {
  if (!stream.writable) return void stream.destroy();
  const body = errorBody(error);
  const status = statusOf(body.error.code, own);
  const text = JSON.stringify(body);
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(text)}`,
    'cache-control: no-store',
    'connection: close',
    ...(proof ? [`${PROOF_HEADER}: ${proof}`] : []),
  ];
  stream.end(`${lines.join('\r\n')}\r\n\r\n${text}`, () => stream.destroy());
}

/** 101: from here on the connection belongs to `protocol`. */
export function writeSwitch(stream: Duplex, protocol: string, proof: string): void {
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    `upgrade: ${protocol}`,
    'connection: upgrade',
    `${PROOF_HEADER}: ${proof}`,
  ];
  stream.write(`${lines.join('\r\n')}\r\n\r\n`);
}
