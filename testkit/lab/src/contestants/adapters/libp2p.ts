/**
 * js-libp2p: b reserves a place on a relay and tells its addresses; a dials b's
 * /webrtc address (ICE, signalled over the relay), and when that fails the circuit,
 * which DCUtR then tries to replace by a direct TCP connection. The relay on the
 * public host has limits so wide that a relayed path can be measured.
 */

import { errorText, sleep } from '@claw/base';
import type { Adapter, PathFacts, PeerContext, ServerContext, Session } from '../contract.ts';
import { sharedClock } from '../shared-clock.ts';
import { icePath, iceServersOf } from './ice.ts';
import { type Libp2pConnection, type Libp2pModules, type Libp2pNode, loadLibp2p } from './libp2p-modules.ts';
import { type Libp2pStream, streamDuplex } from './libp2p-stream.ts';
import { packageVersion } from './packages.ts';
import { nextSignal } from './signals.ts';
import { StreamSession } from './stream-session.ts';
import { selectedPath } from './webrtc-stats.ts';

const PROTOCOL = '/claw-lab/1';
/** For DCUtR, once /webrtc has failed; it began when that did. */
const UPGRADE_WAIT_MS = 2000;
const UPGRADE_LOOK_MS = 20;
const RELAY_LIMITS = { defaultDataLimit: 2n ** 40n, defaultDurationLimit: 3_600_000 };

interface ServerFacts {
  readonly addresses: readonly string[];
}

export function createLibp2pAdapter(): Adapter {
  let modules: Libp2pModules | undefined;
  return {
    name: 'libp2p',
    version: async () => `${await packageVersion('libp2p')}, ${await packageVersion('@libp2p/webrtc')}`,
    server: serve,
    async prepare() {
      modules = await loadLibp2p();
    },
    async open(context) {
      const facts = context.server as ServerFacts | null;
      if (!facts) throw new Error('libp2p needs a circuit relay, and there is none on this network');
      const loaded = modules as Libp2pModules;
      return context.role === 'a' ? dialPeer(context, loaded) : awaitPeer(context, loaded, facts);
    },
  };
}

async function serve({ host, ready }: ServerContext): Promise<void> {
  const modules = await loadLibp2p();
  const any = host.includes(':') ? '/ip6/::' : '/ip4/0.0.0.0';
  const relay = await modules.createLibp2p({
    addresses: { listen: [`${any}/tcp/0`, `${any}/tcp/0/ws`] },
    transports: [modules.tcp(), modules.webSockets()],
    ...modules.security(),
    services: {
      identify: modules.identify(),
      relay: modules.circuitRelayServer({ reservations: { maxReservations: 64, ...RELAY_LIMITS } }),
    },
  });
  const here = host.includes(':') ? `/ip6/${host}` : `/ip4/${host}`;
  const addresses = relay
    .getMultiaddrs()
    .map(String)
    .map((address) => address.replace(/^\/ip[46]\/[^/]+/, here));
  ready({ addresses: [...new Set(addresses)] } satisfies ServerFacts);
}

async function startNode(context: PeerContext, modules: Libp2pModules, listen: readonly string[]): Promise<Libp2pNode> {
  const iceServers = iceServersOf(context.services, ['udp']).map(({ urls, ...login }) => ({ urls: [urls], ...login }));
  return modules.createLibp2p({
    addresses: { listen },
    transports: [
      modules.tcp(),
      modules.webSockets(),
      modules.webRTC({ rtcConfiguration: { iceServers } }),
      modules.circuitRelayTransport(),
    ],
    ...modules.security(),
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: modules.identify(), dcutr: modules.dcutr() },
  });
}

async function awaitPeer(context: PeerContext, modules: Libp2pModules, facts: ServerFacts): Promise<Session> {
  const tcpOf = facts.addresses.filter((address) => !address.includes('/ws'));
  const reserve = tcpOf.map((address) => `${address}/p2p-circuit`);
  const node = await startNode(context, modules, [...DIRECT, ...reserve, '/webrtc']);
  const incoming = Promise.withResolvers<Session>();
  await node.handle(PROTOCOL, (stream, connection) => incoming.resolve(sessionOf(stream, connection, node)), {
    runOnLimitedConnection: true,
  });
  const addresses = await reservedAddresses(context, node);
  context.sendSignal({ addresses });
  return incoming.promise;
}

/** On every address of the host: what DCUtR connects. */
const DIRECT = ['/ip4/0.0.0.0/tcp/0', '/ip6/::/tcp/0'];

/** Those by the relay, once there is a reservation. */
async function reservedAddresses({ signal }: PeerContext, node: Libp2pNode): Promise<string[]> {
  for (;;) {
    const addresses = node.getMultiaddrs().map(String);
    if (addresses.some((address) => address.includes('/webrtc'))) return addresses;
    await sleep(sharedClock, UPGRADE_LOOK_MS, signal);
  }
}

async function dialPeer(context: PeerContext, modules: Libp2pModules): Promise<Session> {
  const node = await startNode(context, modules, DIRECT);
  const { addresses } = await nextSignal<{ addresses: readonly string[] }>(context);
  const relayed = addresses.filter((address) => address.includes('/p2p-circuit'));
  const [webrtc, circuit] = [true, false].map((wanted) =>
    relayed.filter((address) => address.includes('/webrtc') === wanted).map((address) => modules.multiaddr(address)),
  );
  const peer = addresses[0]?.split('/').at(-1) ?? '';
  const over = new AbortController();
  // The /webrtc dial opens the circuit for its signals, and DCUtR works on that at the same time.
  const direct = directConnection(node, peer, over.signal);
  const dialled = node.dial(webrtc as unknown[]);
  dialled.catch((error: unknown) => context.note(`/webrtc: ${errorText(error)}`));
  let connection: Libp2pConnection;
  try {
    connection = await Promise.race([dialled, direct]);
  } catch {
    const relayed = await node.dial(circuit as unknown[]);
    connection = await Promise.race([direct, sleep(sharedClock, UPGRADE_WAIT_MS).then(() => relayed)]);
  } finally {
    over.abort();
  }
  const stream = await connection.newStream([PROTOCOL], { runOnLimitedConnection: true });
  return sessionOf(stream, connection, node);
}

/** Resolves with the first connection to the peer that no relay carries; never without one. */
async function directConnection(node: Libp2pNode, peer: string, signal: AbortSignal): Promise<Libp2pConnection> {
  while (!signal.aborted) {
    const connections = node.getConnections().filter(({ remotePeer }) => String(remotePeer) === peer);
    const direct = connections.find((one) => !isRelayed(one) && one.status === 'open');
    if (direct) return direct;
    await sleep(sharedClock, UPGRADE_LOOK_MS);
  }
  return new Promise(() => {});
}

function isRelayed({ remoteAddr }: Libp2pConnection): boolean {
  const address = String(remoteAddr);
  return address.includes('/p2p-circuit') && !address.includes('/webrtc');
}

function sessionOf(stream: Libp2pStream, connection: Libp2pConnection, node: Libp2pNode): Session {
  return new NodeSession(stream, node, () => pathOf(connection));
}

async function pathOf(connection: Libp2pConnection): Promise<PathFacts> {
  const stats = await connection.maConn?.peerConnection?.getStats();
  const pair = stats && selectedPath(stats);
  if (pair) return icePath(pair.local, pair.remote);
  const detail = String(connection.remoteAddr);
  const protocol = detail.includes('/webrtc') ? 'udp' : 'tcp';
  return { type: isRelayed(connection) ? 'relayed' : 'direct', protocol, detail };
}

class NodeSession extends StreamSession {
  readonly #node: Libp2pNode;

  constructor(stream: Libp2pStream, node: Libp2pNode, path: () => Promise<PathFacts>) {
    super(streamDuplex(stream), path);
    this.#node = node;
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#node.stop();
  }
}
