/**
 * A base is what packets leave from and arrive at: a UDP socket, an ICE-TCP
 * connection, or an allocation on a TURN server (RFC 8445 §5: "base"). Pairs send
 * through it without knowing which it is.
 */

import type { TransportAddress } from '../address.ts';
import type { LocalCandidate } from '../candidate/candidate.ts';
import { frameRfc4571 } from '../stun/framing.ts';
import type { EgressGate, EgressTransport } from './egress-gate.ts';
import type { EgressKind } from './types.ts';

export interface Base {
  readonly id: number;
  /** The local candidate whose base this is. */
  readonly candidate: LocalCandidate;
  /** Requests are not repeated over it. */
  readonly isReliable: boolean;
  /** Address and port of the peer where there is only one. */
  readonly onlyPeer: TransportAddress | undefined;
  isOpen: boolean;
  /** Something came in through it from beyond the machine: checks from here go first. */
  isProven: boolean;
  /** Where NATs and servers have seen it: candidates with this base. */
  readonly reflexive: LocalCandidate[];
  /** False when the policy keeps the packet. */
  send(kind: EgressKind, bytes: Uint8Array, peer: TransportAddress, nowMs: number): boolean;
  /** The pair on it is going to carry data: a relay binds a channel. */
  prepare(peer: TransportAddress, nowMs: number): void;
}

export class UdpBase implements Base {
  readonly id: number;
  readonly candidate: LocalCandidate;
  readonly isReliable = false;
  readonly onlyPeer = undefined;
  readonly reflexive: LocalCandidate[] = [];
  isOpen = true;
  isProven = false;
  readonly #gate: EgressGate;
  readonly #transport: EgressTransport;

  constructor(gate: EgressGate, transport: EgressTransport, candidate: LocalCandidate) {
    this.id = transport.id;
    this.candidate = candidate;
    this.#gate = gate;
    this.#transport = transport;
  }

  send(kind: EgressKind, bytes: Uint8Array, peer: TransportAddress): boolean {
    return this.#gate.send(kind, this.#transport, bytes, peer);
  }

  prepare(): void {}
}

/** One ICE-TCP connection (RFC 6544). Opening is the owner's; until then a few packets wait. */
export class StreamBase implements Base {
  readonly id: number;
  readonly candidate: LocalCandidate;
  readonly isReliable = true;
  readonly onlyPeer: TransportAddress;
  readonly reflexive: LocalCandidate[] = [];
  isOpen: boolean;
  isProven = false;
  readonly #gate: EgressGate;
  readonly #transport: EgressTransport;
  readonly #waiting: { readonly kind: EgressKind; readonly bytes: Uint8Array }[] = [];

  constructor(
    gate: EgressGate,
    transport: EgressTransport,
    candidate: LocalCandidate,
    peer: TransportAddress,
    isOpen: boolean,
  ) {
    this.id = transport.id;
    this.candidate = candidate;
    this.onlyPeer = peer;
    this.isOpen = isOpen;
    this.#gate = gate;
    this.#transport = transport;
  }

  send(kind: EgressKind, bytes: Uint8Array, peer: TransportAddress): boolean {
    if (this.isOpen) return this.#gate.send(kind, this.#transport, frameRfc4571(bytes), peer);
    if (this.#waiting.length < 4) this.#waiting.push({ kind, bytes: Buffer.from(bytes) });
    return true;
  }

  prepare(): void {}

  opened(): void {
    this.isOpen = true;
    for (const { kind, bytes } of this.#waiting.splice(0)) {
      this.#gate.send(kind, this.#transport, frameRfc4571(bytes), this.onlyPeer);
    }
  }
}
