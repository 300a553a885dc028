/**
 * A simulated host's sockets for ICE, as `NodeSockets` are a machine's. TLS is not
 * modelled: a connection that asks for it is plain, and so is the service's TLS port.
 */

import type {
  Closable,
  IceSocket,
  IceSockets,
  ListenerEvents,
  SocketEvents,
  TcpTarget,
  TransportAddress,
} from '@claw/ice';
import type { Host } from '../host/host.ts';
import { openTunnel, type SimProxy } from './open-tunnel.ts';
import { SimTcpSocket } from './sim-tcp-socket.ts';

export interface SimSocketsOptions {
  /** The way out for TURN over TCP. Default: directly. */
  readonly proxy?: SimProxy | undefined;
  /** What names resolve to. Default: there are none. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
}

const CONNECT_TIMEOUT_MS = 10_000;

export class SimSockets implements IceSockets {
  readonly #host: Host;
  readonly #options: SimSocketsOptions;

  constructor(host: Host, options: SimSocketsOptions = {}) {
    this.#host = host;
    this.#options = options;
  }

  get hasProxy(): boolean {
    return this.#options.proxy !== undefined;
  }

  localAddresses(): readonly string[] {
    return this.#host.addresses().map(({ address }) => address);
  }

  bindUdp(address: string, events: SocketEvents): IceSocket {
    return this.#open(events, (guarded) => {
      const socket = this.#host.bindUdp({ address, mayFragment: true });
      // The network may hold the packet for a second delivery; a listener owns what it gets.
      socket.onMessage((bytes, from) => guarded.onBytes(Buffer.from(bytes), from));
      this.#later(() => guarded.onOpen({ address, port: socket.port }));
      return {
        send: (bytes, remote, prefix) => {
          try {
            socket.send(prefix ? Buffer.concat([prefix, bytes]) : bytes, remote);
          } catch {
            // No route, too big: lost, as in a real socket's callback.
          }
        },
        close: () => socket.close(),
      };
    });
  }

  listenTcp(address: string, events: ListenerEvents): Closable {
    return this.#open({ ...events, onBytes: () => {} }, (guarded) => {
      const listener = this.#host.listenTcp({}, (stream) =>
        events.onConnection({
          remote: stream.remote,
          accept: (each) => SimTcpSocket.accepted(stream, each),
          refuse: () => stream.reset(),
        }),
      );
      this.#later(() => guarded.onOpen({ address, port: listener.port }));
      return { send: () => {}, close: () => listener.close() };
    });
  }

  reserveTcp(address: string, events: Pick<SocketEvents, 'onOpen' | 'onFailure'>): Closable {
    return this.#open({ ...events, onBytes: () => {} }, (guarded) => {
      const listener = this.#host.listenTcp({}, (stream) => stream.reset());
      listener.close();
      this.#later(() => guarded.onOpen({ address, port: listener.port }));
      return { send: () => {}, close: () => {} };
    });
  }

  connectTcp(target: TcpTarget, events: SocketEvents): IceSocket {
    const { remote, localAddress, localPort } = target;
    const { proxy } = this.#options;
    const local = { ...(localAddress ? { localAddress } : {}), ...(localPort ? { localPort } : {}) };
    const connect = async () => {
      const timeout = { connectTimeoutMs: CONNECT_TIMEOUT_MS };
      if (!target.useProxy || !proxy) return this.#host.connectTcp({ ...remote, ...local, ...timeout });
      const stream = await this.#host.connectTcp({ address: proxy.host, port: proxy.port, ...timeout });
      await openTunnel(stream, remote, proxy);
      return stream;
    };
    return SimTcpSocket.connecting(connect(), remote, events);
  }

  async resolve(name: string): Promise<readonly string[]> {
    return this.#options.names?.[name] ?? [];
  }

  /** Silence after `close`, and a failure told a turn later when opening throws. */
  #open(events: SocketEvents, open: (guarded: SocketEvents) => IceSocket): IceSocket {
    let isOpen = true;
    const guard =
      <A extends unknown[]>(call: (...args: A) => void) =>
      (...args: A) => {
        if (isOpen) call(...args);
      };
    const guarded = {
      onOpen: guard((local: TransportAddress) => events.onOpen(local)),
      onBytes: guard((bytes: Uint8Array, remote: TransportAddress) => events.onBytes(bytes, remote)),
      onFailure: guard(() => events.onFailure()),
    };
    let inner: IceSocket | undefined;
    try {
      inner = open(guarded);
    } catch {
      this.#later(guarded.onFailure);
    }
    return {
      send: guard((bytes: Uint8Array, remote: TransportAddress, prefix: Uint8Array | undefined) =>
        inner?.send(bytes, remote, prefix),
      ),
      close: guard(() => {
        isOpen = false;
        void inner?.close();
      }),
    };
  }

  #later(call: () => void): void {
    this.#host.clock.setTimer(0, call);
  }
}
