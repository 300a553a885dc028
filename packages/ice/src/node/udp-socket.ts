/**
 * One UDP socket. Sends go out at once where the kernel takes them;
 * what it refuses (no route, buffer full) is lost, as on the way.
 */

import { createSocket, type Socket } from 'node:dgram';
import { familyOf, type TransportAddress } from '../address.ts';
import type { IceSocket, SocketEvents } from '../transport/ice-sockets.ts';

const BUFFER_BYTES = 2 * 1024 * 1024;

/** Numeric addresses need no look-up; without this each send would take a turn through the resolver. */
type Lookup = (name: string, options: unknown, done: (error: null, address: string, family: number) => void) => void;
const numericLookup: Lookup = (name, _options, done) => done(null, name, familyOf(name));

/** What arrives while the event loop is busy waits here; the kernel's default holds a few milliseconds of a fast path. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

export class UdpSocket implements IceSocket {
  readonly #socket: Socket;
  #isOpen = true;

  constructor(address: string, port: number, events: SocketEvents) {
    const isIpv6 = familyOf(address) === 6;
    const socket = createSocket({
      type: isIpv6 ? 'udp6' : 'udp4',
      ...(isIpv6 ? { ipv6Only: true } : {}),
      recvBufferSize: RECEIVE_BUFFER_BYTES,
      lookup: numericLookup,
    });
    this.#socket = socket;
    socket.on('error', () => {
      if (this.#isOpen) events.onFailure();
    });
    socket.on('message', (bytes, remote) => {
      if (this.#isOpen) events.onBytes(bytes, remote);
    });
    // Our look-up answers within the call, so a failure would come before anyone listens.
    process.nextTick(() => {
      if (!this.#isOpen) return;
      socket.bind({ address, port, exclusive: true }, () => {
        if (!this.#isOpen) return;
        enlargeBuffers(socket);
        events.onOpen({ address, port: socket.address().port });
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

/** A burst of a fast link outlasts a busy event loop; the kernel gives as much as it may. */
function enlargeBuffers(socket: Socket): void {
  try {
    socket.setRecvBufferSize(BUFFER_BYTES);
    socket.setSendBufferSize(BUFFER_BYTES);
  } catch {
    // What the system has by default will do.
  }
}
