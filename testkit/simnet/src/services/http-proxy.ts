/** An HTTP proxy that takes CONNECT with basic authentication (RFC 9110, section 9.3.6), to IPv4 addresses: there are no names here. */

import { isIPv4 } from 'node:net';
import { isClawError } from '@claw/base';
import type { ServiceSpec } from '@claw/scenarios';
import type { Host } from '../host/host.ts';
import type { Endpoint } from '../nat/flow.ts';
import type { TcpStream } from '../tcp/stream.ts';

/** What the `http-proxy` service of every simulated host takes. */
export const SIMNET_PROXY = { username: 'claw', password: 'claw' } as const;

const DEFAULT_PORT = 3128;
const MAX_HEAD_BYTES = 8192;
const CONNECT_TIMEOUT_MS = 10_000;
const HEAD_END = '\r\n\r\n';

export function startHttpProxy(
  host: Host,
  spec: Extract<ServiceSpec, { readonly kind: 'http-proxy' }>,
): { close(): void } {
  const streams = new Set<TcpStream>();
  const serve = async (client: TcpStream) => {
    streams.add(client);
    try {
      await answer(host, client, streams);
    } catch (error) {
      // One of the two connections broke, and takes the other with it.
      if (!isClawError(error)) throw error;
      client.reset();
    } finally {
      streams.delete(client);
    }
  };
  const listener = host.listenTcp({ port: spec.port ?? DEFAULT_PORT }, (client) => void serve(client));
  return {
    close() {
      listener.close();
      for (const stream of streams) stream.reset();
    },
  };
}

async function answer(host: Host, client: TcpStream, streams: Set<TcpStream>): Promise<void> {
  const head = await readHead(client);
  const target = head && targetOf(head.text);
  if (!target) return refuse(client, '400 Bad Request');
  if (!isAuthorized(head.text)) {
    return refuse(client, '407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="simnet"');
  }
  let server: TcpStream;
  try {
    server = await host.connectTcp({ ...target, connectTimeoutMs: CONNECT_TIMEOUT_MS });
  } catch (error) {
    if (!isClawError(error)) throw error;
    return refuse(client, '502 Bad Gateway');
  }
  streams.add(server);
  try {
    await client.write(Buffer.from(`HTTP/1.1 200 Connected${HEAD_END}`));
    if (head.rest.length > 0) await server.write(head.rest);
    await Promise.all([pipe(client, server), pipe(server, client)]);
  } catch (error) {
    server.reset();
    throw error;
  } finally {
    streams.delete(server);
  }
}

async function readHead(client: TcpStream): Promise<{ readonly text: string; readonly rest: Buffer } | undefined> {
  let held: Buffer = Buffer.alloc(0);
  for (let bytes = await client.read(); bytes; bytes = await client.read()) {
    held = Buffer.concat([held, bytes]);
    const end = held.indexOf(HEAD_END);
    if (end >= 0) return { text: held.toString('latin1', 0, end), rest: held.subarray(end + HEAD_END.length) };
    if (held.length > MAX_HEAD_BYTES) return undefined;
  }
  return undefined;
}

function targetOf(head: string): Endpoint | undefined {
  const [, address = '', port = ''] = /^CONNECT ([\d.]+):(\d{1,5}) HTTP\/1\.[01]\r?$/m.exec(head) ?? [];
  return isIPv4(address) && Number(port) > 0 && Number(port) < 65_536 ? { address, port: Number(port) } : undefined;
}

function isAuthorized(head: string): boolean {
  const { username, password } = SIMNET_PROXY;
  const [, given] = /^proxy-authorization: basic ([\w+/=]+)\r?$/im.exec(head) ?? [];
  return given === Buffer.from(`${username}:${password}`).toString('base64');
}

async function refuse(client: TcpStream, status: string): Promise<void> {
  await client.write(Buffer.from(`HTTP/1.1 ${status}\r\nContent-Length: 0${HEAD_END}`));
  client.end();
}

async function pipe(from: TcpStream, to: TcpStream): Promise<void> {
  for (let bytes = await from.read(); bytes; bytes = await from.read()) await to.write(bytes);
  to.end();
}
