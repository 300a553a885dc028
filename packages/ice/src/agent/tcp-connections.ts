/**
 * The connections of ICE-TCP (RFC 6544): those that our active and `so` candidates
 * open when the turn of their pair comes, and those that a passive one accepts.
 * Their number is bounded, and who was accepted must prove itself in time.
 */

import type { Random } from '@claw/base';
import { sameAddress, type TransportAddress } from '../address.ts';
import type { Candidate, LocalCandidate } from '../candidate/candidate.ts';
import { StreamDeframer } from '../stun/framing.ts';
import { StreamBase } from './base.ts';
import type { EgressGate } from './egress-gate.ts';

interface Connection {
  readonly base: StreamBase;
  readonly deframer: StreamDeframer;
  /** The driver was asked for it, so it has to be closed. */
  isRequested: boolean;
  /** Of accepted ones: until when it may be silent. */
  strangerUntilMs: number;
}

interface Reopening {
  readonly atMs: number;
  readonly local: LocalCandidate;
  readonly peer: TransportAddress;
}

export interface TcpConnectionsOptions {
  readonly gate: EgressGate;
  readonly random: Random;
  readonly maxConnections: number;
  readonly nextId: () => number;
  readonly events: TcpConnectionsEvents;
}

export interface TcpConnectionsEvents {
  /** It is gone: broken, closed, or never made. */
  onLost(base: StreamBase, nowMs: number): void;
  /** A simultaneous open that met nobody is to be tried again. */
  onReopen(local: LocalCandidate, peer: TransportAddress): void;
}

const STRANGER_MS = 10_000;
const MAX_REOPENINGS = 32;

export class TcpConnections {
  readonly #options: TcpConnectionsOptions;
  readonly #connections = new Map<number, Connection>();
  #reopenings: Reopening[] = [];
  #reopened = 0;

  constructor(options: TcpConnectionsOptions) {
    this.#options = options;
  }

  get deadlineMs(): number {
    let deadlineMs = Number.POSITIVE_INFINITY;
    for (const { strangerUntilMs } of this.#connections.values()) deadlineMs = Math.min(deadlineMs, strangerUntilMs);
    for (const { atMs } of this.#reopenings) deadlineMs = Math.min(deadlineMs, atMs);
    return deadlineMs;
  }

  get isReopening(): boolean {
    return this.#reopenings.length > 0;
  }

  get(id: number): StreamBase | undefined {
    return this.#connections.get(id)?.base;
  }

  /** A base for a pair of these, to be opened later; none when they do not fit or there are too many. */
  prepare(local: LocalCandidate, remote: Candidate): StreamBase | undefined {
    if (remote.tcpType !== (local.tcpType === 'so' ? 'so' : 'passive')) return undefined;
    if (local.address.includes(':') !== remote.address.includes(':')) return undefined;
    for (const { base } of this.#connections.values()) {
      if (base.candidate === local && sameAddress(base.onlyPeer, remote)) return undefined;
    }
    return this.#add(local, { address: remote.address, port: remote.port }, false)?.base;
  }

  /** False when the policy does not permit it. */
  open(base: StreamBase): boolean {
    const { id, candidate, onlyPeer } = base;
    const connection = this.#connections.get(id);
    if (!connection || connection.isRequested) return connection !== undefined;
    const localPort = candidate.tcpType === 'so' ? { localPort: candidate.port } : {};
    const local = { localAddress: candidate.address, ...localPort };
    connection.isRequested = this.#options.gate.request({ type: 'connect-tcp', id, remote: onlyPeer, ...local });
    return connection.isRequested;
  }

  /** Undefined when there are too many. */
  accept(local: LocalCandidate, remote: TransportAddress, nowMs: number): StreamBase | undefined {
    const connection = this.#add(local, remote, true);
    if (connection) connection.strangerUntilMs = nowMs + STRANGER_MS;
    return connection?.base;
  }

  /** A check with the right password came in by it. */
  proven(id: number): void {
    const connection = this.#connections.get(id);
    if (connection) connection.strangerUntilMs = Number.POSITIVE_INFINITY;
  }

  /** Packets completed by these bytes; undefined when the stream cannot be read on. */
  receive(id: number, bytes: Uint8Array): Buffer[] | undefined {
    try {
      return this.#connections.get(id)?.deframer.push(bytes);
    } catch {
      return undefined;
    }
  }

  /** It broke or did not open. False when it was none of ours. */
  failed(id: number, nowMs: number): boolean {
    const connection = this.#connections.get(id);
    if (!connection) return false;
    this.#connections.delete(id);
    const { base } = connection;
    // The first SYN of a simultaneous open may meet nobody: it is sent again a few times, not in step with the peer.
    if (!base.isOpen && base.candidate.tcpType === 'so' && this.#reopened < MAX_REOPENINGS) {
      this.#reopened += 1;
      const atMs = nowMs + 20 + 100 * this.#options.random.fraction();
      this.#reopenings.push({ atMs, local: base.candidate, peer: base.onlyPeer });
    }
    this.#options.events.onLost(base, nowMs);
    return true;
  }

  close(id: number, nowMs: number): void {
    const base = this.#drop(id);
    if (base) this.#options.events.onLost(base, nowMs);
  }

  /** Those from and at an address that is gone. */
  closeAt(address: string, nowMs: number): void {
    this.#reopenings = this.#reopenings.filter(({ local }) => local.address !== address);
    for (const [id, { base }] of [...this.#connections]) if (base.candidate.address === address) this.close(id, nowMs);
  }

  closeAll(): void {
    for (const id of [...this.#connections.keys()]) this.#drop(id);
    this.#reopenings = [];
  }

  handleTimeout(nowMs: number): void {
    for (const [id, { strangerUntilMs }] of [...this.#connections]) if (nowMs >= strangerUntilMs) this.close(id, nowMs);
    const due = this.#reopenings.filter(({ atMs }) => nowMs >= atMs);
    if (due.length > 0) this.#reopenings = this.#reopenings.filter(({ atMs }) => nowMs < atMs);
    for (const { local, peer } of due) this.#options.events.onReopen(local, peer);
  }

  #drop(id: number): StreamBase | undefined {
    const connection = this.#connections.get(id);
    this.#connections.delete(id);
    if (connection?.isRequested) this.#options.gate.request({ type: 'close', id });
    return connection?.base;
  }

  #add(candidate: LocalCandidate, remote: TransportAddress, isOpen: boolean): Connection | undefined {
    const { gate, maxConnections, nextId } = this.#options;
    if (this.#connections.size >= maxConnections) return undefined;
    const id = nextId();
    const transport = { id, protocol: 'tcp' as const, local: { address: candidate.address, port: candidate.port } };
    const base = new StreamBase(gate, transport, candidate, remote, isOpen);
    const deframer = new StreamDeframer('rfc4571');
    const connection = { base, deframer, isRequested: isOpen, strangerUntilMs: Number.POSITIVE_INFINITY };
    this.#connections.set(id, connection);
    return connection;
  }
}
