/** A TCP listener on every address of the host, and the addresses to tell. */

import { createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';

export interface Listener {
  readonly server: Server;
  readonly port: number;
  readonly addresses: readonly string[];
}

export async function listenEverywhere(onSocket: (socket: Socket) => void): Promise<Listener> {
  const server = createServer({ noDelay: true }, onSocket);
  try {
    await bind(server, '::');
  } catch {
    await bind(server, '0.0.0.0'); // a host without IPv6
  }
  return { server, port: portOf(server), addresses: hostAddresses() };
}

/** A listener that only this host reaches. */
export async function listenLocally(onSocket: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ noDelay: true }, onSocket);
  await bind(server, '127.0.0.1');
  return { server, port: portOf(server) };
}

/** Without loopback, and without link-local addresses, which mean nothing elsewhere. */
export function hostAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);
}

/** A port that was free a moment ago, for programs that cannot choose one. */
export async function freePort(): Promise<number> {
  const { server, port } = await listenLocally(() => {});
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function bind(server: Server, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}
