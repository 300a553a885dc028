/**
 * UDP of one host (RFC 768). Datagrams are fragmented only for sockets that ask for
 * it: else one that the first hop does not take is refused at once, one that a later
 * hop does not take comes back as an error. A port without a socket answers with ICMP.
 */

import { simnetError } from '../errors.ts';
import type { Endpoint } from '../nat/flow.ts';
import { canonicalAddress, familyOf } from '../net/address.ts';
import { inPieces } from '../net/fragments.ts';
import { type IcmpProblem, makeIcmpError, makePacket, type Packet, udpPacketBytes } from '../net/packet.ts';
import type { Kernel } from './kernel.ts';

export interface UdpBinding {
  /** One address of the host. Default: all, of both families. */
  readonly address?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** What is larger than the path is known to carry leaves in fragments, as Linux does when nothing else is said. Default false. */
  readonly mayFragment?: boolean;
}

/** What ICMP said about a datagram sent from a socket. */
export interface UdpProblem {
  readonly problem: IcmpProblem;
  readonly destination: Endpoint;
  /** Of `too-big`: the largest packet that passes, IP header included. */
  readonly nextHopMtuBytes?: number;
}

type MessageHandler = (bytes: Buffer, from: Endpoint, to: Endpoint) => void;

export class UdpSocket {
  readonly port: number;
  /** Undefined when bound to all addresses. */
  readonly address: string | undefined;
  readonly mayFragment: boolean;
  readonly #udp: Udp;
  #onMessage: MessageHandler = () => {};
  #onError: (problem: UdpProblem) => void = () => {};

  /** @internal Use `bindUdp` of the host. */
  constructor(udp: Udp, binding: Omit<UdpBinding, 'port'> & { readonly port: number }) {
    this.#udp = udp;
    this.address = binding.address;
    this.port = binding.port;
    this.mayFragment = binding.mayFragment ?? false;
  }

  /**
   * Copies and sends. `from` chooses one of the host's addresses where the socket
   * is bound to all. Throws SIMNET_TOO_BIG, SIMNET_NO_ROUTE, SIMNET_NO_ADDRESS, SIMNET_CLOSED.
   */
  send(bytes: Uint8Array, to: Endpoint, from?: string): void {
    this.#udp.send(this, bytes, to, this.address ?? from);
  }

  /** `bytes` belong to the handler. The last handler set is the one that is called. */
  onMessage(handler: MessageHandler): void {
    this.#onMessage = handler;
  }

  onError(handler: (problem: UdpProblem) => void): void {
    this.#onError = handler;
  }

  close(): void {
    this.#udp.remove(this);
  }

  /** @internal Called by the host. */
  deliver(bytes: Buffer, from: Endpoint, to: Endpoint): void {
    this.#onMessage(bytes, from, to);
  }

  /** @internal Called by the host. */
  report(problem: UdpProblem): void {
    this.#onError(problem);
  }
}

export class Udp {
  readonly #kernel: Kernel;
  readonly #sockets = new Map<number, UdpSocket[]>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  bind(binding: UdpBinding): UdpSocket {
    const address = binding.address === undefined ? undefined : canonicalAddress(binding.address);
    if (address !== undefined && !this.#kernel.attachments.owns(address)) {
      throw simnetError('SIMNET_NO_ADDRESS', `${this.#kernel.name} does not have the address ${address}`);
    }
    const port = binding.port || this.#kernel.ephemeralPort((each) => this.#sockets.has(each));
    const others = this.#sockets.get(port) ?? [];
    if (others.some((other) => other.address === address)) {
      throw simnetError('SIMNET_ADDRESS_IN_USE', `${this.#kernel.name}: UDP port ${port} is in use`);
    }
    const { mayFragment = false } = binding;
    const socket = new UdpSocket(this, { ...(address === undefined ? {} : { address }), port, mayFragment });
    this.#sockets.set(port, [...others, socket]);
    return socket;
  }

  send(socket: UdpSocket, bytes: Uint8Array, to: Endpoint, from: string | undefined): void {
    if (!this.#sockets.get(socket.port)?.includes(socket)) throw simnetError('SIMNET_CLOSED', 'the socket is closed');
    const destination = canonicalAddress(to.address);
    const { source, mtuBytes } = this.#kernel.path(destination, from);
    const packetBytes = udpPacketBytes(familyOf(destination), bytes.length);
    if (packetBytes > mtuBytes && !socket.mayFragment) {
      throw simnetError('SIMNET_TOO_BIG', `a packet of ${packetBytes} bytes does not fit the MTU of ${mtuBytes}`);
    }
    const ports = { sourcePort: socket.port, destinationPort: to.port };
    const packet = makePacket(source, destination, { protocol: 'udp', ...ports, data: Buffer.from(bytes) });
    const pathBytes = Math.min(mtuBytes, this.#kernel.pathMtuBytes(destination));
    this.#kernel.send(socket.mayFragment ? inPieces(packet, pathBytes) : packet);
  }

  remove(socket: UdpSocket): void {
    const others = (this.#sockets.get(socket.port) ?? []).filter((other) => other !== socket);
    if (others.length > 0) this.#sockets.set(socket.port, others);
    else this.#sockets.delete(socket.port);
  }

  receive(packet: Packet): void {
    if (packet.body.protocol !== 'udp') return;
    const { sourcePort, destinationPort, data } = packet.body;
    const socket = this.#find(packet.destination, destinationPort);
    if (!socket) return this.#kernel.send(makeIcmpError(packet.destination, 'port-unreachable', packet));
    this.#kernel.scheduler.touch();
    const from = { address: packet.source, port: sourcePort };
    // A copy, because a duplicate of the packet may still be on its way.
    socket.deliver(Buffer.from(data), from, { address: packet.destination, port: destinationPort });
  }

  /** An ICMP error about `quoted`, which this host sent. */
  receiveError(problem: IcmpProblem, quoted: Packet, nextHopMtuBytes: number): void {
    if (quoted.body.protocol !== 'udp') return;
    if (problem === 'too-big') this.#kernel.learnPathMtu(quoted.destination, nextHopMtuBytes);
    const socket = this.#find(quoted.source, quoted.body.sourcePort);
    if (!socket) return;
    this.#kernel.scheduler.touch();
    const destination = { address: quoted.destination, port: quoted.body.destinationPort };
    socket.report({ problem, destination, ...(problem === 'too-big' ? { nextHopMtuBytes } : {}) });
  }

  #find(address: string, port: number): UdpSocket | undefined {
    const sockets = this.#sockets.get(port);
    return (
      sockets?.find((socket) => socket.address === address) ?? sockets?.find((socket) => socket.address === undefined)
    );
  }
}
