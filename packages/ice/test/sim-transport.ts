/** A transport on a host of a simulated network, which keeps a record of what it did. */

import type { Host } from '@claw/simnet';
import { SimSockets, type SimSocketsOptions } from '@claw/simnet/ice';
import { seededRandom } from '@claw/testkit';
import {
  type EgressFacts,
  type IceAgent,
  type IceAgentOptions,
  IceTransport,
  type LocalCandidate,
} from '../src/index.ts';

export interface SimTransportOptions extends Partial<Omit<IceAgentOptions, 'output' | 'random' | 'useProxy'>> {
  readonly controlling: boolean;
  readonly seed?: number;
  /** Default: those of the host. */
  readonly addresses?: readonly string[];
  readonly proxy?: SimSocketsOptions['proxy'];
}

export class SimTransport {
  readonly host: Host;
  readonly received: string[] = [];
  readonly candidates: LocalCandidate[] = [];
  /** What the network was given, checks and data: `kind remote`. */
  readonly sent: { readonly kind: string; readonly to: string; readonly atMs: number }[] = [];
  writableAtMs: number | undefined;
  nominatedAtMs: number | undefined;
  onCandidate: (candidate: LocalCandidate | null) => void = () => {};
  readonly #transport: IceTransport;

  constructor(host: Host, options: SimTransportOptions) {
    const { egress, seed, proxy, ...rest } = options;
    this.host = host;
    this.#transport = new IceTransport({
      ...rest,
      sockets: new SimSockets(host, { proxy }),
      clock: host.clock,
      random: seededRandom(seed ?? (options.controlling ? 1 : 2)),
      egress: (facts: Readonly<EgressFacts>) => {
        const isPermitted = egress?.(facts) ?? true;
        const { kind, remote } = facts;
        if (isPermitted && kind !== 'connect' && kind !== 'resolve')
          this.sent.push({ kind, to: `${remote.address}:${remote.port}`, atMs: this.nowMs });
        return isPermitted;
      },
      events: {
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

  get selected(): string {
    const { local, remote } = this.agent.stats().selected ?? {};
    return `${local?.type} ${remote?.type}`;
  }

  get agent(): IceAgent {
    return this.#transport.agent;
  }

  get nowMs(): number {
    return this.host.clock.monotonicMs();
  }

  gather(): void {
    this.#transport.gather();
  }

  act<T>(call: (agent: IceAgent, nowMs: number) => T): T {
    return this.#transport.act(call);
  }

  /** One application datagram: a byte that DTLS would begin with, then the text. */
  say(text: string): boolean {
    return this.act((agent, nowMs) => agent.sendDatagram(Buffer.from(`\u0016${text}`, 'latin1'), nowMs));
  }

  close(): void {
    void this.#transport.close();
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
