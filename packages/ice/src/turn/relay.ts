/**
 * The way through a TURN server once there is an allocation: permissions (RFC 8656
 * §9), Send and Data indications (§11), channels (§12). It is a base like any
 * socket. A check leaves right behind the CreatePermission that lets it pass, so a
 * relayed pair costs no round trip more; a pair that is going to be used gets a
 * channel, whose four bytes go before the datagram without copying it.
 */

import { sameAddress, type TransportAddress } from '../address.ts';
import type { Base } from '../agent/base.ts';
import type { EgressKind } from '../agent/types.ts';
import type { LocalCandidate } from '../candidate/candidate.ts';
import { ATTRIBUTE, ERROR, METHOD } from '../stun/constants.ts';
import { StunWriter } from '../stun/encode.ts';
import { addressOf, type StunMessage } from '../stun/message.ts';
import type { TurnAllocation } from './allocation.ts';

interface Channel {
  readonly number: number;
  readonly peer: TransportAddress;
  isBound: boolean;
  refreshAtMs: number;
}

interface Permission {
  /** Infinity while a request is on its way. */
  refreshAtMs: number;
}

/** A permission lasts 300 s (RFC 8656 §9), a channel 600 s (§12). */
const PERMISSION_REFRESH_MS = 240_000;
const CHANNEL_REFRESH_MS = 500_000;
const FIRST_CHANNEL = 0x4000;
const MAX_CHANNELS = 256;
const MAX_PERMISSIONS = 256;
const PEERS_PER_REQUEST = 16;

export class Relay implements Base {
  readonly id: number;
  readonly candidate: LocalCandidate;
  /** Between server and peer it is UDP. */
  readonly isReliable = false;
  readonly onlyPeer = undefined;
  readonly reflexive: LocalCandidate[] = [];
  isOpen = true;
  isProven = true;
  readonly allocation: TurnAllocation;
  readonly #permissions = new Map<string, Permission>();
  readonly #wanted = new Set<string>();
  readonly #channels: Channel[] = [];

  constructor(id: number, allocation: TurnAllocation, candidate: LocalCandidate) {
    this.id = id;
    this.allocation = allocation;
    this.candidate = candidate;
  }

  get deadlineMs(): number {
    if (this.#wanted.size > 0) return Number.NEGATIVE_INFINITY;
    let deadlineMs = this.allocation.deadlineMs;
    for (const { refreshAtMs } of this.#permissions.values()) deadlineMs = Math.min(deadlineMs, refreshAtMs);
    for (const { refreshAtMs } of this.#channels) deadlineMs = Math.min(deadlineMs, refreshAtMs);
    return deadlineMs;
  }

  /** Lets packets of this address through, with the next flush. */
  permit(address: string): void {
    if (address.includes(':') !== this.candidate.address.includes(':')) return;
    if (!this.#permissions.has(address) && this.#permissions.size + this.#wanted.size < MAX_PERMISSIONS)
      this.#wanted.add(address);
  }

  /** Sends what is due. */
  handleTimeout(nowMs: number): void {
    if (!this.isOpen) return;
    this.allocation.handleTimeout(nowMs);
    for (const [address, { refreshAtMs }] of this.#permissions) if (refreshAtMs <= nowMs) this.#wanted.add(address);
    const wanted = [...this.#wanted];
    this.#wanted.clear();
    for (let at = 0; at < wanted.length; at += PEERS_PER_REQUEST) {
      this.#createPermission(wanted.slice(at, at + PEERS_PER_REQUEST), nowMs);
    }
    for (const channel of this.#channels) if (channel.refreshAtMs <= nowMs) this.#bind(channel, nowMs);
  }

  send(kind: EgressKind, bytes: Uint8Array, peer: TransportAddress): boolean {
    if (!this.isOpen) return false;
    const { gate, transport, address, isReliable, random } = this.allocation.options;
    const channel = this.#channels.find((each) => each.isBound && sameAddress(each.peer, peer));
    if (!channel) {
      const indication = new StunWriter('indication', METHOD.send, random.bytes(12))
        .address(ATTRIBUTE.xorPeerAddress, peer)
        .bytes(ATTRIBUTE.data, bytes)
        .finish();
      return gate.send(kind, transport, indication, address, peer);
    }
    const head = Buffer.allocUnsafe(4);
    head.writeUInt16BE(channel.number, 0);
    head.writeUInt16BE(bytes.length, 2);
    if (!isReliable) return gate.send(kind, transport, bytes, address, peer, head);
    // In a stream ChannelData is padded to four bytes (RFC 8656 §12.5).
    const framed = Buffer.alloc(4 + ((bytes.length + 3) & ~3));
    framed.set(head);
    framed.set(bytes, 4);
    return gate.send(kind, transport, framed, address, peer);
  }

  prepare(peer: TransportAddress, nowMs: number): void {
    if (this.#channels.length >= MAX_CHANNELS || this.#channels.some((each) => sameAddress(each.peer, peer))) return;
    const number = FIRST_CHANNEL + this.#channels.length;
    const channel = { number, peer, isBound: false, refreshAtMs: Number.POSITIVE_INFINITY };
    this.#channels.push(channel);
    this.#bind(channel, nowMs);
  }

  /** Who sent a Data indication, and what. */
  unwrapIndication(message: StunMessage): { peer: TransportAddress; bytes: Buffer } | undefined {
    const peer = addressOf(message, ATTRIBUTE.xorPeerAddress);
    const bytes = message.attributes.get(ATTRIBUTE.data)?.value;
    return message.method === METHOD.data && peer && bytes ? { peer, bytes } : undefined;
  }

  /** The same for ChannelData; the bytes are a view. */
  unwrapChannelData(packet: Uint8Array): { peer: TransportAddress; bytes: Uint8Array } | undefined {
    if (packet.length < 4) return undefined;
    const number = ((packet[0] ?? 0) << 8) | (packet[1] ?? 0);
    const length = ((packet[2] ?? 0) << 8) | (packet[3] ?? 0);
    const channel = this.#channels[number - FIRST_CHANNEL];
    if (!channel || 4 + length > packet.length) return undefined;
    return { peer: channel.peer, bytes: packet.subarray(4, 4 + length) };
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.allocation.close();
  }

  #createPermission(addresses: readonly string[], nowMs: number): void {
    for (const address of addresses) this.#permissions.set(address, { refreshAtMs: Number.POSITIVE_INFINITY });
    this.allocation.request(
      {
        method: METHOD.createPermission,
        write: (writer) => {
          for (const address of addresses) writer.address(ATTRIBUTE.xorPeerAddress, { address, port: 0 });
        },
        onSuccess: (_message, atMs) => {
          for (const address of addresses) {
            this.#permissions.set(address, { refreshAtMs: atMs + PERMISSION_REFRESH_MS });
          }
        },
        onError: ({ code }, atMs) => {
          // One forbidden address spoils the request; then each has to ask for itself.
          if (code === ERROR.forbidden && addresses.length > 1) {
            for (const address of addresses) this.#createPermission([address], atMs);
          }
        },
      },
      nowMs,
    );
  }

  #bind(channel: Channel, nowMs: number): void {
    channel.refreshAtMs = Number.POSITIVE_INFINITY;
    this.allocation.request(
      {
        method: METHOD.channelBind,
        write: (writer) =>
          writer
            .uint32(ATTRIBUTE.channelNumber, channel.number * 2 ** 16)
            .address(ATTRIBUTE.xorPeerAddress, channel.peer),
        onSuccess: (_message, atMs) => {
          channel.isBound = true;
          channel.refreshAtMs = atMs + CHANNEL_REFRESH_MS;
        },
        // Without a channel, indications go on.
        onError: () => {
          channel.isBound = false;
        },
      },
      nowMs,
    );
  }
}
