/**
 * What this node lends, and to whom. Every stream that a peer opens comes here:
 * the grant is checked for each, against the settings of that moment.
 */

import { ClawError, type Clock, errorText, isClawError, type Logger } from '@claw/base';
import type { PeerRecord } from '@claw/identity';
import type { IncomingChannel, LinkErrorCode, LinkStream } from '@claw/link';
import type { Service } from '../settings/index.ts';
import { FolderHandler } from './files-share.ts';
import { HttpShare } from './http-share.ts';
import { McpShare } from './mcp-share.ts';
import { CATALOG_SERVICE, type Catalog, SHARE_PREFIX } from './protocol.ts';
import { ReverseProxy } from './reverse-proxy.ts';
import type { Share } from './share.ts';
import { TcpShare } from './tcp-share.ts';

interface Lent {
  service: Service;
  readonly share: Share;
  /** Streams being served. */
  readonly open: Map<LinkStream, PeerRecord>;
  served: number;
}

export interface ShareStatus {
  readonly name: string;
  readonly service: Service;
  readonly openStreams: number;
  readonly served: number;
}

export class Shares implements AsyncDisposable {
  readonly #logger: Logger;
  readonly #clock: Clock;
  #lent = new Map<string, Lent>();
  /** Shares that are lent no longer and still end their processes. */
  readonly #closing = new Set<Promise<void>>();

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** Takes over new settings: what is unchanged goes on, what lost its grant or its target is cut. */
  apply(services: Readonly<Record<string, Service>>): void {
    const before = this.#lent;
    this.#lent = new Map();
    for (const [name, service] of Object.entries(services)) {
      const old = before.get(name);
      if (old && sameTarget(old.service, service)) {
        before.delete(name);
        old.service = service;
        this.#lent.set(name, old);
        for (const [stream, peer] of old.open) if (!isGranted(service, peer)) stream.destroy(takenBack(name));
      } else {
        this.#lent.set(name, { service, share: openShare(service, this.#clock), open: new Map(), served: 0 });
      }
    }
    for (const [name, { share, open }] of before) {
      for (const stream of open.keys()) stream.destroy(takenBack(name));
      this.#closeShare(name, share);
    }
  }

  status(): ShareStatus[] {
    return [...this.#lent].map(([name, { service, open, served }]) => ({
      name,
      service,
      openStreams: open.size,
      served,
    }));
  }

  /** Serves a stream that `peer` opened; false when its service is not one of ours. */
  handle(channel: IncomingChannel, peer: PeerRecord): boolean {
    if (channel.service === CATALOG_SERVICE) {
      channel.acceptStream().end(JSON.stringify(this.#catalogFor(peer)));
      return true;
    }
    if (!channel.service.startsWith(SHARE_PREFIX)) return false;
    void this.#serve(channel, channel.service.slice(SHARE_PREFIX.length), peer);
    return true;
  }

  /** Cuts every stream; resolves when what served them has ended. */
  async close(): Promise<void> {
    this.apply({});
    await Promise.all(this.#closing);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #serve(channel: IncomingChannel, name: string, peer: PeerRecord): Promise<void> {
    const lent = this.#lent.get(name);
    // A peer without the grant learns nothing, not even whether the share exists.
    if (!lent || !isGranted(lent.service, peer)) {
      this.#logger.warn('share.refused', { share: name, peer: peer.name });
      return channel.refuse('STREAM_NOT_GRANTED', `nothing called "${name}" is shared with this node`);
    }
    let accepted: LinkStream | undefined;
    const accept = () => {
      // The settings may have changed while the target was being reached.
      if (this.#lent.get(name) !== lent || !isGranted(lent.service, peer)) throw takenBack(name);
      accepted = channel.acceptStream();
      accepted.on('error', () => {}); // its pipelines hear of it too
      lent.open.set(accepted, peer);
      lent.served += 1;
      return accepted;
    };
    try {
      await lent.share.serve(accept, { name, peer: peer.name, logger: this.#logger });
    } catch (error) {
      this.#logger.warn('share.failed', { share: name, peer: peer.name, detail: errorText(error) });
      if (accepted) accepted.destroy(asError(error));
      else if (isClawError<LinkErrorCode>(error, 'STREAM_NOT_GRANTED'))
        channel.refuse('STREAM_NOT_GRANTED', error.message);
      else channel.refuse('STREAM_TARGET_FAILED', `the shared service does not answer: ${errorText(error)}`);
    } finally {
      if (accepted) lent.open.delete(accepted);
    }
  }

  #closeShare(name: string, share: Share): void {
    const closing = share.close().catch((error: unknown) => {
      this.#logger.error('share.not-closed', { share: name, detail: errorText(error) });
    });
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }

  #catalogFor(peer: PeerRecord): Catalog {
    const granted = [...this.#lent].filter(([, { service }]) => isGranted(service, peer));
    return { services: granted.map(([name, { service }]) => ({ name, kind: service.kind })) };
  }
}

function openShare(service: Service, clock: Clock): Share {
  switch (service.kind) {
    case 'tcp':
      return new TcpShare(service.target);
    case 'http':
      return new HttpShare(new ReverseProxy(service.target));
    case 'files':
      return new HttpShare(new FolderHandler(service.directory));
    case 'mcp':
      return new McpShare(service.command, clock);
  }
}

function isGranted(service: Service, peer: PeerRecord): boolean {
  return peer.state === 'paired' && service.to.includes(peer.id);
}

function sameTarget(left: Service, right: Service): boolean {
  return JSON.stringify({ ...left, to: [] }) === JSON.stringify({ ...right, to: [] });
}

function takenBack(name: string) {
  return new ClawError<LinkErrorCode>('STREAM_NOT_GRANTED', `"${name}" is shared with this node no longer`);
}

function asError(error: unknown): Error | ClawError {
  return isClawError(error) || error instanceof Error ? error : new Error(String(error));
}
