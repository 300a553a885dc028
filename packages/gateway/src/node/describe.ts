/** Turns a node and its parts into the documents of views.ts. */

import type { PeerRecord } from '@claw/identity';
import type { Link } from '@claw/link';
import type { Forward } from '../services/forward.ts';
import type { ShareStatus } from '../services/shares.ts';
import type { Service } from '../settings/index.ts';
import type { Node } from './node.ts';
import type { ForwardView, PeerView, ShareView, StatusView } from './views.ts';

export async function describeStatus(node: Node): Promise<StatusView> {
  const { keyHolder, settings, settingsNotes } = node;
  return {
    name: settings.name,
    nodeId: keyHolder.nodeId,
    version: keyHolder.facts.version,
    integrity: keyHolder.facts.integrity,
    pid: process.pid,
    home: node.home,
    uptimeMs: node.clock.now() - node.startedAtMs,
    engine: node.engineName,
    memory: { rssBytes: process.memoryUsage.rss() },
    key: {
      protection: keyHolder.protection,
      confined: keyHolder.confinement.seccomp && keyHolder.confinement.undumpable,
      detail: keyHolder.confinement.detail,
      pid: keyHolder.pid ?? null,
    },
    carriers: node.router
      .carriers()
      .map(({ name, state, detail, envelopesSent, envelopesReceived, bytesSent, bytesReceived }) => ({
        name,
        state,
        detail,
        envelopesSent,
        envelopesReceived,
        bytesSent,
        bytesReceived,
      })),
    peers: await describePeers(node),
    shares: node.shares.status().map((share) => describeShare(node, share)),
    forwards: [...node.forwards.values()].map(describeForward),
    settings: { warnings: [...settingsNotes.warnings], error: settingsNotes.error?.message ?? null },
  };
}

export function describePeers(node: Node): Promise<PeerView[]> {
  return Promise.all(node.peers.list().map((peer) => describePeer(node, peer)));
}

export async function describePeer(node: Node, peer: PeerRecord): Promise<PeerView> {
  const status = node.keeper.status(peer.id);
  const kept = status && status.state !== 'stopped' ? status.state : 'waiting';
  return {
    name: peer.name,
    nodeId: peer.id,
    state: peer.state === 'paired' ? kept : 'removed-by-peer',
    words: peer.words,
    pairedAt: new Date(peer.pairedAtMs).toISOString(),
    confirmed: peer.confirmed,
    grants: [...peer.grants],
    relays: [...peer.relays],
    link: status?.link ? await describeLink(node, status.link) : null,
    lastError: status?.lastError ? { code: status.lastError.code, message: status.lastError.message } : null,
    linksMade: status?.linksMade ?? 0,
  };
}

export function describeShare(node: Node, { name, service, openStreams, served }: ShareStatus): ShareView {
  const to = service.to.map((id) => ({
    name: node.peers.list().find((peer) => peer.id === id)?.name ?? '(not paired)',
    nodeId: id,
  }));
  return { name, kind: service.kind, target: targetOf(service), to, openStreams, served };
}

export function describeForward(forward: Forward): ForwardView {
  const { peer, service, kind, host, port } = forward;
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const url = kind === 'http' || kind === 'files' ? `http://${address}/` : address;
  return {
    peer: peer.name,
    service,
    kind,
    url,
    host,
    port,
    connections: forward.openConnections,
    carried: forward.carried,
  };
}

function targetOf(service: Service): string {
  switch (service.kind) {
    case 'tcp':
    case 'http':
      return service.target;
    case 'files':
      return service.directory;
    case 'mcp':
      return service.command.join(' ');
  }
}

async function describeLink(node: Node, link: Link): Promise<NonNullable<PeerView['link']>> {
  const { facts } = link;
  const stats = link.stats();
  const path = await link.path();
  const end = (side: NonNullable<typeof path>['local']) => ({
    type: side.candidateType,
    address: side.address,
    port: side.port,
  });
  return {
    role: facts.role,
    upMs: node.clock.now() - facts.sinceMs,
    roundTripMs: stats.roundTripMs ?? null,
    bytesSent: stats.bytesSent,
    bytesReceived: stats.bytesReceived,
    openStreams: stats.openChannels,
    path: path ? { protocol: path.local.protocol, local: end(path.local), remote: end(path.remote) } : null,
    handshake: {
      cipher: facts.cipher,
      keyExchange: facts.keyExchange,
      peerVersion: facts.peerRuntime.version,
      peerIntegrity: facts.peerRuntime.integrity,
    },
    setup: Object.fromEntries(Object.entries(facts.phases)),
    warnings: [...facts.warnings],
  };
}
