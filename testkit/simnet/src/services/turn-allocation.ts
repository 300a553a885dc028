/** One relayed address: what the client permits passes, as indications or on channels (RFC 8656, sections 9 to 12). */

import { isClawError, type Timer } from '@claw/base';
import type { Host } from '../host/host.ts';
import type { UdpSocket } from '../host/udp.ts';
import { type Endpoint, isSameEndpoint } from '../nat/flow.ts';
import { familyOf } from '../net/address.ts';
import { encodeStun, encodeStunAddress, STUN_ATTRIBUTE, STUN_METHOD } from '../stun/message.ts';

const PERMISSION_MS = 300_000;
const CHANNEL_MS = 600_000;
const TRANSACTION_BYTES = 12;

interface Channel {
  readonly peer: Endpoint;
  expiresAtMs: number;
}

export interface TurnAllocationOptions {
  /** Of the host, to relay from. */
  readonly address: string;
  readonly client: { send(bytes: Buffer): void };
  /** Of the request that made it. */
  readonly transaction: Buffer;
  readonly onEnd: () => void;
}

export class TurnAllocation {
  readonly relayed: Endpoint;
  readonly transaction: Buffer;
  readonly #host: Host;
  readonly #client: { send(bytes: Buffer): void };
  readonly #socket: UdpSocket;
  readonly #onEnd: () => void;
  /** By address, until when. */
  readonly #permissions = new Map<string, number>();
  readonly #channels = new Map<number, Channel>();
  #expiry: Timer | undefined;
  #indications = 0;

  constructor(host: Host, options: TurnAllocationOptions) {
    const { address } = options;
    this.#host = host;
    this.#client = options.client;
    this.#onEnd = options.onEnd;
    this.transaction = options.transaction;
    this.#socket = host.bindUdp({ address });
    this.#socket.onMessage((bytes, from) => this.#receive(bytes, from));
    this.relayed = { address, port: this.#socket.port };
  }

  refresh(lifetimeS: number): void {
    this.#expiry?.cancel();
    this.#expiry = this.#host.clock.setTimer(lifetimeS * 1000, () => this.close());
  }

  permit(address: string): void {
    this.#permissions.set(address, this.#nowMs + PERMISSION_MS);
  }

  /** False when the channel belongs to another peer, or the peer to another channel. */
  bindChannel(number: number, peer: Endpoint): boolean {
    const bound = this.#channelTo(peer);
    const known = this.#live(number);
    if ((bound !== undefined && bound !== number) || (known && !isSameEndpoint(known.peer, peer))) return false;
    this.#channels.set(number, { peer, expiresAtMs: this.#nowMs + CHANNEL_MS });
    this.permit(peer.address);
    return true;
  }

  sendTo(peer: Endpoint, data: Buffer): void {
    const isReachable = familyOf(peer.address) === familyOf(this.relayed.address);
    if (isReachable && this.#isPermitted(peer.address)) this.#socket.send(data, peer);
  }

  sendToChannel(number: number, data: Buffer): void {
    const channel = this.#live(number);
    if (channel) this.sendTo(channel.peer, data);
  }

  close(): void {
    this.#expiry?.cancel();
    this.#socket.close();
    this.#onEnd();
  }

  get #nowMs(): number {
    return this.#host.clock.monotonicMs();
  }

  #receive(bytes: Buffer, from: Endpoint): void {
    if (!this.#isPermitted(from.address)) return;
    const number = this.#channelTo(from);
    try {
      this.#client.send(number === undefined ? this.#indication(bytes, from) : channelData(number, bytes));
    } catch (error) {
      // Too large with its header, or no way back to the client: lost, as UDP may be.
      if (!isClawError(error)) throw error;
    }
  }

  #indication(data: Buffer, from: Endpoint): Buffer {
    const transaction = Buffer.alloc(TRANSACTION_BYTES);
    this.#indications += 1;
    transaction.writeUInt32BE(this.#indications, TRANSACTION_BYTES - 4);
    const attributes = [
      { type: STUN_ATTRIBUTE.xorPeerAddress, value: encodeStunAddress(from, transaction) },
      { type: STUN_ATTRIBUTE.data, value: data },
    ];
    return encodeStun({ method: STUN_METHOD.data, class: 'indication', transaction, attributes });
  }

  #isPermitted(address: string): boolean {
    return (this.#permissions.get(address) ?? 0) > this.#nowMs;
  }

  #live(number: number): Channel | undefined {
    const channel = this.#channels.get(number);
    return channel && channel.expiresAtMs > this.#nowMs ? channel : undefined;
  }

  #channelTo(peer: Endpoint): number | undefined {
    for (const number of this.#channels.keys()) {
      const channel = this.#live(number);
      if (channel && isSameEndpoint(channel.peer, peer)) return number;
    }
    return undefined;
  }
}

/** Padded to four bytes, which a stream needs and a datagram allows. */
function channelData(number: number, data: Buffer): Buffer {
  const bytes = Buffer.alloc(4 + Math.ceil(data.length / 4) * 4);
  bytes.writeUInt16BE(number, 0);
  bytes.writeUInt16BE(data.length, 2);
  data.copy(bytes, 4);
  return bytes;
}
