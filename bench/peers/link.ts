/** Our link: key holder, sealed envelopes, both handshakes, a message channel. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@claw/base';
import type { Carrier, NodeId, RtcEngine, RtcPeerConnection, RtcSessionDescription } from '@claw/contracts';
import { CertificatePool, type KeyHolderProcess, openKeyHolder } from '@claw/identity';
import { DEFAULT_SESSION_LIMITS, type Link, LinkKeeper, type MessageChannel } from '@claw/link';
import { openRouter, type Router } from '@claw/signaling';
import { createWebrtcEngine } from '@claw/webrtc';
import { type Endpoint, type EndpointOptions, mapCandidate } from './endpoint.ts';

/** What a daemon has long before it connects: its key, its certificates. */
export interface LinkHost {
  readonly keyHolder: KeyHolderProcess;
  readonly certificates: CertificatePool;
  readonly sealingKey: Awaited<ReturnType<KeyHolderProcess['issueSealingKey']>>;
  readonly router: Router;
  /** What the router's only carrier is joined to at the moment. */
  readonly wires: {
    send: (envelope: Uint8Array) => void;
    receive: (envelope: Uint8Array) => void;
    keeper?: LinkKeeper;
  };
  close(): Promise<void>;
}

const HOST = '127.0.0.1';

export interface PeerAddress {
  readonly id: NodeId;
  readonly sealingKey: string;
}

export async function openLinkHost(): Promise<LinkHost> {
  const home = await mkdtemp(join(tmpdir(), 'claw-bench-'));
  const keyHolder = await openKeyHolder({ home });
  const certificates = new CertificatePool({ keyHolder, size: 3 });
  const sealingKey = await keyHolder.issueSealingKey();
  const wires: LinkHost['wires'] = { send: () => {}, receive: () => {} };
  const router = openRouter({
    keyHolder,
    sealingKey,
    authorize: () => true,
    onMessage: (message) => wires.keeper?.receive(message),
  });
  router.addCarrier((onEnvelope) => {
    wires.receive = onEnvelope;
    return pipeCarrier((envelope) => wires.send(envelope));
  });
  const close = async () => {
    await router.close();
    await certificates.close();
    await keyHolder.close();
    await rm(home, { recursive: true, force: true });
  };
  return { keyHolder, certificates, sealingKey, router, wires, close };
}

export function addressOf(host: LinkHost): PeerAddress {
  return { id: host.keyHolder.nodeId, sealingKey: Buffer.from(host.sealingKey.publicKey).toString('base64') };
}

export interface LinkEndpoint extends Endpoint {
  readonly link: Promise<Link>;
}

export function openLink(host: LinkHost, peer: PeerAddress, { role, pipe, mapPort }: EndpointOptions): LinkEndpoint {
  const { keyHolder, certificates, router, wires } = host;
  const messages = Promise.withResolvers<MessageChannel>();
  const linked = Promise.withResolvers<Link>();
  const take = (message: Buffer) => endpoint.onMessage(message);
  pipe.onMessage((signal: { envelope: string }) => wires.receive(Buffer.from(signal.envelope, 'base64')));
  wires.send = (envelope) => pipe.send({ envelope: Buffer.from(envelope).toString('base64') });
  const keeper = new LinkKeeper({
    environment: {
      keyHolder,
      certificates,
      engine: mapPort
        ? delayed(createWebrtcEngine({ addresses: [HOST] }), mapPort)
        : createWebrtcEngine({ addresses: [HOST] }),
      rtc: () => ({}),
      policy: () => ({ integrity: 'require' }),
      limits: DEFAULT_SESSION_LIMITS,
      clock: systemClock,
      logger: silentLogger,
      onIncoming: (_, channel) => {
        if (channel.kind === 'message') messages.resolve(channel.acceptMessages(take));
        else channel.acceptStream().resume();
      },
    },
    post: (to, kind, body, lifetimeMs) =>
      router.post({ to, sealingKey: Buffer.from(peer.sealingKey, 'base64') }, kind, body, { lifetimeMs }),
    random: systemRandom,
  });
  wires.keeper = keeper;
  keeper.on('link', (link) => {
    linked.resolve(link);
    if (role === 'answerer') return;
    const channel = link.openMessages('bench');
    channel.onMessage = take;
    messages.resolve(channel);
  });
  // The answerer only listens, so that the offerer's attempt is the one measured.
  if (role === 'offerer') keeper.keep(peer.id);
  else keeper.listen(peer.id);
  let channel: MessageChannel | undefined;
  const ready = messages.promise.then((opened) => {
    channel = opened;
  });
  const endpoint: LinkEndpoint = {
    ready,
    link: linked.promise,
    onMessage: () => {},
    send(message) {
      const sent = (channel as MessageChannel).send(message);
      return typeof sent === 'boolean' ? undefined : sent;
    },
    async close() {
      await keeper.close();
    },
  };
  return endpoint;
}

function pipeCarrier(send: (envelope: Uint8Array) => void): Carrier {
  const close = async () => {};
  return {
    name: 'pipe',
    maxEnvelopeBytes: 64 * 1024,
    status: () => ({
      name: 'pipe',
      state: 'up',
      detail: '',
      envelopesSent: 0,
      envelopesReceived: 0,
      bytesSent: 0,
      bytesReceived: 0,
    }),
    send: (_, envelope) => send(envelope),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Candidates travel beside the description, where they can be mapped. */
function withoutCandidates({ type, sdp }: RtcSessionDescription): RtcSessionDescription {
  return { type, sdp: sdp.replace(/^a=(?:candidate:.*|end-of-candidates)\r\n/gm, '') };
}

/** An engine whose candidates lead through the delay line. */
function delayed(engine: RtcEngine, mapPort: NonNullable<EndpointOptions['mapPort']>): RtcEngine {
  return {
    name: engine.name,
    createPeerConnection(configuration) {
      const connection = engine.createPeerConnection(configuration);
      return new Proxy(connection, {
        get(target, key) {
          if (key === 'setLocalDescription') return async () => withoutCandidates(await target.setLocalDescription());
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
        set(target, key, value) {
          if (key !== 'onicecandidate') return Reflect.set(target, key, value, target);
          const tell = value as NonNullable<RtcPeerConnection['onicecandidate']>;
          const pending: Promise<void>[] = [];
          target.onicecandidate = (candidate) => {
            if (!candidate) return void Promise.all(pending).then(() => tell(null));
            pending.push(
              mapCandidate(candidate.candidate, mapPort).then((mapped) => tell({ ...candidate, candidate: mapped })),
            );
          };
          return true;
        },
      });
    },
  };
}
