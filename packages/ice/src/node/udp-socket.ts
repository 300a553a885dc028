/**
 * One UDP socket. Sends go out at once where the kernel takes them;
 * what it refuses (no route, buffer full) is lost, as on the way. A socket that
 * moves much asks for offload, and from then on packets of one size that are sent
 * within one turn leave together.
 */

import { createSocket, type Socket } from 'node:dgram';
import { familyOf, type TransportAddress } from '../address.ts';
import { cutJoined } from '../stun/joined.ts';
import type { IceSocket, SocketEvents } from '../transport/ice-sockets.ts';
import { UdpOffload } from './udp-offload.ts';

const BUFFER_BYTES = 2 * 1024 * 1024;

/** Numeric addresses need no look-up; without this each send would take a turn through the resolver. */
type Lookup = (name: string, options: unknown, done: (error: null, address: string, family: number) => void) => void;
const numericLookup: Lookup = (name, _options, done) => done(null, name, familyOf(name));

/** What arrives while the event loop is busy waits here; the kernel's default holds a few milliseconds of a fast path. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

/** Traffic after which offload is worth asking for. */
const BULK_BYTES = 1024 * 1024;
/** Shorter packets are not worth the wait. */
const MIN_BATCHED_BYTES = 512;
/** What the kernel takes at once: UDP_MAX_SEGMENTS of old, and one datagram's length. */
const MAX_BATCH_PACKETS = 64;
const MAX_BATCH_BYTES = 65_000;

/** Smaller ones lie in memory that they share. */
const MIN_FREED_BYTES = 4096;

interface Batch {
  readonly packets: Uint8Array[];
  readonly remote: TransportAddress;
  bytes: number;
}

export class UdpSocket implements IceSocket {
  readonly #socket: Socket;
  #isOpen = true;
  #movedBytes = 0;
  #offload: UdpOffload | undefined;
  #mayJoin = false;
  #isJoining = false;
  #batch: Batch | undefined;

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
      this.#note(bytes.length);
      for (const packet of this.#isJoining ? cutJoined(bytes) : [bytes]) {
        if (this.#isOpen) events.onBytes(packet, remote);
      }
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
    this.#note(bytes.length);
    if (this.#offload && !prefix && bytes.length >= MIN_BATCHED_BYTES) return this.#addToBatch(bytes, remote);
    this.#flush();
    this.#offload?.permit(bytes.length);
    // With a callback a failure is its own affair; without one it would be an 'error' of the socket.
    this.#socket.send(prefix ? [prefix, bytes] : bytes, remote.port, remote.address, () => free(bytes));
  }

  allowJoining(): void {
    this.#mayJoin = true;
    this.#join();
  }

  #note(bytes: number): void {
    if (this.#movedBytes >= BULK_BYTES) return;
    this.#movedBytes += bytes;
    if (this.#movedBytes < BULK_BYTES) return;
    const { address, port } = this.#socket.address();
    void UdpOffload.of({ address, port }).then((offload) => {
      if (!this.#isOpen) return;
      this.#offload = offload;
      this.#join();
    });
  }

  #join(): void {
    if (this.#mayJoin && !this.#isJoining) this.#isJoining = this.#offload?.joinReceived() ?? false;
  }

  #addToBatch(packet: Uint8Array, remote: TransportAddress): void {
    const batch = this.#batch;
    const first = batch?.packets[0];
    const isFull =
      batch && (batch.packets.length >= MAX_BATCH_PACKETS || batch.bytes + packet.length > MAX_BATCH_BYTES);
    if (!batch || !first || isFull || packet.length > first.length || batch.remote !== remote) {
      this.#flush();
      this.#batch = { packets: [packet], remote, bytes: packet.length };
      queueMicrotask(() => this.#flush());
      return;
    }
    batch.packets.push(packet);
    batch.bytes += packet.length;
    // Only the last may be shorter.
    if (packet.length < first.length) this.#flush();
  }

  #flush(): void {
    const batch = this.#batch;
    this.#batch = undefined;
    if (!batch || !this.#isOpen) return;
    const { packets, remote } = batch;
    const [first] = packets;
    if (first && packets.length > 1 && this.#offload?.segment(first.length)) {
      this.#socket.send(packets, remote.port, remote.address, (error) => {
        if (error && isRefusal(error)) this.#offload = undefined;
        packets.forEach(free);
      });
      return;
    }
    for (const packet of packets) {
      this.#offload?.permit(packet.length);
      this.#socket.send(packet, remote.port, remote.address, () => free(packet));
    }
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#flush();
    this.#isOpen = false;
    this.#socket.close();
  }
}

/** What has left takes its memory along if it is alone there: left to the collector, it counts against the whole heap. */
function free(sent: Uint8Array): void {
  const { buffer, length } = sent;
  if (length < MIN_FREED_BYTES || buffer.byteLength !== length || !(buffer instanceof ArrayBuffer)) return;
  buffer.transfer(0);
}

/** The way out cannot segment: no checksums in hardware, a tunnel, packets above its MTU. */
function isRefusal(error: Error): boolean {
  return ['EINVAL', 'EIO', 'EMSGSIZE', 'EOPNOTSUPP'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/** A burst of a fast link outlasts a busy event loop; the kernel gives as much as it may. */
function enlargeBuffers(socket: Socket): void {
  try {
    socket.setRecvBufferSize(BUFFER_BYTES);
    socket.setSendBufferSize(BUFFER_BYTES);
  } catch {
    // What the system has by default will do.
  }
}
