/**
 * Relayed candidates (RFC 8445 §5.1.1.2, RFC 8656): allocations on TURN servers, from
 * our UDP sockets or over a connection for each. One that was lost is asked for again.
 */

import type { Random } from '@claw/base';
import { familyOf, sameAddress, type TransportAddress } from '../address.ts';
import type { LocalCandidate } from '../candidate/candidate.ts';
import type { ServerAddress } from '../candidate/server-url.ts';
import type { StunError } from '../stun/message.ts';
import type { Transactions } from '../stun/transactions.ts';
import { NO_ANSWER, TurnAllocation } from '../turn/allocation.ts';
import { Relay } from '../turn/relay.ts';
import type { EgressGate, EgressTransport } from './egress-gate.ts';
import type { Finish, GatheringQueue } from './gathering-queue.ts';
import type { UdpTransport } from './host-gatherer.ts';
import { makeLocalCandidate } from './local-candidate.ts';
import type { ServerPlace } from './server-place.ts';

export interface RelayGathererOptions {
  readonly gate: EgressGate;
  readonly random: Random;
  readonly transactions: Transactions;
  readonly queue: GatheringQueue;
  readonly useProxy: boolean;
  readonly rtoMs: number;
  readonly nextId: () => number;
  readonly socket: (id: number) => UdpTransport | undefined;
  readonly events: RelayGathererEvents;
}

export interface RelayGathererEvents {
  onRelay(relay: Relay, nowMs: number): void;
  onRelayLost(relay: Relay, nowMs: number): void;
  onCandidate(candidate: LocalCandidate, nowMs: number): void;
  /** The server says where it has seen our socket. */
  onMapped(udp: UdpTransport, mapped: TransportAddress, url: string, nowMs: number): void;
  onRefused(server: ServerAddress, error: StunError, local: TransportAddress): void;
}

/** A connection to a TURN server, opened or on its way. */
interface ServerStream extends ServerPlace {
  readonly id: number;
  /** How often the relay was lost before. */
  readonly attempt: number;
  /** Gathering need not wait for it any longer. */
  readonly finish: Finish;
  /** Once it is open. */
  localAddress: string | undefined;
  relay: Relay | undefined;
}

/** A relay that was lost, to be asked for again. */
interface Retry {
  readonly atMs: number;
  readonly attempt: number;
  readonly place: ServerPlace;
  /** The socket it was asked for from; none over TCP and TLS. */
  readonly udpId: number | undefined;
}

interface AllocationPlan {
  readonly transport: EgressTransport;
  readonly place: ServerPlace;
  readonly preference: number;
  readonly attempt: number;
  readonly finish: Finish;
}

const MAX_ALTERNATES = 3;
/** Of one server: two are enough to survive the loss of an interface. */
const MAX_RELAYS_PER_SERVER = 2;
const FIRST_RETRY_MS = 500;
const MAX_RETRIES = 8;

export class RelayGatherer {
  readonly #options: RelayGathererOptions;
  readonly #relays: Relay[] = [];
  readonly #streams = new Map<number, ServerStream>();
  /** Resolved servers, to be asked from each socket that comes later too. */
  readonly #places: ServerPlace[] = [];
  readonly #retries = new Set<Retry>();

  constructor(options: RelayGathererOptions) {
    this.#options = options;
  }

  /** Those that stand. */
  all(): readonly Relay[] {
    return this.#relays;
  }

  get deadlineMs(): number {
    let deadlineMs = Number.POSITIVE_INFINITY;
    for (const relay of this.#relays) deadlineMs = Math.min(deadlineMs, relay.deadlineMs);
    for (const { atMs } of this.#retries) deadlineMs = Math.min(deadlineMs, atMs);
    return deadlineMs;
  }

  /** All servers are to be found and asked anew; relays that stand are kept. */
  forgetServers(): void {
    this.#places.length = 0;
    this.#retries.clear();
  }

  addServer(place: ServerPlace, sockets: Iterable<UdpTransport>): void {
    if (place.server.protocol !== 'udp') {
      const streams = [...this.#streams.values()];
      const isThere = streams.some(
        ({ server, address }) => server === place.server && sameAddress(address, place.address),
      );
      if (!isThere) this.#connect(place);
      return;
    }
    this.#places.push(place);
    for (const udp of sockets) this.#queueAllocation(udp, place);
  }

  addSocket(udp: UdpTransport): void {
    for (const place of this.#places) this.#queueAllocation(udp, place);
  }

  socketLost(id: number, nowMs: number): void {
    for (const relay of [...this.#relays]) {
      if (relay.allocation.options.transport.id === id) this.#lose(relay, nowMs);
    }
  }

  /** Connections from there are dead, whatever TCP says: made again from elsewhere. */
  addressLost(address: string, nowMs: number): void {
    for (const [id, stream] of this.#streams) {
      if (stream.localAddress !== address) continue;
      this.#options.gate.request({ type: 'close', id });
      this.#dropStream(id, stream, nowMs);
      this.#retryLater(stream, undefined, 0, nowMs);
    }
  }

  isStream(id: number): boolean {
    return this.#streams.has(id);
  }

  /** Where the server of a stream is, or what stands for it. */
  streamServer(id: number): TransportAddress | undefined {
    return this.#streams.get(id)?.address;
  }

  /** True when the id was one of ours. */
  streamOpened(id: number, local: TransportAddress, nowMs: number): boolean {
    const stream = this.#streams.get(id);
    if (!stream) return false;
    stream.localAddress = local.address;
    const { server, attempt, finish } = stream;
    const transport = { id, protocol: server.protocol, local };
    this.#startAllocation({ transport, place: stream, preference: 0, attempt, finish }, nowMs);
    return true;
  }

  /** True when the id was one of ours. */
  streamFailed(id: number, nowMs: number): boolean {
    const stream = this.#streams.get(id);
    if (!stream) return false;
    this.#dropStream(id, stream, nowMs);
    if (stream.relay || stream.attempt > 0) this.#retryLater(stream, undefined, stream.attempt, nowMs);
    return true;
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

  /** Asks whether the servers still know us: they know an allocation by our address of then. */
  verify(nowMs: number): void {
    for (const relay of this.#relays) relay.allocation.verify(nowMs);
  }

  handleTimeout(nowMs: number): void {
    for (const relay of [...this.#relays]) relay.handleTimeout(nowMs);
    for (const retry of this.#retries) if (nowMs >= retry.atMs) this.#retry(retry);
  }

  close(): void {
    for (const relay of this.#relays.splice(0)) relay.close();
    for (const id of this.#streams.keys()) this.#options.gate.request({ type: 'close', id });
    this.#streams.clear();
    this.#retries.clear();
  }

  #dropStream(id: number, stream: ServerStream, nowMs: number): void {
    this.#streams.delete(id);
    stream.finish();
    if (stream.relay) this.#lose(stream.relay, nowMs);
  }

  #retryLater({ server, address, hops }: ServerPlace, udpId: number | undefined, attempt: number, nowMs: number): void {
    if (attempt >= MAX_RETRIES) return;
    const atMs = nowMs + FIRST_RETRY_MS * 2 ** attempt;
    this.#retries.add({ place: { server, address, hops }, udpId, attempt: attempt + 1, atMs });
  }

  #retry(retry: Retry): void {
    this.#retries.delete(retry);
    const { place, udpId, attempt } = retry;
    if (udpId === undefined) return this.#connect(place, attempt);
    const udp = this.#options.socket(udpId);
    if (udp) this.#queueAllocation(udp, place, attempt);
  }

  #connect(place: ServerPlace, attempt = 0): void {
    const { gate, nextId, queue, useProxy } = this.#options;
    const id = nextId();
    const finish = queue.begin({ server: place.server, isRetry: attempt > 0 });
    this.#streams.set(id, { ...place, id, attempt, finish, localAddress: undefined, relay: undefined });
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
    finish();
  }

  #queueAllocation(udp: UdpTransport, place: ServerPlace, attempt = 0): void {
    if (familyOf(place.address.address) !== familyOf(udp.local.address) || udp.use === 'peers') return;
    const { queue } = this.#options;
    const { server } = place;
    // A second allocation from one socket would be refused (437).
    if (queue.isTrying(udp.id, server) || this.#hasOneFrom(udp, server)) return;
    const finish = queue.begin({ transportId: udp.id, server, isRetry: attempt > 0 });
    queue.push(udp.id, (nowMs) => {
      if (this.#hasEnough(server)) finish(true);
      else this.#startAllocation({ transport: udp, place, preference: udp.preference, attempt, finish }, nowMs);
    });
  }

  #startAllocation(plan: AllocationPlan, nowMs: number): void {
    const { gate, random, transactions, rtoMs, events, nextId, socket } = this.#options;
    const { transport, place, preference, finish } = plan;
    const { server, address } = place;
    let relay: Relay | undefined;
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
          finish(true);
          if (this.#hasEnough(server)) return allocation.close();
          const { url, protocol } = server;
          const udp = socket(transport.id);
          if (udp && mapped) events.onMapped(udp, mapped, url, atMs);
          const related = mapped ?? transport.local;
          const facts = { type: 'relay' as const, ...relayed, preference, base: relayed, related, url };
          relay = new Relay(nextId(), allocation, makeLocalCandidate({ ...facts, relayProtocol: protocol }));
          this.#relays.push(relay);
          const stream = this.#streams.get(transport.id);
          if (stream) stream.relay = relay;
          events.onRelay(relay, atMs);
          events.onCandidate(relay.candidate, atMs);
        },
        onFailed: (error, atMs) => {
          const wasAnswered = error.code !== NO_ANSWER.code;
          if (!relay && plan.attempt === 0 && wasAnswered) events.onRefused(server, error, transport.local);
          finish(wasAnswered);
          this.#allocationFailed(plan, relay, atMs);
        },
        onAlternate: (alternate, atMs) => {
          this.#followAlternate(plan, alternate, atMs);
          finish(true);
        },
      },
    });
    allocation.start(nowMs);
  }

  /** `relay`: what it had given. A server that never gave one is not asked again, unless it gave one before. */
  #allocationFailed({ transport, place, attempt }: AllocationPlan, relay: Relay | undefined, nowMs: number): void {
    const isOverUdp = this.#options.socket(transport.id) !== undefined;
    if (relay) this.#lose(relay, nowMs);
    if (isOverUdp && (relay || attempt > 0)) this.#retryLater(place, transport.id, relay ? 0 : attempt, nowMs);
    if (!isOverUdp && relay && this.#streams.delete(transport.id)) {
      this.#options.gate.request({ type: 'close', id: transport.id });
      this.#retryLater(place, undefined, 0, nowMs);
    }
  }

  #followAlternate(plan: AllocationPlan, alternate: TransportAddress, nowMs: number): void {
    const { server, address, hops } = plan.place;
    if (sameAddress(alternate, address) || hops >= MAX_ALTERNATES) return;
    const place = { server, address: alternate, hops: hops + 1 };
    if (server.protocol !== 'udp') this.#connect(place);
    else if (familyOf(alternate.address) === familyOf(address.address)) {
      const begun = { transportId: plan.transport.id, server, isRetry: true };
      this.#startAllocation({ ...plan, place, finish: this.#options.queue.begin(begun) }, nowMs);
    }
  }

  /** Wherever the server has sent us on. */
  #hasOneFrom({ id }: UdpTransport, server: ServerAddress): boolean {
    return this.#relays.some(({ allocation: { options } }) => options.transport.id === id && options.server === server);
  }

  #hasEnough(server: ServerAddress): boolean {
    return this.#relays.filter((relay) => relay.allocation.options.server === server).length >= MAX_RELAYS_PER_SERVER;
  }

  #lose(relay: Relay, nowMs: number): void {
    const at = this.#relays.indexOf(relay);
    if (at < 0) return;
    this.#relays.splice(at, 1);
    relay.close();
    this.#options.events.onRelayLost(relay, nowMs);
  }
}
