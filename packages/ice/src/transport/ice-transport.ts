/**
 * Runs one agent on a clock and on sockets that are given to it. The transport opens
 * what the agent asks for and owns it: after `close` nothing of it is open and no
 * timer runs.
 */

import { type Clock, type Random, systemClock, systemRandom, type Timer } from '@claw/base';
import type { TransportAddress } from '../address.ts';
import { IceAgent } from '../agent/ice-agent.ts';
import type { IceAgentOptions, IceOutput, IceRequest } from '../agent/types.ts';
import type { Candidate } from '../candidate/candidate.ts';
import type { Closable, IceSocket, IceSockets, IncomingConnection, SocketEvents } from './ice-sockets.ts';

export interface IceTransportOptions extends Omit<IceAgentOptions, 'output' | 'random' | 'useProxy' | 'sharesUdp'> {
  readonly sockets: IceSockets;
  readonly events: Omit<IceOutput, 'send' | 'request' | 'onAddressesWanted'>;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Default: the machine's. */
  readonly random?: Random;
  /** The best first. Default: those of the sockets. */
  readonly addresses?: readonly string[];
}

export class IceTransport implements AsyncDisposable {
  readonly agent: IceAgent;
  readonly #options: IceTransportOptions;
  readonly #clock: Clock;
  /** What carries packets, by the id that the agent gave it. */
  readonly #carriers = new Map<number, IceSocket>();
  /** Listeners, and ports that are kept. */
  readonly #ports = new Map<number, Closable>();
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #isBusy = false;
  #isGatherDue = false;
  #addresses: readonly string[] | undefined;
  /** A call from within a callback may have changed the deadline. */
  #isArmDue = false;
  #closing: Promise<void> | undefined;
  readonly #ending = new Set<Promise<void>>();
  #usernameFragment: string;

  /** Throws what {@link IceAgent} throws. */
  constructor(options: IceTransportOptions) {
    const { events, sockets, clock = systemClock, random = systemRandom } = options;
    this.#options = options;
    this.#addresses = options.addresses;
    this.#clock = clock;
    this.agent = new IceAgent({
      ...options,
      random,
      useProxy: sockets.hasProxy,
      sharesUdp: sockets.isShared ?? false,
      output: {
        send: (id, bytes, remote, prefix) => this.#carriers.get(id)?.send(bytes, remote, prefix),
        request: (request) => this.#handleRequest(request),
        onDatagram: (bytes) => events.onDatagram(bytes),
        onCandidate: (candidate) => events.onCandidate?.(candidate),
        onAddressesWanted: () => {
          this.#isGatherDue = true;
        },
        onServerError: (error) => events.onServerError?.(error),
        onStateChange: (state) => events.onStateChange?.(state),
        onSelectedPair: (pair) => events.onSelectedPair?.(pair),
      },
    });
    this.#usernameFragment = this.agent.localParameters.usernameFragment;
  }

  /**
   * Call again after a change of the network; after a restart, and while the path is dead, it looks by itself.
   * `addresses`, the best first, stand for those of the options from then on.
   */
  gather(addresses?: readonly string[]): void {
    this.#addresses = addresses ?? this.#addresses;
    const present = this.#addresses ?? this.#options.sockets.localAddresses();
    this.act((agent, nowMs) =>
      agent.gather(
        present.map((address) => ({ address })),
        nowMs,
      ),
    );
  }

  addRemoteCandidate(candidate: Candidate): void {
    this.act((agent, nowMs) => agent.addRemoteCandidate(candidate, nowMs));
  }

  /** The peer's packets say how long they are: the sockets may hand over several as one. */
  allowJoining(): void {
    for (const carrier of this.#carriers.values()) carrier.allowJoining?.();
  }

  /** Calls the agent with the time and sets the timer anew: the way to all methods that take `nowMs`. */
  act<T>(call: (agent: IceAgent, nowMs: number) => T): T {
    const wasBusy = this.#isBusy;
    this.#isBusy = true;
    try {
      return call(this.agent, this.#clock.monotonicMs());
    } finally {
      this.#isBusy = wasBusy;
      this.#identify();
      if (wasBusy) this.#isArmDue = true;
      else this.#finishTurn();
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
    for (const id of [...this.#carriers.keys(), ...this.#ports.keys()]) this.#release(id);
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
      if (!wasBusy && this.#isArmDue) this.#finishTurn();
    }
  }

  #finishTurn(): void {
    if (!this.#isGatherDue || this.agent.state === 'closed') return this.#arm();
    this.#isGatherDue = false;
    this.gather();
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
    const { sockets } = this.#options;
    switch (request.type) {
      case 'bind-udp':
        this.#carriers.set(id, sockets.bindUdp(request.address, this.#eventsOf(id), request.isPrivate));
        this.#carriers.get(id)?.identify?.(this.#usernameFragment);
        return;
      case 'connect-tcp':
        this.#carriers.set(id, sockets.connectTcp(request, this.#eventsOf(id)));
        return;
      case 'listen-tcp': {
        const onConnection = (connection: IncomingConnection) => this.#accept(id, connection);
        this.#ports.set(id, sockets.listenTcp(request.address, { ...this.#eventsOf(id), onConnection }));
        return;
      }
      case 'reserve-tcp':
        this.#ports.set(id, sockets.reserveTcp(request.address, this.#eventsOf(id)));
        return;
      case 'resolve':
        void this.#resolve(id, request.name);
        return;
      case 'close':
        this.#release(id);
        return;
    }
  }

  /** After a restart checks come for other credentials. */
  #identify(): void {
    const { usernameFragment } = this.agent.localParameters;
    if (usernameFragment === this.#usernameFragment) return;
    this.#usernameFragment = usernameFragment;
    for (const carrier of this.#carriers.values()) carrier.identify?.(usernameFragment);
  }

  #eventsOf(id: number): SocketEvents {
    return {
      onOpen: (local) => this.act((agent, nowMs) => agent.transportOpened(id, local, nowMs)),
      onBytes: (bytes, remote) => this.#receive(id, bytes, remote),
      onFailure: () => this.#fail(id),
    };
  }

  #accept(listenerId: number, connection: IncomingConnection): void {
    const id = this.act((agent, nowMs) => agent.transportAccepted(listenerId, connection.remote, nowMs));
    if (id === undefined) connection.refuse();
    else this.#carriers.set(id, connection.accept(this.#eventsOf(id)));
  }

  #fail(id: number): void {
    this.#release(id);
    this.act((agent, nowMs) => agent.transportFailed(id, nowMs));
  }

  #release(id: number): void {
    const closing = (this.#carriers.get(id) ?? this.#ports.get(id))?.close();
    this.#carriers.delete(id);
    this.#ports.delete(id);
    if (!closing) return;
    this.#ending.add(closing);
    void closing.finally(() => this.#ending.delete(closing));
  }

  async #resolve(id: number, name: string): Promise<void> {
    const { signal } = this.#abort;
    const addresses = await this.#options.sockets.resolve(name, signal).catch(() => []);
    if (!signal.aborted) this.act((agent, nowMs) => agent.nameResolved(id, addresses, nowMs));
  }
}
