/**
 * Host candidates (RFC 8445 §5.1.1.1, RFC 6544 §5.1): UDP sockets and TCP ports on
 * each local address. The others ask their servers from the UDP sockets.
 */

import { canonicalAddress, type TransportAddress } from '../address.ts';
import { ACTIVE_TCP_PORT, type LocalCandidate, type TcpType } from '../candidate/candidate.ts';
import { UdpBase } from './base.ts';
import type { EgressGate, EgressTransport } from './egress-gate.ts';
import { makeLocalCandidate } from './local-candidate.ts';

/** Allocations go by the five-tuple, so that those from a socket that others use too have one of their own. */
export type UdpUse = 'peers' | 'relays' | 'both';

export interface UdpTransport extends EgressTransport {
  readonly base: UdpBase;
  readonly preference: number;
  readonly use: UdpUse;
}

export interface LocalAddress {
  readonly address: string;
}

export interface HostGathererOptions {
  readonly gate: EgressGate;
  readonly relayOnly: boolean;
  readonly tcpTypes: readonly TcpType[];
  readonly udpUses: readonly UdpUse[];
  readonly nextId: () => number;
  readonly events: HostGathererEvents;
}

export interface HostGathererEvents {
  onSocket(udp: UdpTransport, nowMs: number): void;
  onSocketLost(udp: UdpTransport, nowMs: number): void;
  onCandidate(candidate: LocalCandidate, nowMs: number): void;
  /** A TCP candidate that connects: active, or simultaneous open. */
  onConnectingTcp(candidate: LocalCandidate, nowMs: number): void;
}

const MAX_LOCAL_ADDRESSES = 64;

export class HostGatherer {
  readonly #options: HostGathererOptions;
  readonly #udp = new Map<number, UdpTransport>();
  readonly #opening = new Map<number, { readonly kind: UdpUse | 'passive' | 'so'; readonly address: string }>();
  readonly #listeners = new Map<number, LocalCandidate>();
  #isListening = true;
  /** Where nobody listens now that did. */
  readonly #quiet = new Set<string>();
  readonly #preferences = new Map<string, number>();

  constructor(options: HostGathererOptions) {
    this.#options = options;
  }

  get isOpening(): boolean {
    return this.#opening.size > 0;
  }

  sockets(): IterableIterator<UdpTransport> {
    return this.#udp.values();
  }

  socket(id: number): UdpTransport | undefined {
    return this.#udp.get(id);
  }

  /** The passive candidate that accepted connections belong to. */
  listener(id: number): LocalCandidate | undefined {
    return this.#listeners.get(id);
  }

  gather(addresses: readonly LocalAddress[], nowMs: number): void {
    const { tcpTypes, relayOnly, udpUses } = this.#options;
    for (const each of addresses) {
      const address = canonicalAddress(each.address);
      if (address === undefined || this.#preferences.has(address) || this.#preferences.size >= MAX_LOCAL_ADDRESSES)
        continue;
      this.#preferences.set(address, 8191 - this.#preferences.size);
      for (const use of udpUses) this.#openUdpPort(use, address);
      if (relayOnly) continue;
      if (tcpTypes.includes('active')) this.#addConnecting('active', { address, port: ACTIVE_TCP_PORT }, nowMs);
      for (const kind of ['passive', 'so'] as const) if (tcpTypes.includes(kind)) this.#openTcpPort(kind, address);
    }
  }

  /** True when the id was one of ours. */
  transportOpened(id: number, local: TransportAddress, nowMs: number): boolean {
    const opening = this.#opening.get(id);
    if (!opening) return false;
    this.#opening.delete(id);
    if (opening.kind === 'passive') this.#addListener(id, local, nowMs);
    else if (opening.kind === 'so') this.#addConnecting('so', local, nowMs);
    else this.#addSocket(opening.kind, id, local, nowMs);
    return true;
  }

  /** Failed to open, or broke. True when the id was one of ours. */
  transportFailed(id: number, nowMs: number): boolean {
    if (this.#opening.delete(id) || this.#listeners.delete(id)) return true;
    const udp = this.#udp.get(id);
    if (!udp) return false;
    this.#udp.delete(id);
    if (udp.use !== 'relays') this.#preferences.delete(udp.local.address);
    udp.base.isOpen = false;
    this.#options.events.onSocketLost(udp, nowMs);
    return true;
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
    for (const address of this.#quiet) this.#openTcpPort('passive', address);
    this.#quiet.clear();
  }

  close(): void {
    const ids = [...this.#udp.keys(), ...this.#listeners.keys(), ...this.#opening.keys()];
    for (const id of ids) this.#options.gate.request({ type: 'close', id });
    this.#udp.clear();
    this.#listeners.clear();
    this.#opening.clear();
  }

  #openUdpPort(use: UdpUse, address: string): void {
    const { nextId, gate } = this.#options;
    const id = nextId();
    this.#opening.set(id, { kind: use, address });
    gate.request({ type: 'bind-udp', id, address, ...(use === 'relays' ? { isPrivate: true } : {}) });
  }

  #addSocket(use: UdpUse, id: number, local: TransportAddress, nowMs: number): void {
    const { gate, events, relayOnly } = this.#options;
    const preference = this.#preferences.get(local.address) ?? 0;
    const candidate = makeLocalCandidate({ type: 'host', ...local, preference });
    const transport = { id, protocol: 'udp' as const, local };
    const udp = { ...transport, base: new UdpBase(gate, transport, candidate), preference, use };
    this.#udp.set(id, udp);
    events.onSocket(udp, nowMs);
    if (!relayOnly && use !== 'relays') events.onCandidate(candidate, nowMs);
  }

  #openTcpPort(kind: 'passive' | 'so', address: string): void {
    const { nextId, gate } = this.#options;
    const id = nextId();
    this.#opening.set(id, { kind, address });
    gate.request({ type: kind === 'so' ? 'reserve-tcp' : 'listen-tcp', id, address });
  }

  #addListener(id: number, local: TransportAddress, nowMs: number): void {
    if (!this.#isListening) {
      this.#quiet.add(local.address);
      this.#options.gate.request({ type: 'close', id });
      return;
    }
    const candidate = this.#tcpCandidate('passive', local);
    this.#listeners.set(id, candidate);
    this.#options.events.onCandidate(candidate, nowMs);
  }

  #addConnecting(tcpType: 'active' | 'so', local: TransportAddress, nowMs: number): void {
    const candidate = this.#tcpCandidate(tcpType, local);
    this.#options.events.onConnectingTcp(candidate, nowMs);
    this.#options.events.onCandidate(candidate, nowMs);
  }

  #tcpCandidate(tcpType: TcpType, local: TransportAddress): LocalCandidate {
    const preference = this.#preferences.get(local.address) ?? 0;
    return makeLocalCandidate({ type: 'host', ...local, preference, tcpType });
  }
}
