/**
 * The I/O that an {@link IceTransport} runs an agent on: sockets of this machine, of a
 * simulated one, or some that are shared. Events come with a later turn, never from
 * within the call that asked, and none comes after `close` or `onFailure`.
 */

import type { TransportAddress } from '../address.ts';

export interface SocketEvents {
  onOpen(local: TransportAddress): void;
  /** One datagram, or the next bytes of a stream; the memory is the listener's from then on. */
  onBytes(bytes: Uint8Array, remote: TransportAddress): void;
  /** It did not open, broke, or was ended by the peer. */
  onFailure(): void;
}

export interface ListenerEvents extends Pick<SocketEvents, 'onOpen' | 'onFailure'> {
  /** To be accepted or refused before it returns. */
  onConnection(connection: IncomingConnection): void;
}

export interface IncomingConnection {
  readonly remote: TransportAddress;
  accept(events: Pick<SocketEvents, 'onBytes' | 'onFailure'>): IceSocket;
  refuse(): void;
}

export interface Closable {
  /** Idempotent. What was sent before still goes out. Resolves when nothing of it is open. */
  close(): void | Promise<void>;
}

export interface IceSocket extends Closable {
  /** `prefix`, if any, and `bytes` as one datagram or one piece of the stream. What cannot leave is lost; never throws. */
  send(bytes: Uint8Array, remote: TransportAddress, prefix: Uint8Array | undefined): void;
  /** Packets that arrived together may come as one, if each says how long it is. */
  allowJoining?(): void;
  /** Checks for this username fragment, beside the one named before, are for whoever opened the socket. */
  identify?(usernameFragment: string): void;
}

export interface TcpTarget {
  /** `address` may be a name if there is a proxy. */
  readonly remote: TransportAddress;
  readonly localAddress?: string;
  readonly localPort?: number;
  /** TLS on top, for this server name. */
  readonly tlsServerName?: string;
  /** Through the HTTP proxy that the sockets know. */
  readonly useProxy?: boolean;
}

export interface IceSockets {
  /** Whether connections to TURN servers are to go through a proxy. */
  readonly hasProxy: boolean;
  /** UDP sockets serve several agents. Default false. */
  readonly isShared?: boolean;
  /** Those that take part when nobody chose any, the best first. */
  localAddresses(): readonly string[];
  /** `isPrivate`: also where sockets are shared one that is not. */
  bindUdp(address: string, events: SocketEvents, isPrivate?: boolean): IceSocket;
  listenTcp(address: string, events: ListenerEvents): Closable;
  /** A port that `connectTcp` can take as its own: nobody listens there. */
  reserveTcp(address: string, events: Pick<SocketEvents, 'onOpen' | 'onFailure'>): Closable;
  connectTcp(target: TcpTarget, events: SocketEvents): IceSocket;
  /** Addresses of a name. May reject: a name that nobody knows has none. */
  resolve(name: string, signal: AbortSignal): Promise<readonly string[]>;
}
