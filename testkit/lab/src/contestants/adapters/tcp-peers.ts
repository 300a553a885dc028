/** How the contestants over TCP find each other: b listens and tells where, a dials; the connection that says hello first is the one. */

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { PathFacts, PeerContext, Session } from '../contract.ts';
import { dial } from './dial.ts';
import { listenEverywhere } from './listen.ts';
import { nextSignal } from './signals.ts';
import { StreamSession } from './stream-session.ts';

export interface TcpLayer {
  readonly protocol: PathFacts['protocol'];
  /** What b's signal tells beside its addresses. */
  readonly facts?: unknown;
  /** What runs over the socket; both may refuse. */
  accept(socket: Socket): Duplex | Promise<Duplex>;
  connect(socket: Socket, facts: unknown): Duplex | Promise<Duplex>;
}

interface Told {
  readonly addresses: readonly string[];
  readonly port: number;
  readonly facts: unknown;
}

const HELLO = Buffer.from('hello');

export function openOverTcp(context: PeerContext, layer: TcpLayer): Promise<Session> {
  return context.role === 'a' ? dialPeer(context, layer) : awaitPeer(context, layer);
}

async function dialPeer(context: PeerContext, layer: TcpLayer): Promise<Session> {
  const { peerAddresses, services, proxyOnly } = context;
  const told = await nextSignal<Told>(context);
  const proxy = proxyOnly ? services.httpProxy : undefined;
  const socket = await dial({ addresses: [...peerAddresses, ...told.addresses], port: told.port, proxy });
  const path = pathOf(socket, layer.protocol, proxy !== undefined);
  const session = new StreamSession(await layer.connect(socket, told.facts), () => path);
  await session.send(HELLO);
  return session;
}

async function awaitPeer(context: PeerContext, layer: TcpLayer): Promise<Session> {
  const chosen = Promise.withResolvers<Session>();
  let found = false;
  const take = async (socket: Socket) => {
    socket.once('error', () => {}); // until the session hears them; a peer that goes away is not an error yet
    const path = pathOf(socket, layer.protocol, false);
    const session = new StreamSession(await layer.accept(socket), () => path);
    session.onMessage((message) => {
      if (found || !message.equals(HELLO)) return void session.close();
      found = true;
      server.close();
      chosen.resolve(session);
    });
  };
  const { server, port, addresses } = await listenEverywhere((socket) => {
    take(socket).catch((error: unknown) => {
      socket.destroy();
      chosen.reject(error);
    });
  });
  context.signal.addEventListener('abort', () => server.close());
  context.sendSignal({ addresses, port, facts: layer.facts } satisfies Told);
  return chosen.promise;
}

function pathOf(socket: Socket, protocol: PathFacts['protocol'], proxied: boolean): PathFacts {
  const ends = [socket.localAddress, socket.remoteAddress].map((address) => address?.replace(/^::ffff:/, ''));
  const detail = proxied ? `${ends[0]} → proxy ${ends[1]}` : `${ends[0]} → ${ends[1]}`;
  return { type: proxied ? 'proxied' : 'direct', protocol, detail };
}
