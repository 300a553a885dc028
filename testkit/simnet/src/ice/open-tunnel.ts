/** A tunnel through the `http-proxy` service: CONNECT with basic authentication. */

import { simnetError } from '../errors.ts';
import type { Endpoint } from '../nat/flow.ts';
import type { TcpStream } from '../tcp/stream.ts';

export interface SimProxy {
  /** An address: there are no names. */
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
}

/** Resolves once the tunnel stands. The server behind it must not speak first. Rejects with SIMNET_REFUSED. */
export async function openTunnel(stream: TcpStream, target: Endpoint, proxy: SimProxy): Promise<void> {
  const authority = `${target.address}:${target.port}`;
  const secret = Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64');
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, `Proxy-Authorization: Basic ${secret}`];
  await stream.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`));
  const answer = String((await stream.read()) ?? '');
  if (/^HTTP\/1\.1 200 [^\r]*\r\n\r\n$/.test(answer)) return;
  stream.end();
  throw simnetError('SIMNET_REFUSED', `the proxy answers "${answer.split('\r\n')[0]}"`);
}
