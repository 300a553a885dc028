/**
 * Host candidates (RFC 8445 §5.1.1.1, RFC 6544 §5.1): UDP sockets and TCP ports on
 * each local address. The others ask their servers from the UDP sockets.
 */

import { canonicalAddress, type TransportAddress } from '../address.ts';
import { ACTIVE_TCP_PORT, type LocalCandidate, type TcpType } from '../candidate/candidate.ts';
import { type Base, UdpBase } from './base.ts';
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
  /** The machine has the address no longer. Its sockets and ports are gone already. */
  onAddressLost(address: string, nowMs: number): void;
}

interface Opening {
  readonly kind: UdpUse | 'passive' | 'so';
  readonly address: string;
}

const MAX_LOCAL_ADDRESSES = 64;
const MAX_PREFERENCE = 8191;

export class HostGatherer {
  readonly #options: HostGathererOptions;
  readonly #udp = new Map<number, UdpTransport>();
  readonly #opening = new Map<number, Opening>();
  readonly #listeners = new Map<number, LocalCandidate>();
  #connecting: LocalCandidate[] = [];
  #isListening = true;
  /** Preferences by address. */
  readonly #addresses = new Map<string, number>();
  #addressesSeen = 0;

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

  bases(): Base[] {
    return this.#ofPeers.map(({ base }) => base);
  }

  /** TCP candidates that connect. */
  get connecting(): readonly LocalCandidate[] {
    return this.#connecting;
  }

  /** Host candidates, and what servers see of them. */
  candidates(): LocalCandidate[] {
    if (this.#options.relayOnly) return [];
    const overUdp = this.#ofPeers.flatMap(({ base }) => [
      base.candidate,
      ...base.reflexive.filter(({ type }) => type === 'srflx'),
    ]);
    return [...overUdp, ...this.#connecting, ...this.#listeners.values()];
  }

  /** On all addresses of the machine, the best first. Those that are not among them any more are dropped. */
  gather(addresses: readonly LocalAddress[], nowMs: number): void {
    const present = new Set(addresses.flatMap(({ address }) => canonicalAddress(address) ?? []));
    for (const address of [...this.#addresses.keys()]) if (!present.has(address)) this.#dropAddress(address, nowMs);
    for (const address of present) {
      if (!this.#addresses.has(address)) {
        if (this.#addresses.size >= MAX_LOCAL_ADDRESSES) continue;
        this.#addresses.set(address, Math.max(0, MAX_PREFERENCE - this.#addressesSeen));
        this.#addressesSeen += 1;
      }
      this.#openMissing(address, nowMs);
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
    this.#loseSocket(udp, nowMs);
    return true;
  }

  /** There is a direct path over UDP: no port needs to be open for connections. */
  closeListeners(): void {
    this.#isListening = false;
    for (const id of this.#listeners.keys()) this.#options.gate.request({ type: 'close', id });
    this.#listeners.clear();
  }

  /** The path has died: connections are welcome again. */
  listenAgain(nowMs: number): void {
    this.#isListening = true;
    for (const address of this.#addresses.keys()) this.#openMissing(address, nowMs);
  }

  close(): void {
    const ids = [...this.#udp.keys(), ...this.#listeners.keys(), ...this.#opening.keys()];
    for (const id of ids) this.#options.gate.request({ type: 'close', id });
    for (const { base } of this.#udp.values()) base.isOpen = false;
    this.#udp.clear();
    this.#listeners.clear();
    this.#opening.clear();
  }

  get #ofPeers(): UdpTransport[] {
    return [...this.#udp.values()].filter(({ use }) => use !== 'relays');
  }

  /** What should be open on an address and is not. */
  #openMissing(address: string, nowMs: number): void {
    const { tcpTypes, relayOnly, udpUses } = this.#options;
    const opening = [...this.#opening.values()].filter((each) => each.address === address).map(({ kind }) => kind);
    const sockets = [...this.#udp.values()].filter(({ local }) => local.address === address).map(({ use }) => use);
    const listeners = [...this.#listeners.values(), ...this.#connecting].filter((each) => each.address === address);
    const ports = listeners.map(({ tcpType }) => tcpType);
    for (const use of udpUses) if (![...opening, ...sockets].includes(use)) this.#open(use, address);
    if (relayOnly) return;
    const isWanted = (type: TcpType) => tcpTypes.includes(type) && !ports.includes(type);
    if (isWanted('active')) this.#addConnecting('active', { address, port: ACTIVE_TCP_PORT }, nowMs);
    if (isWanted('passive') && this.#isListening && !opening.includes('passive')) this.#open('passive', address);
    if (isWanted('so') && !opening.includes('so')) this.#open('so', address);
  }

  #open(kind: Opening['kind'], address: string): void {
    const { nextId, gate } = this.#options;
    const id = nextId();
    this.#opening.set(id, { kind, address });
    if (kind === 'passive') gate.request({ type: 'listen-tcp', id, address });
    else if (kind === 'so') gate.request({ type: 'reserve-tcp', id, address });
    else gate.request({ type: 'bind-udp', id, address, ...(kind === 'relays' ? { isPrivate: true } : {}) });
  }

  #addSocket(use: UdpUse, id: number, local: TransportAddress, nowMs: number): void {
    const { gate, events, relayOnly } = this.#options;
    const preference = this.#addresses.get(local.address) ?? 0;
    const candidate = makeLocalCandidate({ type: 'host', ...local, preference });
    const transport = { id, protocol: 'udp' as const, local };
    const udp = {
      ...transport,
      base: new UdpBase(gate, transport, candidate),
      preference,
      use,
      asking: new Set<string>(),
    };
    this.#udp.set(id, udp);
    events.onSocket(udp, nowMs);
    if (!relayOnly && use !== 'relays') events.onCandidate(candidate, nowMs);
  }

  #loseSocket(udp: UdpTransport, nowMs: number): void {
    this.#udp.delete(udp.id);
    udp.base.isOpen = false;
    this.#options.events.onSocketLost(udp, nowMs);
  }

  #addListener(id: number, local: TransportAddress, nowMs: number): void {
    if (!this.#isListening) {
      this.#options.gate.request({ type: 'close', id });
      return;
    }
    const candidate = this.#tcpCandidate('passive', local);
    this.#listeners.set(id, candidate);
    this.#options.events.onCandidate(candidate, nowMs);
  }

  #addConnecting(tcpType: 'active' | 'so', local: TransportAddress, nowMs: number): void {
    const candidate = this.#tcpCandidate(tcpType, local);
    this.#connecting.push(candidate);
    this.#options.events.onConnectingTcp(candidate, nowMs);
    this.#options.events.onCandidate(candidate, nowMs);
  }

  #tcpCandidate(tcpType: TcpType, local: TransportAddress): LocalCandidate {
    const preference = this.#addresses.get(local.address) ?? 0;
    return makeLocalCandidate({ type: 'host', ...local, preference, tcpType });
  }

  #dropAddress(address: string, nowMs: number): void {
    const { gate, events } = this.#options;
    this.#addresses.delete(address);
    this.#connecting = this.#connecting.filter((each) => each.address !== address);
    const sockets = [...this.#udp.values()].filter(({ local }) => local.address === address);
    const ports = [...this.#opening, ...this.#listeners].filter(([, each]) => each.address === address);
    for (const [id] of ports) {
      this.#opening.delete(id);
      this.#listeners.delete(id);
      gate.request({ type: 'close', id });
    }
    for (const udp of sockets) {
      gate.request({ type: 'close', id: udp.id });
      this.#loseSocket(udp, nowMs);
    }
    events.onAddressLost(address, nowMs);
  }
}
