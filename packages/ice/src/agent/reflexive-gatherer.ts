/**
 * Server-reflexive candidates (RFC 8445 §5.1.1.2): what STUN servers see of our UDP
 * sockets. Asked again while nobody has answered us yet, which keeps the mappings of
 * NATs that our candidates stand for (§11).
 */

import type { Random } from '@claw/base';
import { familyOf, sameAddress, type TransportAddress } from '../address.ts';
import type { LocalCandidate } from '../candidate/candidate.ts';
import type { ServerAddress } from '../candidate/server-url.ts';
import { ATTRIBUTE } from '../stun/constants.ts';
import { addressOf, errorOf, type StunError } from '../stun/message.ts';
import type { Transactions } from '../stun/transactions.ts';
import { encodeBindingRequest } from './check-messages.ts';
import type { EgressGate } from './egress-gate.ts';
import type { Finish, GatheringQueue } from './gathering-queue.ts';
import type { UdpTransport } from './host-gatherer.ts';
import { makeLocalCandidate } from './local-candidate.ts';
import type { ServerPlace } from './server-place.ts';

export interface ReflexiveGathererOptions {
  readonly gate: EgressGate;
  readonly random: Random;
  readonly transactions: Transactions;
  readonly queue: GatheringQueue;
  readonly rtoMs: number;
  readonly events: ReflexiveGathererEvents;
}

export interface ReflexiveGathererEvents {
  onCandidate(candidate: LocalCandidate, nowMs: number): void;
  onRefused(server: ServerAddress, error: StunError, local: TransportAddress): void;
}

const REFRESH_TRANSMISSIONS = 3;

export class ReflexiveGatherer {
  readonly #options: ReflexiveGathererOptions;
  /** Resolved servers, to be asked from each socket that comes later too. */
  readonly #places: ServerPlace[] = [];

  constructor(options: ReflexiveGathererOptions) {
    this.#options = options;
  }

  get hasServers(): boolean {
    return this.#places.length > 0;
  }

  /** All servers are to be found and asked anew. */
  forgetServers(): void {
    this.#places.length = 0;
  }

  addServer(place: ServerPlace, sockets: Iterable<UdpTransport>): void {
    this.#places.push(place);
    for (const udp of sockets) this.#ask(udp, place, this.#begin(udp, place));
  }

  addSocket(udp: UdpTransport): void {
    for (const place of this.#places) this.#ask(udp, place, this.#begin(udp, place));
  }

  /** Asks again from where an answer came before. Gathering does not wait for it. */
  refresh(sockets: Iterable<UdpTransport>): void {
    for (const udp of sockets) {
      if (udp.base.reflexive.length > 0) for (const place of this.#places) this.#ask(udp, place);
    }
  }

  /** A server, be it one of TURN, sees the socket there now. */
  found(udp: UdpTransport, mapped: TransportAddress, url: string, nowMs: number): void {
    const { base, preference, use, local } = udp;
    base.isProven = true;
    if (use === 'relays' || sameAddress(mapped, local)) return;
    if (base.reflexive.some((each) => each.type === 'srflx' && sameAddress(each, mapped))) return;
    const candidate = makeLocalCandidate({ type: 'srflx', ...mapped, preference, base: local, url });
    // Where it saw it before nobody is reached any more.
    const former = base.reflexive.findIndex((each) => each.url === url);
    if (former < 0) base.reflexive.push(candidate);
    else base.reflexive[former] = candidate;
    this.#options.events.onCandidate(candidate, nowMs);
  }

  #begin({ id }: UdpTransport, { server }: ServerPlace): Finish {
    return this.#options.queue.begin({ transportId: id, server });
  }

  /** Without `finish` it is a refresh, which gathering does not wait for. */
  #ask(udp: UdpTransport, { address, server }: ServerPlace, finish?: Finish): void {
    const { gate, queue, random, rtoMs, transactions, events } = this.#options;
    if (familyOf(address.address) !== familyOf(udp.local.address) || udp.use === 'relays') return finish?.();
    queue.push(udp.id, (nowMs) => {
      const id = random.bytes(12);
      const bytes = encodeBindingRequest(id);
      transactions.start(
        {
          id,
          rtoMs,
          ...(finish ? {} : { maxTransmissions: REFRESH_TRANSMISSIONS }),
          transmit: () => udp.base.isOpen && gate.send('gather', udp, bytes, address),
          onResponse: (message, { via, from, nowMs: atMs }) => {
            if (via !== udp.id || !sameAddress(from, address)) return false;
            const error = message.class === 'error' ? errorOf(message) : undefined;
            if (finish && error) events.onRefused(server, error, udp.local);
            const mapped = message.class === 'success' ? addressOf(message, ATTRIBUTE.xorMappedAddress) : undefined;
            if (mapped) this.found(udp, mapped, server.url, atMs);
            finish?.(true);
            return true;
          },
          onTimeout: () => finish?.(),
        },
        nowMs,
      );
    });
  }
}
