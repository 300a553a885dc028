/**
 * Sockets that several transports share: one UDP socket for each local address, so that
 * all of them, and a DHT beside them, are seen at one mapping of a NAT. Connections are
 * made for each as ever, and so are sockets for TURN, whose allocations go by the
 * five-tuple. Whoever makes one closes it, after the transports.
 */

import type { Closable, IceSocket, IceSockets, ListenerEvents, SocketEvents, TcpTarget } from './ice-sockets.ts';
import { UdpMux } from './udp-mux.ts';

export class SharedSockets implements IceSockets, AsyncDisposable {
  readonly isShared = true;
  readonly #sockets: IceSockets;
  /** By local address. */
  readonly #muxes = new Map<string, UdpMux>();
  #isClosed = false;

  constructor(sockets: IceSockets) {
    this.#sockets = sockets;
  }

  get hasProxy(): boolean {
    return this.#sockets.hasProxy;
  }

  /** Packets that came in and were nobody's. */
  get dropped(): number {
    return [...this.#muxes.values()].reduce((sum, { dropped }) => sum + dropped, 0);
  }

  localAddresses(): readonly string[] {
    return this.#sockets.localAddresses();
  }

  bindUdp(address: string, events: SocketEvents, isPrivate = false): IceSocket {
    return isPrivate ? this.#sockets.bindUdp(address, events) : this.#muxOf(address).join(events);
  }

  /** The same socket for another protocol, whose packets begin neither with 0 to 3 nor with 20 to 63, as those of a DHT. */
  bindOther(address: string, events: SocketEvents): IceSocket {
    return this.#muxOf(address).joinOther(events);
  }

  listenTcp(address: string, events: ListenerEvents): Closable {
    return this.#sockets.listenTcp(address, events);
  }

  reserveTcp(address: string, events: Pick<SocketEvents, 'onOpen' | 'onFailure'>): Closable {
    return this.#sockets.reserveTcp(address, events);
  }

  connectTcp(target: TcpTarget, events: SocketEvents): IceSocket {
    return this.#sockets.connectTcp(target, events);
  }

  resolve(name: string, signal: AbortSignal): Promise<readonly string[]> {
    return this.#sockets.resolve(name, signal);
  }

  /** Transports that are still there hear nothing more. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const muxes = [...this.#muxes.values()];
    this.#muxes.clear();
    await Promise.all(muxes.map(async (mux) => mux.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #muxOf(address: string): UdpMux {
    if (this.#isClosed) throw new TypeError('the shared sockets are closed');
    const known = this.#muxes.get(address);
    if (known) return known;
    const mux = new UdpMux(
      (events) => this.#sockets.bindUdp(address, events),
      () => this.#muxes.delete(address),
    );
    this.#muxes.set(address, mux);
    return mux;
  }
}
