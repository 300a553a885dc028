/** TCP of one host: which connection a segment belongs to, who listens, and a reset for everything else. */

import { simnetError } from '../errors.ts';
import type { Endpoint } from '../nat/flow.ts';
import { canonicalAddress, familyOf } from '../net/address.ts';
import { DEFAULT_MTU_BYTES } from '../net/interface.ts';
import {
  type IcmpProblem,
  makePacket,
  makeReset,
  type Packet,
  segmentBytesFor,
  TCP_FLAG,
  type TcpBody,
} from '../net/packet.ts';
import { Connection } from '../tcp/connection.ts';
import { TcpStream } from '../tcp/stream.ts';
import { type Kernel, LOOPBACK_MTU_BYTES } from './kernel.ts';

export interface TcpOptions {
  /** Bytes written and not acknowledged before a write waits. Default 1 MiB. */
  readonly sendBufferBytes?: number;
  /** Bytes received and not read before the peer must wait. Default 4 MiB. */
  readonly receiveBufferBytes?: number;
  /** Default 63,000: six SYNs. */
  readonly connectTimeoutMs?: number;
  /** Without any acknowledgement of what was sent. Default 100,000 (RFC 9293, R2). */
  readonly timeoutMs?: number;
}

export interface TcpConnectOptions extends TcpOptions, Endpoint {
  /** Default: what the route has. */
  readonly localAddress?: string;
  /** Default: a free one. May be one that listens, for simultaneous open. */
  readonly localPort?: number;
}

export interface TcpListenOptions extends TcpOptions {
  /** Default: a free one. */
  readonly port?: number;
}

export interface TcpListener {
  readonly port: number;
  /** Established connections stay. */
  close(): void;
}

interface Listening {
  readonly options: TcpListenOptions;
  readonly onConnection: (stream: TcpStream) => void;
}

interface Ends {
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

export class Tcp {
  readonly #kernel: Kernel;
  readonly #connections = new Map<string, Connection>();
  readonly #listeners = new Map<number, Listening>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  listen(options: TcpListenOptions, onConnection: (stream: TcpStream) => void): TcpListener {
    const port = options.port ?? this.#kernel.ephemeralPort((each) => this.#listeners.has(each));
    if (this.#listeners.has(port))
      throw simnetError('SIMNET_ADDRESS_IN_USE', `${this.#kernel.name}: TCP port ${port} is in use`);
    this.#listeners.set(port, { options, onConnection });
    return { port, close: () => this.#listeners.delete(port) };
  }

  /** Rejects with SIMNET_REFUSED, SIMNET_UNREACHABLE, SIMNET_TIMEOUT, SIMNET_NO_ROUTE, SIMNET_NO_ADDRESS. */
  async connect(options: TcpConnectOptions): Promise<TcpStream> {
    const remote = { address: canonicalAddress(options.address), port: options.port };
    const { source } = this.#kernel.path(
      remote.address,
      options.localAddress && canonicalAddress(options.localAddress),
    );
    const isTaken = (port: number) =>
      this.#connections.has(keyOf({ address: source, port }, remote)) || this.#listeners.has(port);
    const local = { address: source, port: options.localPort ?? this.#kernel.ephemeralPort(isTaken) };
    if (this.#connections.has(keyOf(local, remote))) {
      throw simnetError('SIMNET_ADDRESS_IN_USE', `${this.#kernel.name} has a connection between these ends`);
    }
    return new Promise((resolve, reject) => {
      this.#open({ local, remote }, options, resolve, reject).connect();
    });
  }

  receive(packet: Packet): void {
    const { body } = packet;
    if (body.protocol !== 'tcp') return;
    const local = { address: packet.destination, port: body.destinationPort };
    const remote = { address: packet.source, port: body.sourcePort };
    const connection = this.#connections.get(keyOf(local, remote));
    if (connection) return connection.handle(body);
    const listening = this.#listeners.get(local.port);
    const isSyn = (body.flags & (TCP_FLAG.syn | TCP_FLAG.ack | TCP_FLAG.rst)) === TCP_FLAG.syn;
    if (listening && isSyn)
      this.#open({ local, remote }, listening.options, listening.onConnection, () => {}).accept(body);
    else this.#refuse(packet);
  }

  /** An ICMP error about `quoted`, which this host sent. */
  receiveError(problem: IcmpProblem, quoted: Packet, nextHopMtuBytes: number): void {
    if (quoted.body.protocol !== 'tcp') return;
    const local = { address: quoted.source, port: quoted.body.sourcePort };
    const remote = { address: quoted.destination, port: quoted.body.destinationPort };
    const connection = this.#connections.get(keyOf(local, remote));
    if (problem === 'too-big') connection?.limitSegments(segmentBytesFor(quoted.family, nextHopMtuBytes));
    else connection?.unreachable(problem === 'port-unreachable' ? 'SIMNET_REFUSED' : 'SIMNET_UNREACHABLE');
  }

  #open(
    ends: Ends,
    options: TcpOptions,
    onOpen: (stream: TcpStream) => void,
    onFailure: (error: Error) => void,
  ): Connection {
    const { clock, scheduler, random } = this.#kernel;
    const key = keyOf(ends.local, ends.remote);
    const limits = {
      segmentBytes: segmentBytesFor(familyOf(ends.local.address), this.#mtuBytes(ends)),
      receiveBufferBytes: options.receiveBufferBytes ?? 4 * 1024 * 1024,
      connectTimeoutMs: options.connectTimeoutMs ?? 63_000,
      timeoutMs: options.timeoutMs ?? 100_000,
    };
    let stream: TcpStream | undefined;
    const port = {
      nowMs: () => clock.monotonicMs(),
      setTimer: (delayMs: number, fire: () => void) => clock.setKernelTimer(delayMs, fire),
      transmit: (segment: Omit<TcpBody, 'protocol' | 'sourcePort' | 'destinationPort'>) =>
        this.#transmit(ends, segment),
      onOpen: () => {
        const { sendBufferBytes = 1024 * 1024 } = options;
        stream = new TcpStream(connection, { ...ends, sendBufferBytes, touch: () => scheduler.touch() });
        scheduler.touch();
        onOpen(stream);
      },
      onProgress: () => stream?.progress(),
      onEnd: (error: Error | undefined) => {
        this.#connections.delete(key);
        scheduler.touch();
        if (stream) stream.finish(error);
        else if (error) onFailure(error);
      },
    };
    const connection = new Connection(port, limits, random.bytes(4).readUInt32BE());
    this.#connections.set(key, connection);
    return connection;
  }

  #refuse(packet: Packet): void {
    const reset = makeReset(packet);
    if (reset) this.#kernel.send(reset);
  }

  #mtuBytes(ends: Ends): number {
    const { attachments } = this.#kernel;
    if (attachments.owns(ends.remote.address)) return LOOPBACK_MTU_BYTES;
    return attachments.route(ends.remote.address, ends.local.address)?.via.mtuBytes ?? DEFAULT_MTU_BYTES;
  }

  #transmit(ends: Ends, segment: Omit<TcpBody, 'protocol' | 'sourcePort' | 'destinationPort'>): void {
    const ports = { sourcePort: ends.local.port, destinationPort: ends.remote.port };
    this.#kernel.send(makePacket(ends.local.address, ends.remote.address, { protocol: 'tcp', ...ports, ...segment }));
  }
}

function keyOf(local: Endpoint, remote: Endpoint): string {
  return `${local.address}|${local.port}|${remote.address}|${remote.port}`;
}
