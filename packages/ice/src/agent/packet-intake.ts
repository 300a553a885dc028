/**
 * What comes in, taken apart: streams into packets, what a TURN server passes on into what a
 * peer sent, and that into checks, answers and application data (RFC 7983).
 */

import type { TransportAddress } from '../address.ts';
import { classifyDatagram } from '../stun/demultiplex.ts';
import { StreamDeframer } from '../stun/framing.ts';
import { decodeStun } from '../stun/message.ts';
import type { Transactions } from '../stun/transactions.ts';
import type { Relay } from '../turn/relay.ts';
import type { Base } from './base.ts';
import type { CheckResponder } from './check-responder.ts';
import type { Gathering } from './gathering.ts';
import type { PathKeeper } from './path-keeper.ts';
import type { TcpConnections } from './tcp-connections.ts';

export interface PacketIntakeOptions {
  readonly tcp: TcpConnections;
  readonly gathering: Gathering;
  readonly path: PathKeeper;
  readonly transactions: Transactions;
  readonly responder: CheckResponder;
  onDatagram(bytes: Uint8Array): void;
  /** A check or an answer was taken in: there may be something to do. */
  onMessage(nowMs: number): void;
  /** The stream has lost its frame and cannot be read on. */
  onStreamBroken(transportId: number, nowMs: number): void;
}

export class PacketIntake {
  /** Packets that were none of ours. */
  ignored = 0;
  readonly #options: PacketIntakeOptions;
  /** Of connections to TURN servers. */
  readonly #deframers = new Map<number, StreamDeframer>();

  constructor(options: PacketIntakeOptions) {
    this.#options = options;
  }

  serverStreamOpened(transportId: number): void {
    this.#deframers.set(transportId, new StreamDeframer('turn'));
  }

  transportGone(transportId: number): void {
    this.#deframers.delete(transportId);
  }

  receive(transportId: number, bytes: Uint8Array, remote: TransportAddress, nowMs: number): void {
    const { gathering } = this.#options;
    const udp = gathering.udpBase(transportId);
    if (!udp) return this.#receiveStream(transportId, bytes, remote, nowMs);
    const relay = gathering.relayFrom(transportId, remote);
    if (relay && this.#receiveFromServer(relay, bytes, nowMs)) return;
    this.#receiveDatagram(udp, transportId, bytes, remote, nowMs);
  }

  #receiveStream(transportId: number, bytes: Uint8Array, remote: TransportAddress, nowMs: number): void {
    const { tcp, onStreamBroken } = this.#options;
    const base = tcp.get(transportId);
    const packets = base ? tcp.receive(transportId, bytes) : this.#deframe(transportId, bytes);
    if (!packets) return onStreamBroken(transportId, nowMs);
    for (const packet of packets) {
      if (base) this.#receiveDatagram(base, transportId, packet, base.onlyPeer, nowMs);
      else this.#receiveOnServerStream(transportId, packet, remote, nowMs);
    }
  }

  /** Packets from a TURN server; undefined when the stream is lost. */
  #deframe(transportId: number, bytes: Uint8Array): Buffer[] | undefined {
    try {
      return this.#deframers.get(transportId)?.push(bytes) ?? [];
    } catch {
      return undefined;
    }
  }

  #receiveOnServerStream(transportId: number, packet: Buffer, remote: TransportAddress, nowMs: number): void {
    const { gathering, transactions, onMessage } = this.#options;
    const server = gathering.streamServer(transportId) ?? remote;
    const relay = gathering.relayFrom(transportId, server);
    if (relay && this.#receiveFromServer(relay, packet, nowMs)) return;
    const message = decodeStun(packet);
    if (message && transactions.handleResponse(message, transportId, server, nowMs)) onMessage(nowMs);
    else this.ignored += 1;
  }

  /** False for what the server says for itself. */
  #receiveFromServer(relay: Relay, bytes: Uint8Array, nowMs: number): boolean {
    const kind = classifyDatagram(bytes);
    if (kind === 'channel-data') {
      const data = relay.unwrapChannelData(bytes);
      if (data) this.#receiveDatagram(relay, relay.id, data.bytes, data.peer, nowMs);
      return true;
    }
    if (kind !== 'stun') return false;
    const message = decodeStun(bytes);
    if (message?.class !== 'indication') return false;
    const data = relay.unwrapIndication(message);
    if (data) this.#receiveDatagram(relay, relay.id, data.bytes, data.peer, nowMs);
    return true;
  }

  #receiveDatagram(base: Base, via: number, bytes: Uint8Array, from: TransportAddress, nowMs: number): void {
    const { path, onDatagram, onMessage } = this.#options;
    const kind = classifyDatagram(bytes);
    if (kind === 'application') {
      const pair = path.find(base, from);
      if (!pair) {
        this.ignored += 1;
        return;
      }
      pair.bytesReceived += bytes.length;
      pair.packetsReceived += 1;
      pair.lastReceivedMs = nowMs;
      return onDatagram(bytes);
    }
    if (kind !== 'stun' || !this.#handleStun(base, via, bytes, from, nowMs)) this.ignored += 1;
    onMessage(nowMs);
  }

  /** False when it was of no effect. */
  #handleStun(base: Base, via: number, bytes: Uint8Array, from: TransportAddress, nowMs: number): boolean {
    const { path, responder, transactions } = this.#options;
    const message = decodeStun(bytes);
    if (message?.class === 'request') {
      return responder.handle([path.session, path.previous], base, message, from, nowMs);
    }
    if (!message || message.class === 'indication') return false;
    return transactions.handleResponse(message, via, from, nowMs);
  }
}
