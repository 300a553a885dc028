/**
 * TCP to whichever address of a peer answers first: all are tried, 250 ms apart
 * (RFC 8305), each with a limit. And a way through an HTTP proxy by CONNECT
 * (RFC 9110 §9.3.6).
 */

import { connect, type Socket } from 'node:net';
import { errorText, sleep } from '@claw/base';
import type { LabServices } from '../contract.ts';
import { sharedClock } from '../shared-clock.ts';

export type HttpProxy = NonNullable<LabServices['httpProxy']>;

const STAGGER_MS = 250;
const CONNECT_LIMIT_MS = 15_000;
const MAX_PROXY_ANSWER_BYTES = 16 * 1024;

export interface DialOptions {
  readonly addresses: readonly string[];
  readonly port: number;
  /** Goes through this proxy in place of directly. */
  readonly proxy?: HttpProxy | undefined;
}

/** @throws Error with what became of each address. */
export async function dial({ addresses, port, proxy }: DialOptions): Promise<Socket> {
  const hosts = [...new Set(addresses)];
  if (hosts.length === 0) throw new Error('the peer has no address');
  let winner: Socket | undefined;
  const attempts = hosts.map(async (host, index) => {
    await sleep(sharedClock, index * STAGGER_MS);
    if (winner) throw new Error(`${host}: another address answered first`);
    const socket = proxy ? await connectThroughProxy(proxy, host, port) : await connectTo(host, port);
    if (winner) socket.destroy();
    winner ??= socket;
    return socket;
  });
  try {
    return await Promise.any(attempts);
  } catch (error) {
    if (!(error instanceof AggregateError)) throw error;
    throw new Error(error.errors.map(errorText).join('; '), { cause: error });
  }
}

function connectTo(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    const timer = sharedClock.setTimer(CONNECT_LIMIT_MS, () =>
      socket.destroy(new Error(`connect to ${host}:${port}: no answer in ${CONNECT_LIMIT_MS / 1000} s`)),
    );
    const failed = (error: Error) => {
      timer.cancel();
      reject(error);
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      timer.cancel();
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

/** @throws Error with the proxy's own status line. */
async function connectThroughProxy(proxy: HttpProxy, host: string, port: number): Promise<Socket> {
  const socket = await connectTo(proxy.host, proxy.port);
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const login = Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64');
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: Basic ${login}\r\n\r\n`);
  const answer = await readHead(socket);
  const status = answer.split('\r\n', 1)[0] ?? '';
  if (/^HTTP\/1\.[01] 2\d\d\b/.test(status)) return socket;
  socket.destroy();
  throw new Error(`the proxy answered CONNECT ${authority} with ${status}`);
}

/** Reads up to the empty line; what came behind it stays in the socket. */
function readHead(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0);
    const done = (error?: Error) => {
      timer.cancel();
      socket.off('data', onData).off('error', onError).off('close', onClose);
      socket.pause();
      if (error) socket.destroy();
      if (error) reject(error);
      else resolve(head.toString('latin1'));
    };
    const onError = (error: Error) => done(error);
    const onClose = () => done(new Error('the proxy closed the connection'));
    const onData = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0 && head.length > MAX_PROXY_ANSWER_BYTES) return done(new Error('the proxy answers without end'));
      if (end < 0) return;
      if (head.length > end + 4) socket.unshift(head.subarray(end + 4));
      head = head.subarray(0, end);
      done();
    };
    const timer = sharedClock.setTimer(CONNECT_LIMIT_MS, () => done(new Error('the proxy did not answer CONNECT')));
    socket.on('data', onData).on('error', onError).on('close', onClose);
  });
}
