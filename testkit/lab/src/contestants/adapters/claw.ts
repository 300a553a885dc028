/**
 * Our link as it stands: two paired nodes, their signals carried by hand, the
 * keeper that makes a lost link anew. The session is what an application has of
 * it: a message channel that is opened again on the next link, so a link that was
 * lost is a gap here and not an end.
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@claw/base';
import type { Carrier, NodeId } from '@claw/contracts';
import { CertificatePool, type KeyHolderProcess, openKeyHolder } from '@claw/identity';
import { DEFAULT_SESSION_LIMITS, type Link, LinkKeeper, type MessageChannel } from '@claw/link';
import { openRouter, type Router } from '@claw/signaling';
import { createWebrtcEngine } from '@claw/webrtc';
import type { Adapter, PathFacts, PeerContext, PrepareContext } from '../contract.ts';
import { BaseSession } from './base-session.ts';
import { icePath, iceServersOf } from './ice.ts';
import { ownEngineOptions } from './own-engine.ts';
import { packageVersion } from './packages.ts';

/** What a daemon has long before it connects. */
interface ClawNode {
  readonly keyHolder: KeyHolderProcess;
  readonly certificates: CertificatePool;
  readonly sealingKey: Awaited<ReturnType<KeyHolderProcess['issueSealingKey']>>;
}

/** What paired nodes know of each other. */
interface ClawFacts {
  readonly id: NodeId;
  readonly sealingKey: string;
}

export function createClawAdapter(): Adapter {
  let node: ClawNode | undefined;
  return {
    name: 'claw',
    version: () => packageVersion('@claw/link', true),
    async prepare(context): Promise<ClawFacts> {
      node = await openNode(context);
      const { keyHolder, sealingKey } = node;
      return { id: keyHolder.nodeId, sealingKey: Buffer.from(sealingKey.publicKey).toString('base64') };
    },
    async open(context) {
      const session = new ClawSession(node as ClawNode, context);
      await session.opened;
      return session;
    },
  };
}

async function openNode({ folder, signal }: PrepareContext): Promise<ClawNode> {
  const home = join(folder, 'node');
  await mkdir(home, { mode: 0o700, recursive: true });
  const keyHolder = await openKeyHolder({ home });
  signal.addEventListener('abort', () => void keyHolder.close());
  const certificates = new CertificatePool({ keyHolder, size: 3 });
  return { keyHolder, certificates, sealingKey: await keyHolder.issueSealingKey() };
}

class ClawSession extends BaseSession {
  readonly opened: Promise<void>;
  readonly #context: PeerContext;
  readonly #node: ClawNode;
  readonly #peer: ClawFacts;
  readonly #router: Router;
  readonly #keeper: LinkKeeper;
  #link: Link | undefined;
  #channel = Promise.withResolvers<MessageChannel>();

  constructor(node: ClawNode, context: PeerContext) {
    super();
    this.#context = context;
    this.#node = node;
    this.#peer = context.peerFacts as ClawFacts;
    this.opened = this.#channel.promise.then(() => {});
    this.#keeper = this.#openKeeper();
    this.#router = this.#openRouter();
    this.#keeper.on('link', (link) => this.#onLink(link));
    this.#keeper.on('change', () => this.#tellTrouble());
    // b only listens at first, so that one attempt is measured; after a loss both sides offer.
    if (context.role === 'a') this.#keeper.keep(this.#peer.id);
    else this.#keeper.listen(this.#peer.id);
  }

  async send(message: Buffer): Promise<void> {
    for (;;) {
      if (this.endReason !== undefined) throw new Error(this.endReason);
      const channel = await this.#channel.promise;
      try {
        await channel.send(message);
        return;
      } catch (error) {
        // It did not leave, because the channel's link ended: it goes by the next.
        if (channel === (await this.#channel.promise)) throw error;
      }
    }
  }

  async path(): Promise<PathFacts> {
    const stats = await this.#link?.path();
    if (!stats) throw new Error('the link tells no path');
    const [local, remote] = [stats.local, stats.remote].map(({ candidateType, address, protocol }) => ({
      ...{ type: candidateType, address, protocol },
    }));
    return icePath(local as never, remote as never);
  }

  async close(): Promise<void> {
    this.end('closed here');
    await this.#keeper.close();
    await this.#router.close();
    await this.#node.certificates.close();
    await this.#node.keyHolder.close();
  }

  #openKeeper(): LinkKeeper {
    const { keyHolder, certificates } = this.#node;
    const { services } = this.#context;
    const sealingKey = Buffer.from(this.#peer.sealingKey, 'base64');
    return new LinkKeeper({
      environment: {
        ...{ keyHolder, certificates },
        engine: createWebrtcEngine(ownEngineOptions(this.#context)),
        rtc: () => ({ iceServers: iceServersOf(services, ['udp', 'tcp', 'tls']) }),
        policy: () => ({ integrity: 'require' }),
        limits: DEFAULT_SESSION_LIMITS,
        clock: systemClock,
        logger: silentLogger,
        onIncoming: (link, incoming) => {
          if (incoming.kind !== 'message') return void incoming.acceptStream().destroy();
          this.#use(
            link,
            incoming.acceptMessages((message) => this.deliver(message)),
          );
        },
      },
      post: (to, kind, body, lifetimeMs) => this.#router.post({ to, sealingKey }, kind, body, { lifetimeMs }),
      random: systemRandom,
    });
  }

  #openRouter(): Router {
    const { keyHolder, sealingKey } = this.#node;
    const router = openRouter({
      ...{ keyHolder, sealingKey },
      authorize: (from) => from === this.#peer.id,
      onMessage: (message) => this.#keeper.receive(message),
    });
    router.addCarrier((onEnvelope) => {
      this.#context.onSignal((data) => onEnvelope(Buffer.from((data as { envelope: string }).envelope, 'base64')));
      return signalCarrier(this.#context);
    });
    return router;
  }

  #onLink(link: Link): void {
    if (this.#context.role === 'b') return;
    const channel = link.openMessages('lab');
    channel.onMessage = (message) => this.deliver(message);
    this.#use(link, channel);
  }

  #use(link: Link, channel: MessageChannel): void {
    this.#link = link;
    this.#channel.resolve(channel);
    channel.onClose = () => {
      this.#channel = Promise.withResolvers();
    };
  }

  #tellTrouble(): void {
    const status = this.#keeper.status(this.#peer.id);
    const { lastError } = status ?? {};
    if (lastError) this.#context.note(`${status?.state}: ${lastError.code} ${lastError.message}`);
  }
}

function signalCarrier(context: PeerContext): Carrier {
  const counted = { envelopesSent: 0, envelopesReceived: 0, bytesSent: 0, bytesReceived: 0 };
  const close = async () => {};
  return {
    name: 'lab',
    maxEnvelopeBytes: 64 * 1024,
    status: () => ({ name: 'lab', state: 'up', detail: '', ...counted }),
    send: (_, envelope) => context.sendSignal({ envelope: Buffer.from(envelope).toString('base64') }),
    close,
    [Symbol.asyncDispose]: close,
  };
}
