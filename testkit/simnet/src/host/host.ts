/**
 * A host as programs see it: sockets, streams, addresses and a clock. Handlers
 * run in virtual time, never from within a call of theirs.
 */

import type { Clock, Unsubscribe } from '@claw/base';
import type { Packet } from '../net/packet.ts';
import type { TcpStream } from '../tcp/stream.ts';
import { Kernel } from './kernel.ts';
import { Tcp, type TcpConnectOptions, type TcpListener, type TcpListenOptions } from './tcp.ts';
import { Udp, type UdpBinding, type UdpSocket } from './udp.ts';

export interface HostAddress {
  readonly interface: string;
  readonly address: string;
}

export class Host {
  readonly name: string;
  readonly clock: Clock;
  readonly #kernel: Kernel;
  readonly #udp: Udp;
  readonly #tcp: Tcp;
  readonly #onChange = new Set<(addresses: readonly HostAddress[]) => void>();

  constructor(options: Omit<ConstructorParameters<typeof Kernel>[0], 'loopback'>) {
    this.name = options.name;
    this.clock = options.clock;
    this.#kernel = new Kernel({ ...options, loopback: (packet) => this.receive(packet) });
    this.#udp = new Udp(this.#kernel);
    this.#tcp = new Tcp(this.#kernel);
  }

  /** Addresses of the interfaces that are up. */
  addresses(): readonly HostAddress[] {
    const up = [...this.#kernel.attachments.interfaces.values()].filter((each) => each.isUp);
    return up.flatMap((each) => each.addresses.map((address) => ({ interface: each.name, address })));
  }

  /** Throws SIMNET_ADDRESS_IN_USE, SIMNET_NO_ADDRESS. */
  bindUdp(binding: UdpBinding = {}): UdpSocket {
    return this.#udp.bind(binding);
  }

  connectTcp(options: TcpConnectOptions): Promise<TcpStream> {
    return this.#tcp.connect(options);
  }

  /** Throws SIMNET_ADDRESS_IN_USE. */
  listenTcp(options: TcpListenOptions, onConnection: (stream: TcpStream) => void): TcpListener {
    return this.#tcp.listen(options, onConnection);
  }

  /** Called with the addresses after an interface or an address came or went, and after waking. */
  onInterfaceChange(handler: (addresses: readonly HostAddress[]) => void): Unsubscribe {
    this.#onChange.add(handler);
    return () => this.#onChange.delete(handler);
  }

  /** @internal Called by the simulation. */
  interfacesChanged(): void {
    if (this.#onChange.size > 0) this.#kernel.scheduler.touch();
    for (const handler of this.#onChange) handler(this.addresses());
  }

  /** @internal Called by the simulation. */
  receive(packet: Packet): void {
    if (packet.corruptBits.length > 0 || !this.#kernel.attachments.owns(packet.destination)) return;
    const { body } = packet;
    if (body.protocol === 'udp') return this.#udp.receive(packet);
    if (body.protocol === 'tcp') return this.#tcp.receive(packet);
    const { problem, quoted, nextHopMtuBytes } = body;
    if (quoted.body.protocol === 'udp') this.#udp.receiveError(problem, quoted, nextHopMtuBytes);
    else this.#tcp.receiveError(problem, quoted, nextHopMtuBytes);
  }
}
