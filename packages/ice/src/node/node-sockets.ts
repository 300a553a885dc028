/** The sockets of this machine, one for each that is asked for. */

import { lookup } from 'node:dns/promises';
import { createServer } from 'node:net';
import { canonicalAddress } from '../address.ts';
import { isGeneratedName } from '../mdns/generated-name.ts';
import type {
  Closable,
  IceSocket,
  IceSockets,
  ListenerEvents,
  SocketEvents,
  TcpTarget,
} from '../transport/ice-sockets.ts';
import type { HttpProxy } from './http-proxy.ts';
import { type InterfaceOptions, listLocalAddresses } from './interfaces.ts';
import { resolveByMdns } from './mdns-link.ts';
import { TcpSocket } from './tcp-socket.ts';
import { UdpSocket } from './udp-socket.ts';

export interface NodeSocketsOptions extends InterfaceOptions {
  /** The way out for TURN over TCP and TLS. Default: directly. */
  readonly proxy?: HttpProxy | undefined;
  /** PEM certificates that TURN over TLS is checked against, instead of the system's. */
  readonly ca?: string | undefined;
  /** Names that browsers put in place of their addresses. Default: by mDNS. */
  readonly resolveLocalName?: ((name: string, signal: AbortSignal) => Promise<readonly string[]>) | undefined;
}

export class NodeSockets implements IceSockets {
  readonly #options: NodeSocketsOptions;

  constructor(options: NodeSocketsOptions = {}) {
    this.#options = options;
  }

  get hasProxy(): boolean {
    return this.#options.proxy !== undefined;
  }

  /** Every address of this machine but link-local ones. */
  localAddresses(): readonly string[] {
    return listLocalAddresses(this.#options);
  }

  bindUdp(address: string, events: SocketEvents): IceSocket {
    return new UdpSocket(address, 0, events);
  }

  listenTcp(address: string, events: ListenerEvents): Closable {
    const { server, close } = listen(address, events, (port) => events.onOpen({ address, port }));
    server.on('connection', (socket) => {
      const remote = { address: canonicalAddress(socket.remoteAddress ?? '') ?? '', port: socket.remotePort ?? 0 };
      if (remote.address === '' || remote.port === 0) return void socket.destroy();
      events.onConnection({
        remote,
        accept: (each) => TcpSocket.accepted(socket, remote, { ...each, onOpen: () => {} }),
        refuse: () => void socket.destroy(),
      });
    });
    return { close };
  }

  /** Asks the kernel for a port and leaves it again, so that connections can be made from it. */
  reserveTcp(address: string, events: Pick<SocketEvents, 'onOpen' | 'onFailure'>): Closable {
    let isWanted = true;
    const { close } = listen(address, events, (port) => {
      void close().then(() => isWanted && events.onOpen({ address, port }));
    });
    return {
      close: () => {
        isWanted = false;
        return close();
      },
    };
  }

  connectTcp(target: TcpTarget, events: SocketEvents): IceSocket {
    const { ca, proxy } = this.#options;
    return TcpSocket.connect(target, { ca, proxy: target.useProxy ? proxy : undefined }, events);
  }

  async resolve(name: string, signal: AbortSignal): Promise<readonly string[]> {
    const { resolveLocalName = resolveByMdns } = this.#options;
    if (isGeneratedName(name)) return resolveLocalName(name, signal);
    return (await lookup(name, { all: true })).map(({ address }) => address);
  }
}

function listen(address: string, events: Pick<SocketEvents, 'onFailure'>, onPort: (port: number) => void) {
  const server = createServer();
  let isOpen = true;
  server.on('error', () => {
    if (isOpen) events.onFailure();
  });
  server.listen({ host: address, port: 0, ipv6Only: true }, () => {
    const bound = server.address();
    // Who closes a server that is about to listen has not closed it.
    if (!isOpen) server.close();
    else if (typeof bound === 'object' && bound) onPort(bound.port);
  });
  const close = () => {
    isOpen = false;
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { server, close };
}
