/**
 * Gathering (RFC 8445 §5.1.1): a socket for each local address, what STUN servers
 * see of it, and allocations on TURN servers over UDP, TCP or TLS. Each transaction
 * waits for its turn at the pacer. Candidates are told as they are found (RFC 8838);
 * after a restart, and while the path is dead, addresses and servers are looked at anew.
 */

import type { Random } from '@claw/base';
import { canonicalAddress, familyOf, type TransportAddress } from '../address.ts';
import type { LocalCandidate, TcpType } from '../candidate/candidate.ts';
import type { ServerAddress } from '../candidate/server-url.ts';
import type { Transactions } from '../stun/transactions.ts';
import type { Relay } from '../turn/relay.ts';
import type { Base, UdpBase } from './base.ts';
import type { EgressGate } from './egress-gate.ts';
import { GatheringQueue } from './gathering-queue.ts';
import { HostGatherer, type LocalAddress, type UdpUse } from './host-gatherer.ts';
import { ReflexiveGatherer } from './reflexive-gatherer.ts';
import { RelayGatherer } from './relay-gatherer.ts';

export interface GathererEvents {
  nextId(): number;
  onBase(base: Base, nowMs: number): void;
  onBaseLost(base: Base, nowMs: number): void;
  onCandidate(candidate: LocalCandidate, nowMs: number): void;
  /** A TCP candidate that connects: active, or simultaneous open. */
  onConnectingTcp(candidate: LocalCandidate, nowMs: number): void;
  /** Asks for addresses; the answer may come at once. */
  resolve(name: string, answer: (addresses: readonly string[], nowMs: number) => void, nowMs: number): void;
  onAddressLost(address: string, nowMs: number): void;
  /** Wants `gather`; without it nobody looks again by itself. */
  readonly onAddressesWanted: (() => void) | undefined;
}

export interface GathererOptions {
  readonly gate: EgressGate;
  readonly random: Random;
  readonly transactions: Transactions;
  readonly servers: readonly ServerAddress[];
  readonly relayOnly: boolean;
  readonly tcpTypes: readonly TcpType[];
  readonly useProxy: boolean;
  readonly sharesUdp: boolean;
  readonly rtoMs: number;
  readonly events: GathererEvents;
}

/** Keeps the mapping that a signalled reflexive candidate stands for (RFC 8445 §11). */
const KEEP_MAPPING_MS = 20_000;
/** Between looks around while the path is dead. */
const SEEK_MS = 4000;

export class Gatherer {
  readonly #options: GathererOptions;
  readonly #queue = new GatheringQueue();
  readonly #hosts: HostGatherer;
  readonly #reflexive: ReflexiveGatherer;
  readonly #relays: RelayGatherer;
  #hasStarted = false;
  /** While the driver owes the addresses of the machine. */
  #addressesCame: (() => void) | undefined;
  /** When servers, and while seeking addresses too, are to be asked again. */
  #lookAtMs = Number.POSITIVE_INFINITY;
  #isSeeking = false;

  constructor(options: GathererOptions) {
    this.#options = options;
    const { gate, random, transactions, relayOnly, tcpTypes, useProxy, rtoMs, events } = options;
    const shared = { gate, random, transactions, queue: this.#queue, rtoMs };
    const nextId = () => events.nextId();
    const onCandidate = (candidate: LocalCandidate, nowMs: number) => events.onCandidate(candidate, nowMs);
    this.#reflexive = new ReflexiveGatherer({ ...shared, relayOnly, onCandidate });
    this.#relays = new RelayGatherer({
      ...shared,
      useProxy,
      nextId,
      socket: (id) => this.#hosts.socket(id),
      events: {
        onCandidate,
        onRelay: (relay, nowMs) => events.onBase(relay, nowMs),
        onRelayLost: (relay, nowMs) => events.onBaseLost(relay, nowMs),
        onMapped: (udp, mapped, url, nowMs) => this.#reflexive.found(udp, mapped, url, nowMs),
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
    return [...this.#hosts.candidates(), ...this.#relays.candidates()];
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

  /** For a restart: what the network looks like may have changed in every way. */
  renew(nowMs: number): void {
    if (!this.#hasStarted) return;
    this.#askForAddresses();
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
    for (const server of this.#options.servers) this.#startServer(server, nowMs);
  }

  #startServer(server: ServerAddress, nowMs: number): void {
    const { events, useProxy } = this.#options;
    const { kind, protocol, host, port } = server;
    if (kind === 'stun' && protocol !== 'udp') return;
    if (protocol !== 'udp' && useProxy) {
      // The proxy looks names up itself.
      return this.#relays.addServer({ server, address: { address: host, port }, hops: 0 }, []);
    }
    if (canonicalAddress(host) !== undefined) return this.#addServer(server, host, nowMs);
    const finish = this.#queue.begin();
    const answer = (addresses: readonly string[], atMs: number) => {
      for (const family of [4, 6] as const) {
        const address = addresses.find((each) => familyOf(each) === family);
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

function udpUsesOf({ sharesUdp, relayOnly, servers }: GathererOptions): readonly UdpUse[] {
  if (!sharesUdp) return ['both'];
  const hasRelays = servers.some(({ kind, protocol }) => kind === 'turn' && protocol === 'udp');
  return [...(relayOnly ? [] : (['peers'] as const)), ...(hasRelays ? (['relays'] as const) : [])];
}
