/**
 * A node: everything a machine runs to be on the fabric, put together and taken
 * apart in order. What it does is in the parts; this file says which part hears
 * of what.
 */

import { watch } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import {
  ClawError,
  type Clock,
  errorCode,
  errorText,
  type FileLock,
  type Logger,
  makePrivateDirectory,
  type Random,
  TaskScope,
} from '@claw/base';
import type { NodeId, RtcEngine } from '@claw/contracts';
import {
  CertificatePool,
  type KeyHolderProcess,
  type KeyUnlock,
  openKeyHolder,
  type PeerRecord,
  PeerStore,
} from '@claw/identity';
import { DEFAULT_SESSION_LIMITS, type IncomingChannel, InviteBook, type Link, LinkKeeper, Pairing } from '@claw/link';
import { openHandCarrier, openLanCarrier, openRouter, parseRelayUrl, type Router } from '@claw/signaling';
import * as v from 'valibot';
import { nodeError } from '../errors.ts';
import { Forward } from '../services/forward.ts';
import { CATALOG_SERVICE, type Catalog, catalogSchema, MAX_CATALOG_BYTES, SEND_SERVICE } from '../services/protocol.ts';
import { Shares } from '../services/shares.ts';
import {
  type Edit,
  editSettings,
  type LoadedSettings,
  loadSettings,
  SETTINGS_FILE,
  type Service,
  type Settings,
} from '../settings/index.ts';
import { Inbox } from '../transfer/inbox.ts';
import { lockHome } from './home-lock.ts';
import { RelaySet } from './relay-set.ts';

export interface NodeOptions {
  /** Absolute path; made when missing. */
  readonly home: string;
  readonly engine: RtcEngine;
  readonly unlock?: KeyUnlock;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Something without which the node cannot go on has failed; the owner closes it. */
  readonly onFatal: (error: Error) => void;
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** Descriptions carried by people take as long as people do. */
const HAND_DEADLINE_MS = 10 * 60_000;
const RELOAD_DELAY_MS = 100;
const CATALOG_TIMEOUT_MS = 15_000;

export class Node implements AsyncDisposable {
  readonly home: string;
  readonly keyHolder: KeyHolderProcess;
  readonly peers: PeerStore;
  readonly router: Router;
  readonly keeper: LinkKeeper;
  readonly pairing: Pairing;
  readonly shares: Shares;
  readonly inbox: Inbox;
  readonly forwards = new Map<string, Forward>();
  readonly startedAtMs: number;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly engineName: string;
  readonly #lock: FileLock;
  readonly #certificates: CertificatePool;
  readonly #relays: RelaySet;
  readonly #scope: TaskScope;
  #loaded: LoadedSettings;
  #settingsError: Error | undefined;
  #reloading: Promise<void> = Promise.resolve();
  #handSessions = 0;
  #nextHand = 1;
  #lanOn = false;
  #closing: Promise<void> | undefined;

  /**
   * Starts a node in `options.home`.
   * @throws ClawError `NODE_RUNNING`, `SETTINGS_…`, `KEY_…`, `PEERS_FILE_INVALID`.
   */
  static async open(options: NodeOptions): Promise<Node> {
    await makePrivateDirectory(options.home);
    const lock = await lockHome(options.home);
    try {
      const [loaded, keyHolder, peers, invites] = await Promise.all([
        loadSettings(options.home),
        openKeyHolder({
          home: options.home,
          clock: options.clock,
          onExit: options.onFatal,
          ...(options.unlock && { unlock: options.unlock }),
        }),
        PeerStore.open(options.home),
        InviteBook.open(options.home, options.clock, (detail) => options.logger.warn('invites.unreadable', { detail })),
      ]);
      const sealingKey = await keyHolder.issueSealingKey();
      return new Node(options, lock, loaded, keyHolder, peers, invites, sealingKey);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  private constructor(
    options: NodeOptions,
    lock: FileLock,
    loaded: LoadedSettings,
    keyHolder: KeyHolderProcess,
    peers: PeerStore,
    invites: InviteBook,
    sealingKey: Awaited<ReturnType<KeyHolderProcess['issueSealingKey']>>,
  ) {
    const { clock, random, logger, engine } = options;
    this.home = options.home;
    this.keyHolder = keyHolder;
    this.peers = peers;
    this.logger = logger;
    this.clock = clock;
    this.engineName = engine.name;
    this.startedAtMs = clock.now();
    this.#lock = lock;
    this.#loaded = loaded;
    this.#scope = new TaskScope({
      clock,
      onError: (error, task) =>
        logger.error('node.task-failed', { task, code: errorCode(error), detail: errorText(error) }),
    });
    this.#certificates = new CertificatePool({ keyHolder, clock, logger });
    this.router = openRouter({
      keyHolder,
      sealingKey,
      authorize: (from, kind) => Pairing.admits(kind, peers.get(from)),
      onMessage: (message) => {
        this.pairing.receive(message);
        this.keeper.receive(message);
      },
      clock,
      random,
      logger,
    });
    this.#relays = new RelaySet(this.router, keyHolder, clock, logger);
    this.keeper = new LinkKeeper({
      environment: {
        keyHolder,
        certificates: this.#certificates,
        engine,
        rtc: () => ({ iceServers: this.settings.iceServers }),
        policy: () => this.settings.policy,
        limits: DEFAULT_SESSION_LIMITS,
        clock,
        logger,
        onIncoming: (link, channel) => this.#onIncoming(link, channel),
      },
      post: (to, kind, body, lifetimeMs) => this.#postToPeer(to, kind, body, lifetimeMs),
      attemptDeadlineMs: () => (this.#handSessions > 0 ? HAND_DEADLINE_MS : undefined),
      random,
    });
    this.pairing = new Pairing({
      keyHolder,
      sealingKey: sealingKey.publicKey,
      peers,
      invites,
      self: () => ({ name: this.settings.name, relays: this.settings.relays }),
      post: (to, kind, body, lifetimeMs) => this.router.post(to, kind, body, { lifetimeMs }),
      onPaired: (peer) => this.#onPaired(peer),
      onRemoved: (peer, byPeer) => this.#onRemoved(peer, byPeer),
      clock,
      random,
      logger,
    });
    this.shares = new Shares(logger, clock);
    this.inbox = new Inbox({ settings: () => this.settings.inbox, clock, logger });
    this.keeper.on('link', (link) => this.#onLink(link));
    this.#scope.run('start', () => this.#applySettings());
    this.#watchSettings();
    for (const peer of peers.list()) if (peer.state === 'paired') this.keeper.keep(peer.id);
  }

  get settings(): Settings {
    return this.#loaded.settings;
  }

  /** What a person should know about the settings: warnings, and why a later version of the file is not in force. */
  get settingsNotes(): { readonly warnings: readonly string[]; readonly error: Error | undefined } {
    return { warnings: this.#loaded.warnings, error: this.#settingsError };
  }

  /** Changes `claw.json` and puts the result in force. */
  async edit(edits: readonly Edit[]): Promise<void> {
    await editSettings(this.home, edits);
    await this.reload();
  }

  /** Reads `claw.json` again. A broken file leaves the settings as they were and is reported. One reload after the other. */
  reload(): Promise<void> {
    const reloaded = this.#reloading.then(() => this.#reload());
    this.#reloading = reloaded.catch(() => {});
    return reloaded;
  }

  async #reload(): Promise<void> {
    try {
      this.#loaded = await loadSettings(this.home);
      this.#settingsError = undefined;
    } catch (error) {
      this.#settingsError = error as Error;
      this.logger.error('settings.not-applied', { code: errorCode(error), detail: errorText(error) });
      return;
    }
    await this.#applySettings();
  }

  /** Adds a relay of our own, for good. */
  async addRelay(url: string): Promise<void> {
    parseRelayUrl(url);
    if (!this.settings.relays.includes(url))
      await this.edit([{ path: ['relays'], value: [...this.settings.relays, url] }]);
  }

  /** Lends a service under `name` to `to` besides those who have it; without a service, a present one. */
  async lend(name: string, service: DistributiveOmit<Service, 'to'> | undefined, to: readonly string[]): Promise<void> {
    const present = this.settings.services[name];
    const target = service ?? present;
    if (!target) {
      throw nodeError('SERVICE_UNKNOWN', `this node lends nothing called "${name}" yet`, {
        hint: 'Say what it is: --tcp HOST:PORT, --http URL, --mcp "COMMAND" or --files DIR.',
      });
    }
    // Grants name node ids: a name could come to mean another machine.
    const ids = new Set([...(present?.to ?? []), ...to.map((peer) => this.peers.find(peer).id)]);
    await this.edit([{ path: ['services', name], value: { ...target, to: [...ids] } }]);
  }

  /** Forgets a peer: its links are cut, it is told, and what it was granted is taken back, also for a later pairing. */
  async unpair(peer: PeerRecord): Promise<void> {
    await this.pairing.remove(peer);
    const edits = Object.entries(this.settings.services)
      .filter(([, { to }]) => to.includes(peer.id))
      .map(([name, { to }]): Edit => ({ path: ['services', name, 'to'], value: to.filter((id) => id !== peer.id) }));
    if (edits.length === 0) return;
    try {
      await this.edit(edits);
    } catch (error) {
      // The peer is out all the same; the line names an id that nobody has until it pairs again.
      this.logger.warn('peer.grants-left', { peer: peer.name, code: errorCode(error), detail: errorText(error) });
    }
  }

  /** What `peer` lends to this node. */
  async catalogOf(peer: PeerRecord, signal?: AbortSignal): Promise<Catalog> {
    const link = await this.keeper.linkTo(peer.id, signal ? { signal } : {});
    const stream = link.openStream(CATALOG_SERVICE);
    if (signal) addAbortSignal(signal, stream);
    const silent = nodeError(
      'CATALOG_TIMEOUT',
      `${peer.name} did not say within ${CATALOG_TIMEOUT_MS / 1000} s what it lends`,
    );
    const timer = this.clock.setTimer(CATALOG_TIMEOUT_MS, () => stream.destroy(silent));
    stream.end();
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > MAX_CATALOG_BYTES) throw nodeError('SERVICE_INVALID', `${peer.name} lists more than can be shown`);
        chunks.push(chunk);
      }
    } finally {
      timer.cancel();
    }
    try {
      return v.parse(catalogSchema, JSON.parse(Buffer.concat(chunks).toString('utf8')));
    } catch (cause) {
      throw nodeError('SERVICE_INVALID', `${peer.name} gave a list of services that cannot be read`, { cause });
    }
  }

  /** Opens a peer's share on a loopback port; the same share on the same address is opened once. */
  async use(peer: PeerRecord, service: string, address: { host?: string; port?: number }): Promise<Forward> {
    const catalog = await this.catalogOf(peer);
    const offered = catalog.services.find(({ name }) => name === service);
    if (!offered) {
      const names = catalog.services.map(({ name }) => name).join(', ');
      throw nodeError('SERVICE_UNKNOWN', `${peer.name} shares nothing called "${service}" with this node`, {
        hint: names ? `It shares: ${names}.` : `There: claw share ${service} … --to ${this.settings.name}`,
      });
    }
    if (offered.kind === 'mcp') {
      throw nodeError('SERVICE_KIND', `${peer.name}/${service} is an MCP server`, {
        hint: `MCP clients start it with: claw mcp ${peer.name}/${service}`,
      });
    }
    const key = `${peer.id}/${service}`;
    const known = this.forwards.get(key);
    if (known && (address.host ?? known.host) === known.host && (address.port ?? known.port) === known.port)
      return known;
    const forward = await Forward.open({
      keeper: this.keeper,
      peer,
      service,
      kind: offered.kind,
      ...address,
      logger: this.logger,
    });
    await known?.close();
    this.forwards.set(key, forward);
    return forward;
  }

  /** Opens the way by hand: envelopes come out as texts for a person to carry, until it is closed. */
  openHand(onText: (text: string) => void): { accept(text: string): void; close(): Promise<void> } {
    const name = `hand-${this.#nextHand++}`;
    this.#handSessions += 1;
    let accept: ((text: string) => void) | undefined;
    this.router.addCarrier((onEnvelope) => {
      const carrier = openHandCarrier({ name, onText: (text) => onText(text), onEnvelope });
      accept = (text) => carrier.accept(text);
      return carrier;
    });
    return {
      accept: (text) => accept?.(text),
      close: async () => {
        this.#handSessions -= 1;
        await this.router.removeCarrier(name);
      },
    };
  }

  /** Listens on a relay for the time being: for an invite that names it. */
  useRelay(url: string): void {
    this.#relays.add(url);
  }

  /** Ends links with a word to every peer, then everything else. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await Promise.all([...this.forwards.values()].map((forward) => forward.close()));
    await this.keeper.close();
    await this.shares.close();
    await this.#scope.close();
    await this.router.close();
    await this.#certificates.close();
    await this.keyHolder.close();
    this.#lock.release();
  }

  // --- wiring

  async #applySettings(): Promise<void> {
    const { relays, lan, services } = this.settings;
    this.shares.apply(services);
    await this.#relays.use([...relays, ...this.#livePeers().flatMap((peer) => peer.relays)]);
    if (lan === this.#lanOn) return;
    this.#lanOn = lan;
    if (!lan) return this.router.removeCarrier('lan');
    this.router.addCarrier((onEnvelope) =>
      openLanCarrier({
        name: 'lan',
        nodeId: this.keyHolder.nodeId,
        onEnvelope,
        clock: this.clock,
        logger: this.logger,
      }),
    );
  }

  #watchSettings(): void {
    this.#scope.run('watch-settings', async (signal) => {
      const watcher = watch(this.home, { persistent: false, signal });
      let pending = false;
      watcher.on('error', (error) => this.logger.warn('settings.not-watched', { detail: errorText(error) }));
      watcher.on('change', (_, name) => {
        if (name !== SETTINGS_FILE || pending) return;
        pending = true;
        this.clock.setTimer(RELOAD_DELAY_MS, () => {
          pending = false;
          this.#scope.run('reload-settings', () => this.reload());
        });
      });
      await new Promise((resolve) => watcher.once('close', resolve));
    });
  }

  #onIncoming(link: Link, channel: IncomingChannel): void {
    const peer = this.peers.get(link.peer);
    if (peer?.state !== 'paired') return channel.refuse('STREAM_NOT_GRANTED', 'this node is not paired with you');
    if (channel.kind === 'stream' && channel.service === SEND_SERVICE) {
      this.#scope.run('receive-file', () => this.inbox.receive(channel, peer));
    } else if (channel.kind !== 'stream' || !this.shares.handle(channel, peer)) {
      channel.refuse('STREAM_UNKNOWN_SERVICE', `there is no service "${channel.service.slice(0, 64)}" here`);
    }
  }

  #onPaired(peer: PeerRecord): void {
    this.logger.info('peer.paired', { peer: peer.name, id: peer.id });
    for (const url of peer.relays) this.#relays.add(url);
    this.keeper.release(peer.id, 'LINK_SUPERSEDED', 'the nodes paired anew');
    this.keeper.keep(peer.id);
  }

  #onRemoved(id: NodeId, byPeer: boolean): void {
    if (!this.keeper.status(id)) return; // told before, on another way
    const peer = this.peers.get(id);
    this.logger.info('peer.removed', { peer: peer?.name, id, byPeer });
    this.keeper.release(id, 'LINK_UNPAIRED', byPeer ? 'the peer unpaired' : 'this node unpaired');
    for (const [key, forward] of this.forwards) {
      if (forward.peer.id !== id) continue;
      this.forwards.delete(key);
      this.#scope.run('close-forward', () => forward.close());
    }
  }

  #onLink(link: Link): void {
    const peer = this.peers.get(link.peer);
    this.logger.info('link.operational', {
      peer: peer?.name,
      role: link.facts.role,
      setupMs: Math.round(link.facts.phases.operational ?? 0),
    });
    for (const warning of link.facts.warnings) this.logger.warn('link.warning', { peer: peer?.name, detail: warning });
    if (peer && !peer.confirmed) this.#scope.run('confirm-peer', () => this.peers.update(peer.id, { confirmed: true }));
    this.#scope.run('link-end', async () => {
      const error = await link.ended;
      this.logger.info('link.ended', { peer: peer?.name, code: error.code, detail: error.message });
      if (error.code === 'LINK_UNPAIRED' && this.peers.get(link.peer)?.state === 'paired') {
        this.#onRemoved(link.peer, true);
        await this.peers.update(link.peer, { state: 'removed-by-peer' });
      }
    });
  }

  async #postToPeer(to: NodeId, kind: string, body: Uint8Array, lifetimeMs: number) {
    const peer = this.peers.get(to);
    if (!peer) throw new ClawError('PEER_UNKNOWN', 'the peer was removed');
    const sealingKey = Buffer.from(peer.sealingKey, 'base64');
    return this.router.post({ to, sealingKey }, kind, body, { lifetimeMs });
  }

  #livePeers(): PeerRecord[] {
    return this.peers.list().filter((peer) => peer.state === 'paired');
  }
}
