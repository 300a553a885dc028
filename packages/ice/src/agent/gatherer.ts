/**
 * Gathering (RFC 8445 §5.1.1): a socket for each local address, what STUN servers
 * see of it, and allocations on TURN servers over UDP, TCP or TLS. Each transaction
 * waits for its turn at the pacer. Gathering may be called again when addresses
 * come; candidates are told as they are found (RFC 8838).
 */

import type { Random } from '@claw/base';
import { canonicalAddress, familyOf, sameAddress, type TransportAddress } from '../address.ts';
import {
  ACTIVE_TCP_PORT,
  type CandidateType,
  candidatePriority,
  foundationOf,
  type LocalCandidate,
  type TcpType,
} from '../candidate/candidate.ts';
import type { ServerAddress } from '../candidate/server-url.ts';
import { ATTRIBUTE } from '../stun/constants.ts';
import { addressOf } from '../stun/message.ts';
import type { Transactions } from '../stun/transactions.ts';
import { TurnAllocation } from '../turn/allocation.ts';
import { Relay } from '../turn/relay.ts';
import { type Base, UdpBase } from './base.ts';
import { encodeBindingRequest } from './check-messages.ts';
import type { EgressGate, EgressTransport } from './egress-gate.ts';

export interface LocalAddress {
  readonly address: string;
}

export interface GathererEvents {
  nextId(): number;
  onBase(base: Base, nowMs: number): void;
  onBaseLost(base: Base, nowMs: number): void;
  onCandidate(candidate: LocalCandidate, nowMs: number): void;
  /** A TCP candidate that connects: active, or simultaneous open. */
  onConnectingTcp(candidate: LocalCandidate, nowMs: number): void;
  /** Asks for addresses; the answer may come at once. */
  resolve(name: string, answer: (addresses: readonly string[], nowMs: number) => void, nowMs: number): void;
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
  readonly usernameFragment: () => string;
  readonly events: GathererEvents;
}

/** Allocations go by the five-tuple, so that those from a socket that others use too have one of their own. */
type UdpUse = 'peers' | 'relays' | 'both';

interface UdpTransport extends EgressTransport {
  readonly base: UdpBase;
  readonly preference: number;
  readonly use: UdpUse;
}

/** A connection to a TURN server, opened or on its way. */
interface ServerStream {
  readonly id: number;
  readonly server: ServerAddress;
  readonly address: TransportAddress;
  readonly hops: number;
  /** How often the relay was lost before. */
  readonly attempt: number;
  relay: Relay | undefined;
}

interface TurnPlace {
  readonly server: ServerAddress;
  readonly address: TransportAddress;
  readonly hops: number;
}

/** A relay that was lost, to be asked for again. */
interface Retry {
  readonly atMs: number;
  readonly attempt: number;
  readonly place: TurnPlace;
  /** The socket it was asked for from; none over TCP and TLS. */
  readonly udpId: number | undefined;
}

const MAX_LOCAL_ADDRESSES = 64;
const MAX_ALTERNATES = 3;
/** Of one server: two are enough to survive the loss of an interface. */
const MAX_RELAYS_PER_SERVER = 2;
const FIRST_RETRY_MS = 500;
const MAX_RETRIES = 8;
/** Keeps the mapping that a signalled reflexive candidate stands for (RFC 8445 §11). */
const KEEP_MAPPING_MS = 20_000;
/** Between questions while the path is dead. */
const SEEK_MAPPING_MS = 4000;

export class Gatherer {
  readonly #options: GathererOptions;
  readonly #udp = new Map<number, UdpTransport>();
  readonly #streams = new Map<number, ServerStream>();
  readonly #relays: Relay[] = [];
  /** Resolved servers, to be asked from each socket that comes later too. */
  readonly #stunPlaces: TurnPlace[] = [];
  readonly #turnPlaces: TurnPlace[] = [];
  readonly #retries = new Set<Retry>();
  readonly #queue: ((nowMs: number) => void)[] = [];
  readonly #opening = new Map<number, { readonly kind: UdpUse | 'passive' | 'so'; readonly address: string }>();
  readonly #listeners = new Map<number, LocalCandidate>();
  #isListening = true;
  /** Where nobody listens now that did. */
  readonly #quiet = new Set<string>();
  readonly #preferences = new Map<string, number>();
  #outstanding = 0;
  #serversStarted = false;
  #keepMappingsAtMs = Number.POSITIVE_INFINITY;
  #isSeeking = false;

  constructor(options: GathererOptions) {
    this.#options = options;
  }

  /** Nothing more will come unless addresses do. */
  get isComplete(): boolean {
    return this.#outstanding === 0 && this.#queue.length === 0 && this.#opening.size === 0;
  }

  get hasWork(): boolean {
    return this.#queue.length > 0;
  }

  get deadlineMs(): number {
    let deadlineMs = this.#keepMappingsAtMs;
    for (const relay of this.#relays) deadlineMs = Math.min(deadlineMs, relay.deadlineMs);
    for (const { atMs } of this.#retries) deadlineMs = Math.min(deadlineMs, atMs);
    return deadlineMs;
  }

  gather(addresses: readonly LocalAddress[], nowMs: number): void {
    const { tcpTypes, relayOnly } = this.#options;
    for (const each of addresses) {
      const address = canonicalAddress(each.address);
      if (address === undefined || this.#preferences.has(address) || this.#preferences.size >= MAX_LOCAL_ADDRESSES)
        continue;
      this.#preferences.set(address, 8191 - this.#preferences.size);
      for (const use of this.#udpUses()) this.#openUdpPort(use, address);
      if (relayOnly) continue;
      if (tcpTypes.includes('active')) this.#addActiveTcp(address, nowMs);
      for (const kind of ['passive', 'so'] as const) if (tcpTypes.includes(kind)) this.#openPort(kind, address);
    }
    if (!this.#serversStarted) this.#startServers(nowMs);
  }

  /** There is a direct path over UDP: no port needs to be open for connections. */
  closeListeners(): void {
    this.#isListening = false;
    for (const [id, { address }] of this.#listeners) {
      this.#quiet.add(address);
      this.#options.gate.request({ type: 'close', id });
    }
    this.#listeners.clear();
  }

  /** The path has died: connections are welcome again. */
  listenAgain(): void {
    this.#isListening = true;
    for (const address of this.#quiet) this.#openPort('passive', address);
    this.#quiet.clear();
  }

  /** True when the id was one of ours. */
  transportOpened(id: number, local: TransportAddress, nowMs: number): boolean {
    const stream = this.#streams.get(id);
    if (stream) {
      this.#allocate(stream, { id, protocol: stream.server.protocol, local }, nowMs);
      return true;
    }
    const opening = this.#opening.get(id);
    if (!opening) return false;
    this.#opening.delete(id);
    if (opening.kind === 'passive' || opening.kind === 'so') this.#openTcp(opening.kind, id, local, nowMs);
    else this.#openUdp(opening.kind, id, local, nowMs);
    return true;
  }

  /** Failed to open, or broke. True when the id was one of ours. */
  transportFailed(id: number, nowMs: number): boolean {
    if (this.#opening.delete(id)) return true;
    if (this.#listeners.delete(id)) return true;
    const udp = this.#udp.get(id);
    if (udp) {
      this.#udp.delete(id);
      if (udp.use !== 'relays') this.#preferences.delete(udp.local.address);
      udp.base.isOpen = false;
      this.#options.events.onBaseLost(udp.base, nowMs);
      for (const relay of [...this.#relays]) {
        if (relay.allocation.options.transport.id === id) this.#loseRelay(relay, nowMs);
      }
      return true;
    }
    const stream = this.#streams.get(id);
    if (!stream) return false;
    this.#streams.delete(id);
    if (stream.relay) this.#loseRelay(stream.relay, nowMs);
    else this.#outstanding -= 1;
    if (stream.relay || stream.attempt > 0) this.#retryLater(stream, undefined, stream.attempt, nowMs);
    return true;
  }

  udpBase(id: number): UdpBase | undefined {
    return this.#udp.get(id)?.base;
  }

  /** The passive candidate that accepted connections belong to. */
  listener(id: number): LocalCandidate | undefined {
    return this.#listeners.get(id);
  }

  isServerStream(id: number): boolean {
    return this.#streams.has(id);
  }

  /** Where the server of a stream is, or what stands for it. */
  streamServer(id: number): TransportAddress | undefined {
    return this.#streams.get(id)?.address;
  }

  /** The relay whose server speaks from there. */
  relayFrom(transportId: number, remote: TransportAddress): Relay | undefined {
    for (const relay of this.#relays) {
      const { transport, address } = relay.allocation.options;
      if (transport.id === transportId && sameAddress(address, remote)) return relay;
    }
    return undefined;
  }

  /** A peer that relayed packets may come from. */
  permit(address: string): void {
    for (const relay of this.#relays) relay.permit(address);
  }

  relays(): readonly Relay[] {
    return this.#relays;
  }

  /** Starts one paced transaction. */
  startNext(nowMs: number): boolean {
    const next = this.#queue.shift();
    next?.(nowMs);
    return next !== undefined;
  }

  /** The path died, perhaps because a NAT gave us another address: asks what we look like now, until there is a path. */
  seek(nowMs: number): void {
    if (this.#stunPlaces.length === 0 && this.#relays.length === 0) return;
    this.#isSeeking = true;
    this.#keepMappingsAtMs = nowMs;
  }

  /** `isWaiting`: no pair works, so mappings matter to those who have yet to answer. */
  handleTimeout(isWaiting: boolean, nowMs: number): void {
    for (const relay of [...this.#relays]) relay.handleTimeout(nowMs);
    for (const retry of this.#retries) if (nowMs >= retry.atMs) this.#retry(retry);
    if (nowMs < this.#keepMappingsAtMs) return;
    this.#isSeeking &&= isWaiting;
    this.#keepMappingsAtMs = nowMs + (this.#isSeeking ? SEEK_MAPPING_MS : KEEP_MAPPING_MS);
    if (!isWaiting) return;
    // The server knows an allocation by our address of then.
    if (this.#isSeeking) for (const relay of this.#relays) relay.allocation.verify(nowMs);
    for (const udp of this.#udp.values()) {
      if (udp.base.reflexive.length > 0) {
        for (const place of this.#stunPlaces) this.#queueBinding(udp, place, true);
      }
    }
  }

  close(): void {
    for (const relay of this.#relays.splice(0)) relay.close();
    const ids = [...this.#udp.keys(), ...this.#listeners.keys(), ...this.#streams.keys(), ...this.#opening.keys()];
    for (const id of ids) this.#options.gate.request({ type: 'close', id });
    this.#udp.clear();
    this.#listeners.clear();
    this.#streams.clear();
    this.#opening.clear();
    this.#queue.length = 0;
    this.#retries.clear();
  }

  #udpUses(): readonly UdpUse[] {
    const { sharesUdp, relayOnly, servers } = this.#options;
    if (!sharesUdp) return ['both'];
    const hasRelays = servers.some(({ kind, protocol }) => kind === 'turn' && protocol === 'udp');
    return [...(relayOnly ? [] : (['peers'] as const)), ...(hasRelays ? (['relays'] as const) : [])];
  }

  #openUdpPort(use: UdpUse, address: string): void {
    const { events, gate } = this.#options;
    const id = events.nextId();
    this.#opening.set(id, { kind: use, address });
    gate.request({ type: 'bind-udp', id, address, ...(use === 'relays' ? { isPrivate: true } : {}) });
  }

  #openUdp(use: UdpUse, id: number, local: TransportAddress, nowMs: number): void {
    const { gate, events, relayOnly } = this.#options;
    const preference = this.#preferences.get(local.address) ?? 0;
    const candidate = this.#candidate({ type: 'host', ...local, preference });
    const transport = { id, protocol: 'udp' as const, local };
    const udp = { ...transport, base: new UdpBase(gate, transport, candidate), preference, use };
    this.#udp.set(id, udp);
    if (!relayOnly && use !== 'relays') {
      events.onBase(udp.base, nowMs);
      events.onCandidate(candidate, nowMs);
    }
    for (const place of this.#stunPlaces) this.#queueBinding(udp, place, false);
    for (const place of this.#turnPlaces) this.#queueAllocation(udp, place);
  }

  #openPort(kind: 'passive' | 'so', address: string): void {
    const { events, gate } = this.#options;
    const id = events.nextId();
    this.#opening.set(id, { kind, address });
    gate.request({ type: kind === 'so' ? 'reserve-tcp' : 'listen-tcp', id, address });
  }

  #openTcp(tcpType: 'passive' | 'so', id: number, local: TransportAddress, nowMs: number): void {
    if (tcpType === 'passive' && !this.#isListening) {
      this.#quiet.add(local.address);
      this.#options.gate.request({ type: 'close', id });
      return;
    }
    const preference = this.#preferences.get(local.address) ?? 0;
    const candidate = this.#candidate({ type: 'host', ...local, preference, tcpType });
    if (tcpType === 'passive') this.#listeners.set(id, candidate);
    else this.#options.events.onConnectingTcp(candidate, nowMs);
    this.#options.events.onCandidate(candidate, nowMs);
  }

  #addActiveTcp(address: string, nowMs: number): void {
    const preference = this.#preferences.get(address) ?? 0;
    const candidate = this.#candidate({ type: 'host', address, port: ACTIVE_TCP_PORT, preference, tcpType: 'active' });
    this.#options.events.onConnectingTcp(candidate, nowMs);
    this.#options.events.onCandidate(candidate, nowMs);
  }

  #startServers(nowMs: number): void {
    this.#serversStarted = true;
    const { servers, events, useProxy } = this.#options;
    for (const server of servers) {
      if (server.kind === 'stun' && server.protocol !== 'udp') continue;
      // The proxy looks names up itself.
      if (server.protocol !== 'udp' && useProxy) {
        this.#connect({ server, address: { address: server.host, port: server.port }, hops: 0 });
        continue;
      }
      if (canonicalAddress(server.host) !== undefined) {
        this.#addServer(server, server.host, nowMs);
        continue;
      }
      this.#outstanding += 1;
      const answer = (addresses: readonly string[], atMs: number) => {
        this.#outstanding -= 1;
        for (const family of [4, 6] as const) {
          const address = addresses.find((each) => familyOf(each) === family);
          if (address !== undefined) this.#addServer(server, address, atMs);
        }
      };
      events.resolve(server.host, answer, nowMs);
    }
  }

  #addServer(server: ServerAddress, host: string, nowMs: number): void {
    const address = canonicalAddress(host);
    if (address === undefined) return;
    const place = { server, address: { address, port: server.port }, hops: 0 };
    if (server.protocol !== 'udp') return this.#connect(place);
    (server.kind === 'stun' ? this.#stunPlaces : this.#turnPlaces).push(place);
    for (const udp of this.#udp.values()) {
      if (server.kind === 'stun') this.#queueBinding(udp, place, false);
      else this.#queueAllocation(udp, place);
    }
    if (this.#keepMappingsAtMs === Number.POSITIVE_INFINITY) this.#keepMappingsAtMs = nowMs + KEEP_MAPPING_MS;
  }

  #retryLater(place: TurnPlace, udpId: number | undefined, attempt: number, nowMs: number): void {
    if (attempt >= MAX_RETRIES) return;
    this.#retries.add({ place, udpId, attempt: attempt + 1, atMs: nowMs + FIRST_RETRY_MS * 2 ** attempt });
  }

  #retry(retry: Retry): void {
    this.#retries.delete(retry);
    const { place, udpId, attempt } = retry;
    if (udpId === undefined) return this.#connect(place, attempt);
    const udp = this.#udp.get(udpId);
    if (udp) this.#queueAllocation(udp, place, attempt);
  }

  #connect(place: TurnPlace, attempt = 0): void {
    const { gate, events, useProxy } = this.#options;
    const id = events.nextId();
    this.#streams.set(id, { ...place, id, attempt, relay: undefined });
    this.#outstanding += 1;
    const { server } = place;
    const isPermitted = gate.request({
      type: 'connect-tcp',
      id,
      remote: place.address,
      ...(server.protocol === 'tls' ? { tlsServerName: server.host } : {}),
      ...(useProxy ? { useProxy } : {}),
    });
    if (isPermitted) return;
    this.#streams.delete(id);
    this.#outstanding -= 1;
  }

  #queueBinding(udp: UdpTransport, place: TurnPlace, isRefresh: boolean): void {
    const { address } = place;
    if (familyOf(address.address) !== familyOf(udp.local.address) || this.#options.relayOnly) return;
    if (udp.use === 'relays') return;
    const { gate, random, transactions, rtoMs } = this.#options;
    if (!isRefresh) this.#outstanding += 1;
    const finish = () => {
      if (!isRefresh) this.#outstanding -= 1;
    };
    this.#queue.push((nowMs) => {
      const id = random.bytes(12);
      const bytes = encodeBindingRequest(id);
      transactions.start(
        {
          id,
          rtoMs,
          ...(isRefresh ? { maxTransmissions: 3 } : {}),
          transmit: () => gate.send('gather', udp, bytes, address),
          onResponse: (message, { via, from, nowMs: atMs }) => {
            if (via !== udp.id || !sameAddress(from, address)) return false;
            finish();
            const mapped = message.class === 'success' ? addressOf(message, ATTRIBUTE.xorMappedAddress) : undefined;
            if (mapped) this.#foundReflexive(udp, mapped, place.server.url, atMs);
            return true;
          },
          onTimeout: finish,
        },
        nowMs,
      );
    });
  }

  #foundReflexive(udp: UdpTransport, mapped: TransportAddress, url: string, nowMs: number): void {
    const { base } = udp;
    base.isProven = true;
    if (this.#options.relayOnly || udp.use === 'relays' || sameAddress(mapped, udp.local) || base.reflexive.length >= 8)
      return;
    if (base.reflexive.some((each) => each.type === 'srflx' && sameAddress(each, mapped))) return;
    const candidate = this.#candidate({ type: 'srflx', ...mapped, preference: udp.preference, base: udp.local, url });
    base.reflexive.push(candidate);
    this.#options.events.onCandidate(candidate, nowMs);
  }

  #queueAllocation(udp: UdpTransport, place: TurnPlace, attempt = 0): void {
    if (familyOf(place.address.address) !== familyOf(udp.local.address) || udp.use === 'peers') return;
    this.#outstanding += 1;
    this.#queue.push((nowMs) => {
      if (this.#hasEnoughRelays(place.server)) this.#outstanding -= 1;
      else this.#startAllocation(udp, place, udp.preference, attempt, nowMs);
    });
  }

  #allocate(stream: ServerStream, transport: EgressTransport, nowMs: number): void {
    // Behind a proxy the server has no address that we know; its URL's stands for it.
    this.#startAllocation(transport, stream, 0, stream.attempt, nowMs);
  }

  #startAllocation(
    transport: EgressTransport,
    place: TurnPlace,
    preference: number,
    attempt: number,
    nowMs: number,
  ): void {
    const { gate, random, transactions, rtoMs, events } = this.#options;
    const { server, address, hops } = place;
    let relay: Relay | undefined;
    let isPending = true;
    const finish = () => {
      if (isPending) this.#outstanding -= 1;
      isPending = false;
    };
    const allocation = new TurnAllocation({
      server,
      address,
      transport,
      isReliable: server.protocol !== 'udp',
      gate,
      random,
      transactions,
      rtoMs,
      events: {
        onAllocated: (relayed, mapped, atMs) => {
          finish();
          const udp = this.#udp.get(transport.id);
          if (this.#hasEnoughRelays(server)) return allocation.close();
          if (udp && mapped) this.#foundReflexive(udp, mapped, server.url, atMs);
          const related = mapped ?? transport.local;
          const { url, protocol } = server;
          const facts = { type: 'relay' as const, ...relayed, preference, base: relayed, related, url };
          relay = new Relay(events.nextId(), allocation, this.#candidate({ ...facts, relayProtocol: protocol }));
          this.#relays.push(relay);
          const stream = this.#streams.get(transport.id);
          if (stream) stream.relay = relay;
          events.onBase(relay, atMs);
          events.onCandidate(relay.candidate, atMs);
        },
        onFailed: (_error, atMs) => {
          finish();
          const udpId = this.#udp.has(transport.id) ? transport.id : undefined;
          if (relay) this.#loseRelay(relay, atMs);
          // A server that never gave one is not asked again, unless it gave one before.
          if ((relay || attempt > 0) && udpId !== undefined) this.#retryLater(place, udpId, relay ? 0 : attempt, atMs);
          if (relay && udpId === undefined && this.#streams.delete(transport.id)) {
            gate.request({ type: 'close', id: transport.id });
            this.#retryLater(place, undefined, 0, atMs);
          }
        },
        onAlternate: (alternate, atMs) => {
          const next = { server, address: alternate, hops: hops + 1 };
          const isNew = !sameAddress(alternate, address) && hops < MAX_ALTERNATES;
          if (isNew && server.protocol !== 'udp') this.#connect(next);
          if (isNew && server.protocol === 'udp' && familyOf(alternate.address) === familyOf(address.address)) {
            this.#outstanding += 1;
            this.#startAllocation(transport, next, preference, attempt, atMs);
          }
          finish();
        },
      },
    });
    allocation.start(nowMs);
  }

  #hasEnoughRelays(server: ServerAddress): boolean {
    return this.#relays.filter((relay) => relay.allocation.options.server === server).length >= MAX_RELAYS_PER_SERVER;
  }

  #loseRelay(relay: Relay, nowMs: number): void {
    const at = this.#relays.indexOf(relay);
    if (at < 0) return;
    this.#relays.splice(at, 1);
    relay.close();
    this.#options.events.onBaseLost(relay, nowMs);
  }

  #candidate(facts: {
    readonly type: CandidateType;
    readonly address: string;
    readonly port: number;
    readonly preference: number;
    readonly tcpType?: TcpType;
    readonly base?: TransportAddress;
    readonly related?: TransportAddress;
    readonly relayProtocol?: 'udp' | 'tcp' | 'tls';
    readonly url?: string;
  }): LocalCandidate {
    const { type, address, port, tcpType, relayProtocol, url } = facts;
    const protocol = tcpType ? 'tcp' : 'udp';
    const related = facts.related ?? facts.base;
    return {
      foundation: foundationOf(type, facts.base?.address ?? address, relayProtocol ?? protocol, url),
      component: 1,
      protocol,
      priority: candidatePriority({ type, protocol, tcpType, relayProtocol, localPreference: facts.preference }),
      address,
      port,
      type,
      ...(tcpType ? { tcpType } : {}),
      ...(related ? { related } : {}),
      usernameFragment: this.#options.usernameFragment(),
      ...(relayProtocol ? { relayProtocol } : {}),
      ...(url === undefined ? {} : { url }),
    };
  }
}
