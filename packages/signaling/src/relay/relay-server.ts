/**
 * A meeting point for nodes that cannot reach each other yet: a WebSocket server
 * on one port that passes sealed envelopes between nodes which proved their ids.
 * It stores nothing and can read nothing.
 */

import { createServer, type IncomingMessage, type RequestListener, type Server, STATUS_CODES } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, isIPv6, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type Clock,
  errorText,
  type Logger,
  type Random,
  silentLogger,
  systemClock,
  systemRandom,
  type Timer,
  withDeadline,
} from '@claw/base';
import { type WebSocket, WebSocketServer } from 'ws';
import { signalingError } from '../errors.ts';
import { type RelayAddress, RelayAddresses } from './relay-addresses.ts';
import { RelayHub, type RelayStats } from './relay-hub.ts';
import { type RelayLimits, resolveRelayLimits } from './relay-limits.ts';
import { RELAY_SUBPROTOCOL, SEND_HEADER_BYTES } from './relay-protocol.ts';
import { RelaySession } from './relay-session.ts';

/** WebSocket frames, and TCP segments, in which one message may come: far above what an honest client needs. */
const MAX_MESSAGE_FRAGMENTS = 16;
const MAX_BUFFERED_CHUNKS = 1024;
const MAX_HTTP_HEADER_BYTES = 8 * 1024;
const CLOSE_DEADLINE_MS = 2000;

export interface RelayOptions {
  /** Address to listen on. Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: one that is free. */
  readonly port?: number;
  /**
   * Names under which clients dial this relay (`relay.example.org`; with `:port` unless it is any). `localhost` and
   * the address a connection came in on are always accepted. Logins are bound to it: see `loginMessage`.
   */
  readonly hosts?: readonly string[];
  readonly limits?: Partial<RelayLimits>;
  /** Serve wss:// with this certificate chain and key. Default: ws://. */
  readonly tls?: { readonly certPem: string; readonly keyPem: string };
  readonly clock?: Clock;
  readonly random?: Random;
  readonly logger?: Logger;
}

export interface Relay extends AsyncDisposable {
  /** What a client on this machine dials. */
  readonly url: string;
  readonly port: number;
  stats(): RelayStats;
  /** Tells the clients and ends their connections, within two seconds. Idempotent. */
  close(): Promise<void>;
}

/**
 * Resolves when it listens.
 * @throws ClawError `RELAY_LISTEN_FAILED`; RangeError for a limit that is misspelt or impossible.
 */
export async function openRelay(options: RelayOptions = {}): Promise<Relay> {
  const relay = new RelayServer(options);
  await relay.listen();
  return relay;
}

/** A TCP connection, from its first packet on. */
interface Guest {
  readonly socket: Socket;
  readonly address: RelayAddress;
  readonly deadline: Timer;
  session: RelaySession | undefined;
}

class RelayServer implements Relay {
  readonly #options: RelayOptions;
  readonly #limits: RelayLimits;
  readonly #clock: Clock;
  readonly #hub: RelayHub;
  readonly #addresses: RelayAddresses;
  readonly #server: Server;
  readonly #webSockets: WebSocketServer;
  readonly #guests = new Map<string, Guest>();
  #keepAlive: Timer | undefined;
  #port = 0;
  #closing: Promise<void> | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#limits = resolveRelayLimits(options.limits);
    this.#clock = options.clock ?? systemClock;
    this.#hub = new RelayHub({
      limits: this.#limits,
      clock: this.#clock,
      random: options.random ?? systemRandom,
      log: options.logger ?? silentLogger,
    });
    this.#addresses = new RelayAddresses(this.#limits);
    this.#server = createHttpServer(options.tls, (request, response) => {
      const healthy = request.method === 'GET' && request.url === '/healthz';
      const body = JSON.stringify(healthy ? { status: 'ok', connections: this.#addresses.connections } : UPGRADE_HELP);
      const headers = { 'content-type': 'application/json', connection: 'close' };
      response.writeHead(healthy ? 200 : 426, healthy ? headers : { ...headers, upgrade: 'websocket' }).end(body);
    });
    this.#webSockets = new WebSocketServer({
      noServer: true,
      maxPayload: SEND_HEADER_BYTES + this.#limits.maxEnvelopeBytes,
      maxFragments: MAX_MESSAGE_FRAGMENTS,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      perMessageDeflate: false,
      clientTracking: false,
      handleProtocols: (offered) => (offered.has(RELAY_SUBPROTOCOL) ? RELAY_SUBPROTOCOL : false),
    });
    this.#server.on('connection', (socket: Socket) => this.#onConnection(socket));
    this.#server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
    this.#server.on('clientError', (_error, socket) => socket.destroy());
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    const host = this.#options.host ?? '127.0.0.1';
    const dialled = host === '0.0.0.0' || host === '::' ? 'localhost' : isIPv6(host) ? `[${host}]` : host;
    return `${this.#options.tls ? 'wss' : 'ws'}://${dialled}:${this.#port}`;
  }

  async listen(): Promise<void> {
    const { host = '127.0.0.1', port = 0 } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(
          signalingError('RELAY_LISTEN_FAILED', `the relay cannot listen on ${host} port ${port}: ${cause.message}`, {
            cause,
          }),
        ),
      );
      this.#server.listen(port, host, resolve);
    });
    this.#server.removeAllListeners('error');
    this.#server.on('error', (error) => this.#hub.log.error('relay listener failed', { error: errorText(error) }));
    this.#port = (this.#server.address() as AddressInfo).port;
    this.#scheduleKeepAlive();
  }

  stats(): RelayStats {
    const { nodes, bufferedBytes, stats } = this.#hub;
    return { connections: this.#addresses.connections, nodes, bufferedBytes, ...stats };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#keepAlive?.cancel();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const { session, socket } of this.#guests.values()) {
      // Those that have not come that far have nothing to be told.
      if (session) session.end('shutdown', 1001);
      else socket.destroy();
    }
    await withDeadline(this.#clock, closed, CLOSE_DEADLINE_MS, () => new Error('deadline')).catch(() => {
      for (const { socket } of this.#guests.values()) socket.destroy();
      return closed;
    });
  }

  #onConnection(socket: Socket): void {
    const nowMs = this.#clock.monotonicMs();
    const key = guestKey(socket);
    const address = key && !this.#closing ? this.#addresses.admit(socket.remoteAddress as string, nowMs) : undefined;
    if (!key || !address) {
      this.#hub.stats.connectionsRefused += 1;
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    const deadline = this.#clock.setTimer(this.#limits.handshakeMs, () => {
      this.#hub.stats.handshakesTimedOut += 1;
      socket.destroy();
    });
    this.#guests.set(key, { socket, address, deadline, session: undefined });
    socket.once('close', () => {
      deadline.cancel();
      this.#guests.delete(key);
      this.#addresses.release(address);
    });
  }

  #onUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    // Errors until the WebSocket takes over; afterwards it has its own listener.
    stream.on('error', (error) => this.#hub.log.debug('relay upgrade failed', { error: errorText(error) }));
    const socket = request.socket;
    const guest = this.#guests.get(guestKey(socket) ?? '');
    const host = request.headers.host?.toLowerCase() ?? '';
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (!guest || this.#closing) return refuseUpgrade(stream, 503);
    if (!offered.includes(RELAY_SUBPROTOCOL)) return refuseUpgrade(stream, 426);
    if (!this.#isOurHost(host, socket.localAddress ?? '')) {
      this.#hub.stats.connectionsRefused += 1;
      return refuseUpgrade(stream, 421);
    }
    this.#webSockets.handleUpgrade(request, stream, head, (webSocket) => this.#begin(webSocket, guest, host));
  }

  #begin(webSocket: WebSocket, guest: Guest, host: string): void {
    guest.session = new RelaySession(this.#hub, webSocket, guest.address, host, () => guest.deadline.cancel());
  }

  /** Without this check another relay could pass a login on to us under the name by which it was dialled itself. */
  #isOurHost(host: string, localAddress: string): boolean {
    const name = host.replace(/:\d+$/, '');
    const local = localAddress.replace(/^::ffff:/i, '');
    if (name === 'localhost' || name === (isIPv6(local) ? `[${local}]` : local)) return true;
    return (this.#options.hosts ?? []).some((ours) => ours.toLowerCase() === host || ours.toLowerCase() === name);
  }

  #scheduleKeepAlive(): void {
    this.#keepAlive = this.#clock.setTimer(this.#limits.keepAliveMs, () => {
      this.#addresses.sweep(this.#clock.monotonicMs());
      for (const { session } of this.#guests.values()) session?.checkAlive();
      this.#scheduleKeepAlive();
    });
  }
}

const UPGRADE_HELP = { status: 'upgrade-required', detail: `speak WebSocket, subprotocol ${RELAY_SUBPROTOCOL}` };

function createHttpServer(tls: RelayOptions['tls'], onRequest: RequestListener): Server {
  const options = { maxHeaderSize: MAX_HTTP_HEADER_BYTES };
  if (!tls) return createServer(options, onRequest);
  return createTlsServer({ ...options, cert: tls.certPem, key: tls.keyPem, minVersion: 'TLSv1.2' }, onRequest);
}

/** The same for a TCP socket and for the TLS socket over it. `undefined` when it is gone already. */
function guestKey(socket: Socket): string | undefined {
  return socket.remoteAddress === undefined ? undefined : `${socket.remoteAddress}|${socket.remotePort}`;
}

function refuseUpgrade(stream: Duplex, status: 421 | 426 | 503): void {
  stream.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}
