/**
 * One UDP socket of the driver. Sends go out at once where the kernel takes them;
 * what it refuses (no route, buffer full) is lost, as on the way.
 */

import { createSocket, type Socket } from 'node:dgram';
import { familyOf, type TransportAddress } from '../address.ts';

export interface UdpEndpointEvents {
  onOpen(local: TransportAddress): void;
  onMessage(bytes: Buffer, remote: TransportAddress): void;
  /** Not bound, or broken. */
  onFailure(): void;
}

/** Numeric addresses need no look-up; without this each send would take a turn through the resolver. */
type Lookup = (name: string, options: unknown, done: (error: null, address: string, family: number) => void) => void;
const numericLookup: Lookup = (name, _options, done) => done(null, name, familyOf(name));

export class UdpEndpoint {
  readonly #socket: Socket;
  #isOpen = true;

  constructor(address: string, port: number, events: UdpEndpointEvents) {
    const isIpv6 = familyOf(address) === 6;
    const socket = createSocket({
      type: isIpv6 ? 'udp6' : 'udp4',
      ...(isIpv6 ? { ipv6Only: true } : {}),
      lookup: numericLookup,
    });
    this.#socket = socket;
    socket.on('error', () => {
      if (this.#isOpen) events.onFailure();
    });
    socket.on('message', (bytes, remote) => events.onMessage(bytes, remote));
    // Our look-up answers within the call, so a failure would come before anyone listens.
    process.nextTick(() => {
      if (!this.#isOpen) return;
      socket.bind({ address, port, exclusive: true }, () => {
        if (this.#isOpen) events.onOpen({ address, port: socket.address().port });
      });
    });
  }

  send(bytes: Uint8Array, remote: TransportAddress, prefix: Uint8Array | undefined): void {
    if (!this.#isOpen) return;
    // With a callback a failure is its own affair; without one it would be an 'error' of the socket.
    this.#socket.send(prefix ? [prefix, bytes] : bytes, remote.port, remote.address, ignore);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#socket.close();
  }
}

function ignore(): void {}
