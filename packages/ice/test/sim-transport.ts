/** Runs an agent on a host of a simulated network, as `NodeIceTransport` does on a machine. */

import type { Timer } from '@claw/base';
import type { Simnet, UdpSocket } from '@claw/simnet';
import { seededRandom } from '@claw/testkit';
import {
  type EgressFacts,
  IceAgent,
  type IceAgentOptions,
  type IceRequest,
  type LocalCandidate,
  type TransportAddress,
} from '../src/index.ts';

type Host = ReturnType<Simnet['host']>;

interface Endpoint {
  send(bytes: Uint8Array, remote: TransportAddress): void;
  close(): void;
}

interface SimStream {
  write(bytes: Uint8Array): Promise<void>;
  read(): Promise<Buffer | undefined>;
  end(): void;
  readonly remote: TransportAddress;
}

export interface SimTransportOptions extends Partial<Omit<IceAgentOptions, 'output' | 'random'>> {
  readonly controlling: boolean;
  readonly seed?: number;
  /** Default: those of the host. */
  readonly addresses?: readonly string[];
}

export class SimTransport {
  readonly agent: IceAgent;
  readonly host: Host;
  readonly received: string[] = [];
  readonly candidates: LocalCandidate[] = [];
  /** What the network was given, checks and data: `kind remote`. */
  readonly sent: { readonly kind: string; readonly to: string; readonly atMs: number }[] = [];
  writableAtMs: number | undefined;
  nominatedAtMs: number | undefined;
  onCandidate: (candidate: LocalCandidate | null) => void = () => {};
  readonly #options: SimTransportOptions;
  readonly #endpoints = new Map<number, Endpoint>();
  #timer: Timer | undefined;
  #isBusy = false;
  #lastKind = '';

  constructor(host: Host, options: SimTransportOptions) {
    this.host = host;
    this.#options = options;
    const { egress } = options;
    this.agent = new IceAgent({
      ...options,
      random: seededRandom(options.seed ?? (options.controlling ? 1 : 2)),
      egress: (facts: Readonly<EgressFacts>) => {
        this.#lastKind = facts.kind;
        return egress?.(facts) ?? true;
      },
      output: {
        send: (id, bytes, remote, prefix) => {
          this.sent.push({ kind: this.#lastKind, to: `${remote.address}:${remote.port}`, atMs: this.nowMs });
          this.#endpoints.get(id)?.send(prefix ? Buffer.concat([prefix, bytes]) : bytes, remote);
        },
        request: (request) => this.#handle(request),
        onDatagram: (bytes) => this.received.push(Buffer.from(bytes).toString('latin1', 1)),
        onCandidate: (candidate) => {
          if (candidate) this.candidates.push(candidate);
          this.onCandidate(candidate);
        },
        onStateChange: (state) => {
          if (state === 'completed') this.nominatedAtMs ??= this.nowMs;
        },
        onSelectedPair: () => {
          this.writableAtMs ??= this.nowMs;
        },
      },
    });
  }

  get nowMs(): number {
    return this.host.clock.monotonicMs();
  }

  gather(): void {
    const addresses = this.#options.addresses ?? this.host.addresses().map(({ address }) => address);
    this.act((agent, nowMs) =>
      agent.gather(
        addresses.map((address) => ({ address })),
        nowMs,
      ),
    );
  }

  act<T>(call: (agent: IceAgent, nowMs: number) => T): T {
    const wasBusy = this.#isBusy;
    this.#isBusy = true;
    try {
      return call(this.agent, this.nowMs);
    } finally {
      this.#isBusy = wasBusy;
      if (!wasBusy) this.#arm();
    }
  }

  /** One application datagram: a byte that DTLS would begin with, then the text. */
  say(text: string): boolean {
    return this.act((agent, nowMs) => agent.sendDatagram(Buffer.from(`\u0016${text}`, 'latin1'), nowMs));
  }

  close(): void {
    this.agent.close();
    this.#timer?.cancel();
    for (const endpoint of this.#endpoints.values()) endpoint.close();
  }

  #arm(): void {
    this.#timer?.cancel();
    const { deadlineMs } = this.agent;
    if (deadlineMs === Number.POSITIVE_INFINITY) return;
    this.#timer = this.host.clock.setTimer(Math.max(0, deadlineMs - this.nowMs), () =>
      this.act((agent, nowMs) => agent.handleTimeout(nowMs)),
    );
  }

  #later(call: (agent: IceAgent, nowMs: number) => void): void {
    this.host.clock.setTimer(0, () => this.act(call));
  }

  #handle(request: IceRequest): void {
    const { id } = request;
    if (request.type === 'bind-udp') this.#bind(id, request.address);
    else if (request.type === 'listen-tcp') this.#listen(id, request.address);
    else if (request.type === 'reserve-tcp') this.#reserve(id, request.address);
    else if (request.type === 'connect-tcp') void this.#connect(id, request);
    else if (request.type === 'resolve') this.#later((agent, nowMs) => agent.nameResolved(id, [], nowMs));
    else {
      this.#endpoints.get(id)?.close();
      this.#endpoints.delete(id);
    }
  }

  #bind(id: number, address: string): void {
    let socket: UdpSocket;
    try {
      socket = this.host.bindUdp({ address });
    } catch {
      return this.#later((agent, nowMs) => agent.transportFailed(id, nowMs));
    }
    socket.onMessage((bytes, from) => this.act((agent, nowMs) => agent.receive(id, bytes, from, nowMs)));
    this.#endpoints.set(id, {
      send: (bytes, remote) => {
        try {
          socket.send(bytes, remote);
        } catch {
          // No route: lost, as in a real socket's callback.
        }
      },
      close: () => socket.close(),
    });
    this.#later((agent, nowMs) => agent.transportOpened(id, { address, port: socket.port }, nowMs));
  }

  #listen(id: number, address: string): void {
    const port = 20_000 + id + (this.#options.controlling ? 0 : 1000);
    const listener = this.host.listenTcp({ port }, (stream) => {
      const accepted = this.act((agent, nowMs) => agent.transportAccepted(id, stream.remote, nowMs));
      if (accepted !== undefined) this.#run(accepted, stream);
    });
    this.#endpoints.set(id, { send: () => {}, close: () => listener.close() });
    this.#later((agent, nowMs) => agent.transportOpened(id, { address, port }, nowMs));
  }

  #reserve(id: number, address: string): void {
    const port = 15_000 + id;
    this.#later((agent, nowMs) => agent.transportOpened(id, { address, port }, nowMs));
  }

  async #connect(id: number, request: Extract<IceRequest, { type: 'connect-tcp' }>): Promise<void> {
    try {
      const { localAddress, localPort, remote } = request;
      const local = { ...(localAddress ? { localAddress } : {}), ...(localPort ? { localPort } : {}) };
      const stream = await this.host.connectTcp({ ...remote, ...local });
      this.#run(id, stream);
      this.act((agent, nowMs) => agent.transportOpened(id, stream.local, nowMs));
    } catch {
      this.act((agent, nowMs) => agent.transportFailed(id, nowMs));
    }
  }

  #run(id: number, stream: SimStream): void {
    this.#endpoints.set(id, {
      send: (bytes) => void stream.write(bytes).catch(() => {}),
      close: () => stream.end(),
    });
    const read = async () => {
      for (let bytes = await stream.read(); bytes; bytes = await stream.read()) {
        const chunk = bytes;
        this.act((agent, nowMs) => agent.receive(id, chunk, stream.remote, nowMs));
      }
    };
    void read()
      .catch(() => {})
      .finally(() => this.act((agent, nowMs) => agent.transportFailed(id, nowMs)));
  }
}

/** Tells each the other's parameters now, and each candidate `delayMs` after it was found: trickle. */
export function trickle(a: SimTransport, b: SimTransport, delayMs = 0): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    const tell = (candidate: LocalCandidate | null) =>
      void from.host.clock.setTimer(delayMs, () =>
        to.act((agent, nowMs) =>
          candidate ? agent.addRemoteCandidate(candidate, nowMs) : agent.endOfCandidates(nowMs),
        ),
      );
    from.onCandidate = tell;
    to.act((agent, nowMs) => agent.setRemoteParameters(from.agent.localParameters, nowMs));
  }
}

/** Hands over everything known so far at this moment: both descriptions, complete. */
export function introduceNow(a: SimTransport, b: SimTransport): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    to.act((agent, nowMs) => {
      agent.setRemoteParameters(from.agent.localParameters, nowMs);
      for (const candidate of from.agent.localCandidates) agent.addRemoteCandidate(candidate, nowMs);
      agent.endOfCandidates(nowMs);
    });
  }
}
