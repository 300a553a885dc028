/**
 * Gathering (RFC 8445 §5.1.1): a socket for each local address, what STUN servers
 * see of it, and allocations on TURN servers over UDP, TCP or TLS. Each transaction
 * waits for its turn at the pacer. Candidates are told as they are found (RFC 8838);
 * after a restart, and while the path is dead, addresses and servers are looked at anew.
 */

import type { Random } from '@claw/base';
import { canonicalAddress, familyOf, type TransportAddress } from '../address.ts';
import type { LocalCandidate, TcpType } from '../candidate/candidate.ts';
import { parseServers, type ServerAddress } from '../candidate/server-url.ts';
import type { StunError } from '../stun/message.ts';
import type { Transactions } from '../stun/transactions.ts';
import type { Relay } from '../turn/relay.ts';
import type { Base, UdpBase } from './base.ts';
import type { EgressGate } from './egress-gate.ts';
import { GatheringQueue } from './gathering-queue.ts';
import { HostGatherer, type LocalAddress, type UdpUse } from './host-gatherer.ts';
import { ReflexiveGatherer } from './reflexive-gatherer.ts';
import { RelayGatherer } from './relay-gatherer.ts';
import type { IceConfiguration, IceServerError } from './types.ts';

export interface GathererEvents {
  nextId(): number;
  onBase(base: Base, nowMs: number): unknown;
  onBaseLost(base: Base, nowMs: number): void;
  onCandidate(candidate: LocalCandidate, nowMs: number): unknown;
  /** A TCP candidate that connects: active, or simultaneous open. */
  onConnectingTcp(candidate: LocalCandidate, nowMs: number): void;
  /** Asks for addresses; the answer may come at once. */
  resolve(name: string, answer: (addresses: readonly string[], nowMs: number) => void, nowMs: number): void;
  onAddressLost(address: string, nowMs: number): void;
  onServerError(error: IceServerError): void;
  /** Wants `gather`; without it nobody looks again by itself. */
  readonly onAddressesWanted: (() => void) | undefined;
}

/** The configuration that a gatherer is for: with another one comes another gatherer. */
export interface GatheringPlan {
  readonly servers: readonly ServerAddress[];
  readonly relayOnly: boolean;
}

export interface GathererOptions {
  readonly plan: GatheringPlan;
  readonly gate: EgressGate;
  readonly random: Random;
  readonly transactions: Transactions;
  readonly tcpTypes: readonly TcpType[];
  readonly useProxy: boolean;
  readonly sharesUdp: boolean;
  readonly rtoMs: number;
  readonly events: GathererEvents;
}

/** Keeps the mapping that a signalled reflexive candidate stands for (RFC 8445 §11). */
const KEEP_MAPPING_MS = 20_000;
/** W3C WebRTC §4.8.2. */
const UNREACHED = { code: 701, reason: 'no answer from the server' };
/** Between looks around while the path is dead. */
const SEEK_MS = 4000;

export class Gatherer {
  readonly #options: GathererOptions;
  readonly #queue: GatheringQueue;
  readonly #hosts: HostGatherer;
  readonly #reflexive: ReflexiveGatherer;
  readonly #relays: RelayGatherer;
  #hasStarted = false;
  #isClosed = false;
  /** While the driver owes the addresses of the machine. */
  #addressesCame: (() => void) | undefined;
  /** When servers, and while seeking addresses too, are to be asked again. */
  #lookAtMs = Number.POSITIVE_INFINITY;
  #isSeeking = false;

  constructor(options: GathererOptions) {
    this.#options = options;
    const { gate, random, transactions, plan, tcpTypes, useProxy, rtoMs, events } = options;
    const { relayOnly } = plan;
    this.#queue = new GatheringQueue(({ url }) => events.onServerError({ url, ...UNREACHED, local: undefined }));
    const shared = { gate, random, transactions, queue: this.#queue, rtoMs };
    const nextId = () => events.nextId();
    const onCandidate = (candidate: LocalCandidate, nowMs: number) => events.onCandidate(candidate, nowMs);
    const onRefused = ({ url }: ServerAddress, { code, reason }: StunError, local: TransportAddress) =>
      events.onServerError({ url, code, reason, local });
    this.#reflexive = new ReflexiveGatherer({ ...shared, events: { onCandidate, onRefused } });
    this.#relays = new RelayGatherer({
      ...shared,
      useProxy,
      nextId,
      socket: (id) => this.#hosts.socket(id),
      events: {
        onCandidate,
        onRefused,
        onRelay: (relay, nowMs) => events.onBase(relay, nowMs),
        onRelayLost: (relay, nowMs) => events.onBaseLost(relay, nowMs),
        onMapped: (udp, mapped, url, nowMs) => {
          if (!relayOnly) this.#reflexive.found(udp, mapped, url, nowMs);
        },
      },
    });
    this.#hosts = new HostGatherer({
      gate,
      relayOnly,
      tcpTypes,
      udpUses: udpUsesOf(options),
      nextId,
      events: {
        onCandidate,
        onConnectingTcp: (candidate, nowMs) => events.onConnectingTcp(candidate, nowMs),
        onSocket: (udp, nowMs) => {
          if (!relayOnly && udp.use !== 'relays') events.onBase(udp.base, nowMs);
          this.#reflexive.addSocket(udp);
          this.#relays.addSocket(udp);
        },
        onSocketLost: (udp, nowMs) => {
          events.onBaseLost(udp.base, nowMs);
          this.#queue.transportLost(udp.id);
          this.#relays.socketLost(udp.id, nowMs);
        },
        onAddressLost: (address, nowMs) => {
          this.#relays.addressLost(address, nowMs);
          events.onAddressLost(address, nowMs);
        },
      },
    });
  }

  get plan(): GatheringPlan {
    return this.#options.plan;
  }

  /** Nothing more will come unless addresses do. */
  get isComplete(): boolean {
    return this.#queue.isIdle && !this.#hosts.isOpening;
  }

  get hasWork(): boolean {
    return this.#queue.hasWork;
  }

  get deadlineMs(): number {
    return Math.min(this.#lookAtMs, this.#relays.deadlineMs);
  }

  /** Those that stand now. */
  candidates(): LocalCandidate[] {
    return [...this.#hosts.candidates(), ...this.#relays.all().map(({ candidate }) => candidate)];
  }

  /** What a new generation makes its pairs of. */
  bases(): Base[] {
    return [...(this.plan.relayOnly ? [] : this.#hosts.bases()), ...this.#relays.all()];
  }

  /** TCP candidates that connect. */
  get connecting(): readonly LocalCandidate[] {
    return this.#hosts.connecting;
  }

  /** On all addresses of the machine, the best first; called again, those that went are dropped. */
  gather(addresses: readonly LocalAddress[], nowMs: number): void {
    this.#addressesCame?.();
    this.#addressesCame = undefined;
    this.#hosts.gather(addresses, nowMs);
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    this.#startServers(nowMs);
  }

  /** For a restart: what the network looks like may have changed in every way. `addresses`: as they were. */
  renew(addresses: readonly LocalAddress[], nowMs: number): void {
    const isFirst = !this.#hasStarted;
    this.gather(addresses, nowMs);
    this.#askForAddresses();
    if (isFirst) return;
    this.#relays.verify(nowMs);
    this.#reflexive.forgetServers();
    this.#relays.forgetServers();
    this.#startServers(nowMs);
  }

  /** There is a direct path over UDP: no port needs to be open for connections. */
  closeListeners(): void {
    this.#hosts.closeListeners();
  }

  /** The path has died: connections are welcome again. */
  listenAgain(nowMs: number): void {
    this.#hosts.listenAgain(nowMs);
  }

  /** True when the id was one of ours. */
  transportOpened(id: number, local: TransportAddress, nowMs: number): boolean {
    return this.#relays.streamOpened(id, local, nowMs) || this.#hosts.transportOpened(id, local, nowMs);
  }

  /** Failed to open, or broke. True when the id was one of ours. */
  transportFailed(id: number, nowMs: number): boolean {
    return this.#hosts.transportFailed(id, nowMs) || this.#relays.streamFailed(id, nowMs);
  }

  udpBase(id: number): UdpBase | undefined {
    return this.#hosts.socket(id)?.base;
  }

  /** The passive candidate that accepted connections belong to. */
  listener(id: number): LocalCandidate | undefined {
    return this.#hosts.listener(id);
  }

  isServerStream(id: number): boolean {
    return this.#relays.isStream(id);
  }

  /** Where the server of a stream is, or what stands for it. */
  streamServer(id: number): TransportAddress | undefined {
    return this.#relays.streamServer(id);
  }

  /** The relay whose server speaks from there. */
  relayFrom(transportId: number, remote: TransportAddress): Relay | undefined {
    return this.#relays.relayFrom(transportId, remote);
  }

  /** A peer that relayed packets may come from. */
  permit(address: string): void {
    this.#relays.permit(address);
  }

  /** Starts one paced transaction. */
  startNext(nowMs: number): boolean {
    return this.#queue.startNext(nowMs);
  }

  /** The path died, perhaps because we or a NAT have another address: looks around until there is a path. */
  seek(nowMs: number): void {
    this.#isSeeking = true;
    this.#lookAtMs = nowMs;
  }

  /** `isWaiting`: no pair works, so mappings matter to those who have yet to answer. */
  handleTimeout(isWaiting: boolean, nowMs: number): void {
    this.#relays.handleTimeout(nowMs);
    if (nowMs < this.#lookAtMs) return;
    this.#isSeeking &&= isWaiting;
    const keepMs = this.#reflexive.hasServers ? KEEP_MAPPING_MS : Number.POSITIVE_INFINITY;
    this.#lookAtMs = nowMs + (this.#isSeeking ? SEEK_MS : keepMs);
    if (!isWaiting) return;
    if (this.#isSeeking) {
      this.#askForAddresses();
      this.#relays.verify(nowMs);
    }
    this.#reflexive.refresh(this.#hosts.sockets());
  }

  close(): void {
    this.#isClosed = true;
    this.#relays.close();
    this.#hosts.close();
    this.#queue.clear();
  }

  /** Gathering is not complete before they are there. */
  #askForAddresses(): void {
    const { onAddressesWanted } = this.#options.events;
    if (!onAddressesWanted) return;
    this.#addressesCame ??= this.#queue.begin();
    onAddressesWanted();
  }

  #startServers(nowMs: number): void {
    for (const server of this.plan.servers) this.#startServer(server, nowMs);
  }

  #startServer(server: ServerAddress, nowMs: number): void {
    const { events, useProxy } = this.#options;
    const { kind, protocol, host, port } = server;
    if (kind === 'stun' && (protocol !== 'udp' || this.plan.relayOnly)) return;
    if (protocol !== 'udp' && useProxy) {
      // The proxy looks names up itself.
      return this.#relays.addServer({ server, address: { address: host, port }, hops: 0 }, []);
    }
    if (canonicalAddress(host) !== undefined) return this.#addServer(server, host, nowMs);
    const finish = this.#queue.begin({ server });
    const answer = (addresses: readonly string[], atMs: number) => {
      for (const family of [4, 6] as const) {
        const address = this.#isClosed ? undefined : addresses.find((each) => familyOf(each) === family);
        if (address !== undefined) this.#addServer(server, address, atMs);
      }
      finish();
    };
    events.resolve(host, answer, nowMs);
  }

  #addServer(server: ServerAddress, host: string, nowMs: number): void {
    const address = canonicalAddress(host);
    if (address === undefined) return;
    const place = { server, address: { address, port: server.port }, hops: 0 };
    if (server.kind === 'turn') return this.#relays.addServer(place, this.#hosts.sockets());
    this.#reflexive.addServer(place, this.#hosts.sockets());
    if (this.#lookAtMs === Number.POSITIVE_INFINITY) this.#lookAtMs = nowMs + KEEP_MAPPING_MS;
  }
}

/** Throws `ICE_SERVER_INVALID`. */
export function planOf({ servers = [], transportPolicy = 'all' }: IceConfiguration): GatheringPlan {
  return { servers: parseServers(servers), relayOnly: transportPolicy === 'relay' };
}

function udpUsesOf({ sharesUdp, plan }: GathererOptions): readonly UdpUse[] {
  const { relayOnly, servers } = plan;
  if (!sharesUdp) return ['both'];
  const hasRelays = servers.some(({ kind, protocol }) => kind === 'turn' && protocol === 'udp');
  return [...(relayOnly ? [] : (['peers'] as const)), ...(hasRelays ? (['relays'] as const) : [])];
}
