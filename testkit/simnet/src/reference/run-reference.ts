/** Two reference peers on the hosts `a` and `b` of a scenario, in virtual time: what a plain hole puncher gets out of it. */

import { isClawError } from '@claw/base';
import type { Scenario } from '@claw/scenarios';
import { randomStream } from '../core/random-stream.ts';
import type { Host } from '../host/host.ts';
import type { Endpoint } from '../nat/flow.ts';
import { openSimnet, type Simnet } from '../simnet.ts';
import { ReferencePeer, type ReferenceSignal } from './reference-peer.ts';
import type { StreamPlan, TrafficCounts } from './traffic.ts';

export interface ReferenceResult {
  readonly connected: boolean;
  readonly path?: 'direct';
  /** From the start until both sides had a path. */
  readonly connectMs?: number;
  /** Of a's pings; null for one without an answer. */
  readonly roundTripMs: readonly (number | null)[];
  /** Datagrams of both sides until connected or failed. */
  readonly packetsSpent: number;
  /** Of the stream from a to b; undefined when the scenario measures none. */
  readonly stream?: ReferenceStream;
  /** The packets of the run, when `record` was asked for. */
  readonly capture?: Buffer;
}

export interface ReferenceStream {
  readonly sent: number;
  readonly received: number;
  readonly lossShare: number;
  readonly meanDelayMs: number;
  readonly longestGapMs: { readonly a: number; readonly b: number };
}

export interface RunReferenceOptions {
  readonly seed: number;
  readonly record?: boolean;
}

const STUN_PORT = 3478;
const PEER_PORT = 50_000;
const PING_EVERY_MS = 100;
const PING_TAIL_MS = 5000;
const WATCH: Omit<StreamPlan, 'durationMs'> = { bytes: 64, everyMs: 50 };
/** About 2 Mbit/s. */
const BULK: Omit<StreamPlan, 'durationMs'> = { bytes: 1200, everyMs: 5 };

/** Connects, pings, then streams both ways while the scenario's events happen. */
export async function runReference(scenario: Scenario, options: RunReferenceOptions): Promise<ReferenceResult> {
  const simnet = openSimnet(scenario.topology, { seed: options.seed, record: options.record ?? false });
  try {
    const a = new Runner(simnet, 'a', scenario, options.seed);
    const b = new Runner(simnet, 'b', scenario, options.seed);
    a.connectSignals(b);
    b.connectSignals(a);
    a.pump();
    b.pump();
    await runUntilSettled(simnet, [a, b], scenario.connectTimeoutMs);
    const connected = a.peer.state === 'connected' && b.peer.state === 'connected';
    if (connected) await measure(simnet, a, b, scenario);
    const stream = streamOf(a.peer.counts(), b.peer.counts());
    return {
      connected,
      ...(connected ? { path: 'direct', connectMs: Math.max(a.peer.connectMs ?? 0, b.peer.connectMs ?? 0) } : {}),
      roundTripMs: a.peer.counts().roundTripMs,
      packetsSpent: a.peer.packetsSpent + b.peer.packetsSpent,
      ...(stream ? { stream } : {}),
      ...(options.record ? { capture: simnet.capture() } : {}),
    };
  } finally {
    simnet.close();
  }
}

/** Until both have a path or one gave up. */
async function runUntilSettled(simnet: Simnet, runners: readonly Runner[], limitMs: number): Promise<void> {
  const settled = new Promise<void>((resolve) => {
    const look = () => {
      const states = runners.map(({ peer }) => peer.state);
      if (states.includes('failed') || states.every((state) => state === 'connected')) resolve();
    };
    for (const runner of runners) runner.onPumped = look;
  });
  try {
    await simnet.runUntil(settled, limitMs);
  } catch (error) {
    if (!isClawError(error, 'SIMNET_STALLED')) throw error;
  }
}

async function measure(simnet: Simnet, a: Runner, b: Runner, { measure: wanted, events }: Scenario): Promise<void> {
  for (let ping = 0; ping < (wanted.pings ?? 20); ping += 1) {
    a.peer.ping(a.nowMs);
    a.pump();
    await simnet.run(simnet.nowMs + PING_EVERY_MS);
  }
  const durationMs = Math.max(wanted.watchMs ?? 0, wanted.bulkMs ?? 0);
  if (durationMs > 0) {
    simnet.schedule(events);
    const plan = wanted.bulkMs ? BULK : WATCH;
    a.peer.beginStream({ ...plan, durationMs }, a.nowMs);
    b.peer.beginStream({ ...WATCH, durationMs }, b.nowMs);
    a.pump();
    b.pump();
  }
  await simnet.run(simnet.nowMs + durationMs + PING_TAIL_MS);
}

function streamOf(a: TrafficCounts, b: TrafficCounts): ReferenceStream | undefined {
  if (a.streamSent === 0) return undefined;
  const totalDelayMs = b.streamDelayMs.reduce((sum, delayMs) => sum + delayMs, 0);
  return {
    sent: a.streamSent,
    received: b.streamReceived,
    lossShare: 1 - b.streamReceived / a.streamSent,
    meanDelayMs: b.streamReceived === 0 ? 0 : totalDelayMs / b.streamReceived,
    longestGapMs: { a: a.longestGapMs, b: b.longestGapMs },
  };
}

/** Runs one peer on a host: a socket, a timer, and the way to the other for signals. */
class Runner {
  readonly peer: ReferencePeer;
  onPumped: () => void = () => {};
  readonly #simnet: Simnet;
  readonly #host: Host;
  readonly #socket;
  readonly #signalDelayMs: number;
  #other: Runner | undefined;
  #timer: { cancel(): void } | undefined;

  constructor(simnet: Simnet, role: 'a' | 'b', scenario: Scenario, seed: number) {
    this.#simnet = simnet;
    this.#host = simnet.host(role);
    this.#signalDelayMs = scenario.signalDelayMs;
    this.#socket = this.#host.bindUdp({ port: PEER_PORT });
    const local = this.#host.addresses().map(({ address }) => ({ address, port: PEER_PORT }));
    const stunServers = stunServersOf(scenario);
    this.peer = new ReferencePeer({ role, local, stunServers, random: randomStream(seed, `reference ${role}`) });
    this.#socket.onMessage((bytes, from, to) => {
      this.peer.handle(bytes, from, to, this.nowMs);
      this.pump();
    });
  }

  /** One clock for both peers, so that one-way delays can be told. */
  get nowMs(): number {
    return this.#simnet.nowMs;
  }

  connectSignals(other: Runner): void {
    this.#other = other;
  }

  pump(): void {
    const { datagrams, signals, deadlineMs } = this.peer.poll(this.nowMs);
    for (const { bytes, from, to } of datagrams) this.#send(bytes, from, to);
    for (const signal of signals) this.#other?.receiveSignal(signal);
    this.#timer?.cancel();
    if (deadlineMs !== undefined) this.#timer = this.#host.clock.setTimer(deadlineMs - this.nowMs, () => this.pump());
    this.onPumped();
  }

  receiveSignal(signal: ReferenceSignal): void {
    this.#host.clock.setTimer(this.#signalDelayMs, () => {
      this.peer.handleSignal(signal, this.nowMs);
      this.pump();
    });
  }

  #send(bytes: Buffer, from: Endpoint, to: Endpoint): void {
    try {
      this.#socket.send(bytes, to, from.address);
    } catch (error) {
      // An address or a route is gone: the same as a packet lost.
      if (!isClawError(error)) throw error;
    }
  }
}

function stunServersOf(scenario: Scenario): Endpoint[] {
  const services = scenario.topology.nodes['services'];
  const turn = services?.services?.find((service) => service.kind === 'turn');
  if (!services || turn?.kind !== 'turn') return [];
  const addresses = Object.values(services.interfaces).flatMap((each) => [each.ipv4, each.ipv6]);
  return addresses
    .filter((address) => address !== undefined)
    .map((address) => ({ address, port: turn.udp ?? STUN_PORT }));
}
