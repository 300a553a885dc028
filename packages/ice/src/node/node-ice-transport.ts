/**
 * Runs one agent on the sockets and the clock of this machine. The transport opens
 * what the agent asks for and owns it: after `close` nothing of it is open and no
 * timer runs.
 */

import { lookup } from 'node:dns/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { type Clock, systemClock, systemRandom, type Timer } from '@claw/base';
import { canonicalAddress, type TransportAddress } from '../address.ts';
import { IceAgent } from '../agent/ice-agent.ts';
import type { IceAgentOptions, IceOutput, IceRequest } from '../agent/types.ts';
import type { Candidate } from '../candidate/candidate.ts';
import type { HttpProxy } from './http-proxy.ts';
import { listLocalAddresses } from './interfaces.ts';
import { StreamEndpoint, type StreamEndpointEvents } from './stream-endpoint.ts';
import { UdpEndpoint } from './udp-endpoint.ts';

export interface NodeIceTransportOptions extends Omit<IceAgentOptions, 'output' | 'random' | 'useProxy'> {
  readonly events: Omit<IceOutput, 'send' | 'request'>;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Default: the machine's. */
  readonly random?: IceAgentOptions['random'];
  /** The best first. Default: every address of this machine but link-local ones. */
  readonly addresses?: readonly string[];
  /** Whether loopback is among the default addresses. Default: only when there is nothing else. */
  readonly loopback?: boolean;
  /** The way out for TURN over TCP and TLS. Default: directly. */
  readonly proxy?: HttpProxy;
  /** PEM certificates that TURN over TLS is checked against, instead of the system's. */
  readonly ca?: string;
  /** Names in `.local`. Default: the system's resolver, which may know mDNS. */
  readonly resolveLocalName?: (name: string, signal: AbortSignal) => Promise<readonly string[]>;
}

interface Endpoint {
  send(bytes: Uint8Array, remote: TransportAddress, prefix: Uint8Array | undefined): void;
  close(): void;
}

export class NodeIceTransport implements AsyncDisposable {
  readonly agent: IceAgent;
  readonly #options: NodeIceTransportOptions;
  readonly #clock: Clock;
  readonly #endpoints = new Map<number, Endpoint>();
  /** Local addresses by the id of their socket or listener. */
  readonly #bound = new Map<number, string>();
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #isBusy = false;
  /** A call from within a callback may have changed the deadline. */
  #isArmDue = false;
  #closing: Promise<void> | undefined;
  readonly #ending: Promise<void>[] = [];

  /** Throws what {@link IceAgent} throws. */
  constructor(options: NodeIceTransportOptions) {
    const { events, clock = systemClock, random = systemRandom, proxy } = options;
    this.#options = options;
    this.#clock = clock;
    this.agent = new IceAgent({
      ...options,
      random,
      useProxy: proxy !== undefined,
      output: {
        send: (id, bytes, remote, prefix) => this.#endpoints.get(id)?.send(bytes, remote, prefix),
        request: (request) => this.#handleRequest(request),
        onDatagram: (bytes) => events.onDatagram(bytes),
        onCandidate: (candidate) => events.onCandidate?.(candidate),
        onStateChange: (state) => events.onStateChange?.(state),
        onSelectedPair: (pair) => events.onSelectedPair?.(pair),
      },
    });
  }

  gather(addresses?: readonly string[]): void {
    const { loopback = false } = this.#options;
    const chosen = addresses ?? this.#options.addresses ?? listLocalAddresses({ loopback });
    this.act((agent, nowMs) =>
      agent.gather(
        chosen.map((address) => ({ address })),
        nowMs,
      ),
    );
  }

  /** After a change of the network: gathers on addresses that came, drops those that went. */
  updateAddresses(addresses: readonly string[] = listLocalAddresses(this.#options)): void {
    for (const [id, address] of [...this.#bound]) if (!addresses.includes(address)) this.#fail(id);
    this.gather(addresses);
  }

  addRemoteCandidate(candidate: Candidate): void {
    this.act((agent, nowMs) => agent.addRemoteCandidate(candidate, nowMs));
  }

  /** Calls the agent with the time and sets the timer anew: the way to all methods that take `nowMs`. */
  act<T>(call: (agent: IceAgent, nowMs: number) => T): T {
    const wasBusy = this.#isBusy;
    this.#isBusy = true;
    try {
      return call(this.agent, this.#clock.monotonicMs());
    } finally {
      this.#isBusy = wasBusy;
      if (wasBusy) this.#isArmDue = true;
      else this.#arm();
    }
  }

  /** Resolves when all is closed. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.agent.close();
    this.#timer?.cancel();
    this.#abort.abort();
    for (const endpoint of this.#endpoints.values()) endpoint.close();
    this.#endpoints.clear();
    await Promise.all(this.#ending);
  }

  /** As `act`, but an application datagram leaves the timer as it is. */
  #receive(id: number, bytes: Uint8Array, remote: TransportAddress): void {
    const wasBusy = this.#isBusy;
    this.#isBusy = true;
    try {
      if (this.agent.receive(id, bytes, remote, this.#clock.monotonicMs())) this.#isArmDue = true;
    } finally {
      this.#isBusy = wasBusy;
      if (!wasBusy && this.#isArmDue) this.#arm();
    }
  }

  #arm(): void {
    this.#isArmDue = false;
    const { deadlineMs } = this.agent;
    if (this.agent.state === 'closed') return;
    if (deadlineMs === this.#timerAtMs && this.#timer) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAtMs = deadlineMs;
    if (deadlineMs === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.setTimer(Math.max(0, deadlineMs - this.#clock.monotonicMs()), () => {
      this.#timer = undefined;
      this.act((agent, nowMs) => agent.handleTimeout(nowMs));
    });
  }

  #handleRequest(request: IceRequest): void {
    const { id } = request;
    switch (request.type) {
      case 'bind-udp':
        return this.#add(id, this.#bindUdp(id, request.address));
      case 'listen-tcp':
        return this.#add(id, this.#listen(id, request.address));
      case 'reserve-tcp':
        return this.#reserve(id, request.address);
      case 'connect-tcp': {
        const { ca, proxy } = this.#options;
        const target = { ...request, ca, proxy: request.useProxy ? proxy : undefined };
        return this.#addStream(id, request.remote, (events) => StreamEndpoint.connect(target, events));
      }
      case 'resolve':
        void this.#resolve(id, request.name);
        return undefined;
      case 'close':
        this.#endpoints.get(id)?.close();
        this.#endpoints.delete(id);
        return undefined;
    }
  }

  #add(id: number, endpoint: Endpoint): void {
    this.#endpoints.set(id, endpoint);
  }

  #fail(id: number): void {
    this.#bound.delete(id);
    this.#endpoints.get(id)?.close();
    this.#endpoints.delete(id);
    this.act((agent, nowMs) => agent.transportFailed(id, nowMs));
  }

  #bindUdp(id: number, address: string): Endpoint {
    this.#bound.set(id, address);
    return new UdpEndpoint(address, 0, {
      onOpen: (local) => this.act((agent, nowMs) => agent.transportOpened(id, local, nowMs)),
      onMessage: (bytes, remote) => this.#receive(id, bytes, remote),
      onFailure: () => this.#fail(id),
    });
  }

  #addStream(id: number, remote: TransportAddress, open: (events: StreamEndpointEvents) => StreamEndpoint): void {
    const stream = open({
      onOpen: (local) => this.act((agent, nowMs) => agent.transportOpened(id, local, nowMs)),
      onData: (bytes) => this.#receive(id, bytes, remote),
      onFailure: () => this.#fail(id),
    });
    this.#add(id, {
      send: (bytes, _remote, prefix) => stream.send(bytes, prefix),
      close: () => stream.close(),
    });
  }

  #listen(id: number, address: string): Endpoint {
    this.#bound.set(id, address);
    const server: Server = createServer((socket) => this.#accept(id, socket));
    server.on('error', () => this.#fail(id));
    server.listen({ host: address, port: 0, ipv6Only: true }, () => {
      const bound = server.address();
      const port = typeof bound === 'object' && bound ? bound.port : 0;
      if (port > 0) this.act((agent, nowMs) => agent.transportOpened(id, { address, port }, nowMs));
    });
    return {
      send: () => {},
      close: () => {
        this.#ending.push(new Promise((resolve) => server.close(() => resolve())));
      },
    };
  }

  /** Asks the kernel for a port and leaves it again, so that connections can be made from it. */
  #reserve(id: number, address: string): void {
    const server = createServer();
    server.on('error', () => this.#fail(id));
    server.listen({ host: address, port: 0, ipv6Only: true }, () => {
      const bound = server.address();
      const port = typeof bound === 'object' && bound ? bound.port : 0;
      server.close(() => this.act((agent, nowMs) => agent.transportOpened(id, { address, port }, nowMs)));
    });
  }

  #accept(listenerId: number, socket: Socket): void {
    const address = canonicalAddress(socket.remoteAddress ?? '');
    const port = socket.remotePort;
    if (address === undefined || port === undefined) return void socket.destroy();
    const remote = { address, port };
    const id = this.act((agent, nowMs) => agent.transportAccepted(listenerId, remote, nowMs));
    if (id === undefined) return void socket.destroy();
    const events = {
      onOpen: () => {},
      onData: (bytes: Buffer) => this.#receive(id, bytes, remote),
      onFailure: () => this.#fail(id),
    };
    const stream = StreamEndpoint.accepted(socket, events);
    this.#add(id, {
      send: (bytes, _remote, prefix) => stream.send(bytes, prefix),
      close: () => stream.close(),
    });
  }

  async #resolve(id: number, name: string): Promise<void> {
    const { resolveLocalName } = this.#options;
    let addresses: readonly string[] = [];
    try {
      addresses =
        name.endsWith('.local') && resolveLocalName
          ? await resolveLocalName(name, this.#abort.signal)
          : (await lookup(name, { all: true })).map(({ address }) => address);
    } catch {
      // A name that nobody knows has no addresses.
    }
    if (!this.#abort.signal.aborted) this.act((agent, nowMs) => agent.nameResolved(id, addresses, nowMs));
  }
}
