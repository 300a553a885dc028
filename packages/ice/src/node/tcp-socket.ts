/**
 * One TCP or TLS connection: direct or through the HTTP proxy. A
 * stream that cannot keep up drops packets above a limit, whole ones, as a full
 * queue would; the agent hands over one packet with each send.
 */

import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { canonicalAddress, type TransportAddress } from '../address.ts';
import type { IceSocket, SocketEvents, TcpTarget } from '../transport/ice-sockets.ts';
import { type HttpProxy, openTunnel } from './http-proxy.ts';

/** How to get there. */
export interface TcpWay {
  readonly proxy?: HttpProxy | undefined;
  /** PEM, instead of the system's authorities. */
  readonly ca?: string | undefined;
}

const MAX_BUFFERED_BYTES = 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;

export class TcpSocket implements IceSocket {
  #socket: Socket | TLSSocket;
  readonly #remote: TransportAddress;
  readonly #events: SocketEvents;
  #isOpen = true;
  #isReady = false;

  private constructor(socket: Socket, remote: TransportAddress, events: SocketEvents) {
    this.#socket = socket;
    this.#remote = remote;
    this.#events = events;
    this.#watch(socket);
  }

  static accepted(socket: Socket, remote: TransportAddress, events: SocketEvents): TcpSocket {
    const endpoint = new TcpSocket(socket, remote, events);
    endpoint.#ready(socket);
    return endpoint;
  }

  static connect(target: TcpTarget, way: TcpWay, events: SocketEvents): TcpSocket {
    const { remote, localAddress, localPort } = target;
    const { proxy } = way;
    const socket = connect({
      host: proxy?.host ?? remote.address,
      port: proxy?.port ?? remote.port,
      ...(localAddress === undefined ? {} : { localAddress }),
      ...(localPort === undefined ? {} : { localPort }),
    });
    const endpoint = new TcpSocket(socket, remote, events);
    // A socket's own clock: idle while connecting means that nobody answers.
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => endpoint.#fail());
    socket.once('connect', () => void endpoint.#dress(socket, target, way).catch(() => endpoint.#fail()));
    return endpoint;
  }

  send(bytes: Uint8Array, _remote: TransportAddress, prefix: Uint8Array | undefined): void {
    if (!this.#isReady || this.#socket.writableLength > MAX_BUFFERED_BYTES) return;
    if (prefix) this.#socket.write(prefix);
    this.#socket.write(bytes);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    // What was written, such as the deletion of an allocation, still goes out.
    this.#socket.setTimeout(1000, () => this.#socket.destroy());
    this.#socket.removeAllListeners('data');
    this.#socket.resume();
    if (this.#isReady) this.#socket.end(() => this.#socket.destroy());
    else this.#socket.destroy();
  }

  async #dress(socket: Socket, { remote, tlsServerName }: TcpTarget, { proxy, ca }: TcpWay): Promise<void> {
    if (proxy) await openTunnel(socket, remote, proxy);
    if (tlsServerName === undefined) return this.#ready(socket);
    const isName = canonicalAddress(tlsServerName) === undefined;
    const secure = connectTls({
      socket,
      ...(isName ? { servername: tlsServerName } : { host: tlsServerName }),
      ...(ca === undefined ? {} : { ca }),
      minVersion: 'TLSv1.2',
    });
    this.#socket = secure;
    this.#watch(secure);
    if (!this.#isOpen) secure.destroy();
    secure.once('secureConnect', () => this.#ready(secure));
  }

  #ready(socket: Socket): void {
    if (!this.#isOpen) return;
    this.#isReady = true;
    socket.setTimeout(0);
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => {
      if (this.#isOpen) this.#events.onBytes(bytes, this.#remote);
    });
    socket.resume();
    const address = canonicalAddress(socket.localAddress ?? '') ?? '0.0.0.0';
    this.#events.onOpen({ address, port: socket.localPort ?? 0 });
  }

  #watch(socket: Socket): void {
    socket.on('error', () => this.#fail());
    socket.on('close', () => this.#fail());
    socket.on('end', () => this.#fail());
  }

  #fail(): void {
    this.#socket.destroy();
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#events.onFailure();
  }
}
