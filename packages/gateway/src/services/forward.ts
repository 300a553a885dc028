/**
 * The using side of a share: a TCP port on the loopback interface whose
 * connections come out at the peer. It outlives links: a connection made while
 * the link is down waits for the next one.
 */

import { createServer, type Server, type Socket } from 'node:net';
import { errorCode, errorText, type Logger } from '@claw/base';
import type { PeerRecord } from '@claw/identity';
import type { LinkKeeper } from '@claw/link';
import { nodeError } from '../errors.ts';
import { SHARE_PREFIX, type ShareKind } from './protocol.ts';
import { relay } from './tcp-share.ts';

export interface ForwardOptions {
  readonly keeper: LinkKeeper;
  readonly peer: PeerRecord;
  readonly service: string;
  readonly kind: ShareKind;
  /** Default `127.0.0.1`; only loopback addresses are taken. */
  readonly host?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  readonly logger: Logger;
}

const LINK_WAIT_MS = 15_000;

export class Forward implements AsyncDisposable {
  readonly peer: PeerRecord;
  readonly service: string;
  readonly kind: ShareKind;
  readonly host: string;
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  /** Connections carried so far. */
  #carried = 0;

  private constructor(options: ForwardOptions, server: Server, sockets: Set<Socket>, host: string, port: number) {
    this.peer = options.peer;
    this.service = options.service;
    this.kind = options.kind;
    this.host = host;
    this.port = port;
    this.#server = server;
    this.#sockets = sockets;
    server.on('connection', (socket) => {
      this.#carried += 1;
      void carry(options, socket, sockets);
    });
  }

  /** @throws ClawError `FORWARD_PORT_TAKEN`; `SERVICE_INVALID` for an address that is not loopback. */
  static async open(options: ForwardOptions): Promise<Forward> {
    const host = options.host ?? '127.0.0.1';
    if (!/^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/.test(host)) {
      throw nodeError('SERVICE_INVALID', `a share is opened on this machine only; ${host} is not a loopback address`);
    }
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => reject(portError(cause, host, options.port ?? 0)));
      server.listen({ host, port: options.port ?? 0 }, resolve);
    });
    const address = server.address();
    return new Forward(options, server, new Set(), host, typeof address === 'object' && address ? address.port : 0);
  }

  get carried(): number {
    return this.#carried;
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function carry(options: ForwardOptions, socket: Socket, sockets: Set<Socket>): Promise<void> {
  const { keeper, peer, service, logger } = options;
  sockets.add(socket);
  socket.on('error', () => {}); // a caller that hangs up is no news
  try {
    const link = await keeper.linkTo(peer.id, { timeoutMs: LINK_WAIT_MS });
    const stream = link.openStream(SHARE_PREFIX + service);
    stream.on('error', (error) => {
      logger.info('use.stream-ended', {
        peer: peer.name,
        share: service,
        code: errorCode(error),
        detail: errorText(error),
      });
    });
    await relay(stream, socket);
  } catch (error) {
    logger.warn('use.failed', { peer: peer.name, share: service, detail: errorText(error) });
    socket.destroy();
  } finally {
    sockets.delete(socket);
  }
}

function portError(cause: Error, host: string, port: number) {
  if (errorCode(cause) !== 'EADDRINUSE' && errorCode(cause) !== 'EACCES') return cause;
  return nodeError('FORWARD_PORT_TAKEN', `port ${port} on ${host} cannot be taken: ${cause.message}`, {
    cause,
    hint: 'Choose another with --listen 127.0.0.1:PORT, or leave it out for a free one.',
  });
}
