/** A simulated TCP connection as a socket for ICE: whole packets are dropped where the stream cannot keep up. */

import type { IceSocket, SocketEvents, TransportAddress } from '@claw/ice';
import type { TcpStream } from '../tcp/stream.ts';

const MAX_BUFFERED_BYTES = 1024 * 1024;

export class SimTcpSocket implements IceSocket {
  readonly #remote: TransportAddress;
  readonly #events: Omit<SocketEvents, 'onOpen'>;
  #stream: TcpStream | undefined;
  #isOpen = true;

  private constructor(remote: TransportAddress, events: Omit<SocketEvents, 'onOpen'>) {
    this.#remote = remote;
    this.#events = events;
  }

  static accepted(stream: TcpStream, events: Omit<SocketEvents, 'onOpen'>): SimTcpSocket {
    const socket = new SimTcpSocket(stream.remote, events);
    socket.#stream = stream;
    void socket.#read(stream);
    return socket;
  }

  /** `remote` is who stands behind a proxy, if there is one. */
  static connecting(opening: Promise<TcpStream>, remote: TransportAddress, events: SocketEvents): SimTcpSocket {
    const socket = new SimTcpSocket(remote, events);
    const ready = (stream: TcpStream) => {
      if (!socket.#isOpen) return stream.reset();
      socket.#stream = stream;
      events.onOpen(stream.local);
      void socket.#read(stream);
    };
    opening.then(ready, () => socket.#fail());
    return socket;
  }

  send(bytes: Uint8Array, _remote: TransportAddress, prefix: Uint8Array | undefined): void {
    const stream = this.#stream;
    if (!this.#isOpen || !stream || stream.bufferedBytes > MAX_BUFFERED_BYTES) return;
    void stream.write(prefix ? Buffer.concat([prefix, bytes]) : bytes).catch(() => {});
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#stream?.end();
  }

  async #read(stream: TcpStream): Promise<void> {
    try {
      for (let bytes = await stream.read(); bytes; bytes = await stream.read()) {
        if (this.#isOpen) this.#events.onBytes(bytes, this.#remote);
      }
    } catch {
      // It broke.
    }
    this.#fail();
  }

  #fail(): void {
    if (!this.#isOpen) return;
    this.close();
    this.#events.onFailure();
  }
}
