/**
 * The simulator's reference peer over real sockets: a plain hole puncher, the
 * yardstick for what a topology allows. Behind it messages go as they are, in
 * pieces that fit a packet, at a fixed pace and never again: what is lost is lost.
 */

import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { errorText, sleep, systemRandom, type Timer } from '@claw/base';
import { ReferencePeer, type ReferenceSignal } from '@claw/simnet';
import type { Adapter, PathFacts, PeerContext } from '../contract.ts';
import { sharedClock } from '../shared-clock.ts';
import { BaseSession } from './base-session.ts';
import { loopbackOf } from './ice.ts';
import { hostAddresses } from './listen.ts';
import { MessagePieces, PIECE_MARK, piecesOf } from './message-pieces.ts';

/** The simulator's port, so that both can be compared; another where it is taken. */
const PORT = 50_000;
/** Some 2 Mbit/s, as the simulator's own runner. */
const BYTES_PER_MS = 250;
/** What may leave at once: timers are no finer. */
const BURST_MS = 2;

export function createReferenceAdapter(): Adapter {
  return {
    name: 'reference',
    version: async () => 'the reference peer of @claw/simnet over node:dgram',
    async open(context) {
      const loopback = loopbackOf(context);
      const addresses = loopback === undefined ? hostAddresses() : [loopback];
      const session = new ReferenceSession(context, await Promise.all(addresses.map(bind)));
      await session.opened;
      return session;
    },
  };
}

class ReferenceSession extends BaseSession {
  readonly opened: Promise<void>;
  readonly #opened = Promise.withResolvers<void>();
  readonly #context: PeerContext;
  readonly #sockets: ReadonlyMap<string, Socket>;
  readonly #peer: ReferencePeer;
  readonly #pieces = new MessagePieces();
  #timer: Timer | undefined;
  #nextMessage = 0;
  /** When what was sent so far has left at the fixed pace. */
  #paceMs = 0;

  constructor(context: PeerContext, sockets: readonly Socket[]) {
    super();
    this.#context = context;
    this.opened = this.#opened.promise;
    this.#sockets = new Map(sockets.map((socket) => [socket.address().address, socket]));
    const local = sockets.map((socket) => socket.address()).map(({ address, port }) => ({ address, port }));
    const { turn } = context.services;
    const stunServers = turn ? [{ address: turn.host, port: turn.udp }] : [];
    this.#peer = new ReferencePeer({ role: context.role, local, stunServers, random: systemRandom });
    for (const [index, socket] of sockets.entries()) {
      socket.on('message', (bytes, { address, port }) =>
        this.#receive(bytes, { address, port }, local[index] as never),
      );
      socket.on('error', (error) => context.note(error.message));
    }
    context.onSignal((signal) => {
      this.#peer.handleSignal(signal as ReferenceSignal, sharedClock.monotonicMs());
      this.#pump();
    });
    this.#pump();
  }

  async send(message: Buffer): Promise<void> {
    if (this.endReason !== undefined) throw new Error(this.endReason);
    const path = this.#peer.path;
    const socket = path && this.#sockets.get(path.local.address);
    if (!path || !socket) throw new Error('there is no path');
    const nowMs = sharedClock.monotonicMs();
    const waitMs = this.#paceMs - nowMs;
    this.#paceMs = Math.max(this.#paceMs, nowMs) + message.length / BYTES_PER_MS;
    if (waitMs > BURST_MS) await sleep(sharedClock, waitMs);
    this.#nextMessage += 1;
    for (const piece of piecesOf(this.#nextMessage, message)) this.#sendOn(socket, piece, path.remote);
  }

  async path(): Promise<PathFacts> {
    const { local, remote } = this.#peer.path ?? {};
    const detail = `${local?.address}:${local?.port} → ${remote?.address}:${remote?.port}`;
    return { type: 'direct', protocol: 'udp', detail };
  }

  async close(): Promise<void> {
    this.end('closed here');
    this.#timer?.cancel();
    for (const socket of this.#sockets.values()) socket.close();
  }

  #receive(bytes: Buffer, from: { address: string; port: number }, to: { address: string; port: number }): void {
    if (bytes[0] === PIECE_MARK) {
      const message = this.#pieces.add(bytes);
      if (message) this.deliver(message);
      return;
    }
    this.#peer.handle(bytes, from, to, sharedClock.monotonicMs());
    this.#pump();
  }

  #pump(): void {
    if (this.endReason !== undefined) return;
    const { datagrams, signals, deadlineMs } = this.#peer.poll(sharedClock.monotonicMs());
    for (const { bytes, from, to } of datagrams) {
      const socket = this.#sockets.get(from.address);
      if (socket) this.#sendOn(socket, bytes, to);
    }
    for (const signal of signals) this.#context.sendSignal(signal);
    this.#timer?.cancel();
    if (deadlineMs !== undefined) {
      this.#timer = sharedClock.setTimer(deadlineMs - sharedClock.monotonicMs(), () => this.#pump());
    }
    if (this.#peer.state === 'connected') this.#opened.resolve();
    if (this.#peer.state === 'failed') this.#opened.reject(new Error('no pair of addresses answered'));
  }

  /** An address or a route that is gone is the same as a packet lost. */
  #sendOn(socket: Socket, bytes: Buffer, to: { address: string; port: number }): void {
    try {
      socket.send(bytes, to.port, to.address, (error) => {
        if (error) this.#context.note(error.message);
      });
    } catch (error) {
      this.#context.note(errorText(error)); // the socket was closed
    }
  }
}

async function bind(address: string): Promise<Socket> {
  for (const port of [PORT, 0]) {
    const socket = createSocket(isIPv6(address) ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' });
    const bound = await new Promise<boolean>((resolve) => {
      socket.once('error', () => resolve(false));
      socket.bind(port, address, () => resolve(true));
    });
    if (bound) return socket;
    socket.close();
  }
  throw new Error(`no UDP port can be bound on ${address}`);
}
