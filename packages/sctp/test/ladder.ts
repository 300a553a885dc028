/**
 * The rungs of the impairment ladder in virtual time: two associations over UDP on
 * a simulated network, measured as the lab measures: whole messages of 16 KiB.
 */

import { type LinkSpec, loadScenarios, type Topology } from '@claw/scenarios';
import { openSimnet, type Simnet } from '@claw/simnet';
import { seededRandom } from '@claw/testkit';
import { End, type PairOptions } from './pair.ts';
import type { VirtualTime } from './simulation.ts';

/** What a DTLS 1.2 record adds. */
const DTLS_BYTES = 37;
const PORT = 5000;
const MESSAGE_BYTES = 16_384;
const HIGH_WATER_BYTES = 1_000_000;
const TIMER_GRAIN_MS = 1;
const CONNECT_MS = 60_000;
const PING_MS = 5000;
const STEP_MS = 10;

export interface LadderRun {
  readonly seed: number;
  /** Default 8,000, as in the lab. */
  readonly durationMs?: number;
  /** 64 B there and back, one after the other, before the transfer. */
  readonly pings?: number;
  readonly options?: PairOptions;
  readonly onStep?: (a: End, b: End, elapsedMs: number) => void;
}

export interface LadderResult {
  /** Of whole messages that arrived in time. */
  readonly mbps: number;
  readonly longestStallMs: number;
  readonly retransmissions: number;
  /** Packets of a that the path lost, and that its queue had no room for. */
  readonly lost: number;
  readonly queueDrops: number;
}

/** The network of a rung, with the links of a changed. */
export function rungTopology(rung: number, change: (link: LinkSpec) => LinkSpec = (link) => link): Topology {
  const scenario = loadScenarios().find(({ name }) => name.startsWith(`ladder/${rung}-`));
  const a = scenario?.topology.nodes['a'];
  const eth0 = a?.interfaces['eth0'];
  if (!scenario || !a || !eth0) throw new Error(`there is no rung ${rung}`);
  const changed = { ...eth0, up: change(eth0.up ?? {}), down: change(eth0.down ?? {}) };
  return { ...scenario.topology, nodes: { ...scenario.topology.nodes, a: { ...a, interfaces: { eth0: changed } } } };
}

export async function runLadder(topology: Topology, run: LadderRun): Promise<LadderResult> {
  const { seed, durationMs = 8000, pings = 10, options = {} } = run;
  using simnet = openSimnet(topology, { seed });
  const [a, b] = makeEnds(simnet, seed, options);
  const runUntil = async (isDone: () => boolean, withinMs: number) => {
    const endMs = simnet.nowMs + withinMs;
    while (!isDone() && simnet.nowMs < endMs) await simnet.run(simnet.nowMs + STEP_MS);
  };
  a.connect();
  b.connect();
  await runUntil(() => isUp(a) && isUp(b), CONNECT_MS);
  if (!isUp(a) || !isUp(b)) throw new Error(`seed ${seed}: not connected in ${CONNECT_MS} ms`);
  const channel = a.open({ label: 'bulk' });
  const arrivalsMs: number[] = [];
  let pongs = 0;
  b.onMessage = ({ channel: from, data }) => {
    if (data.length < MESSAGE_BYTES) b.send(from, data);
    else arrivalsMs.push(simnet.nowMs);
  };
  a.onMessage = () => pongs++;
  for (let ping = 0; ping < pings; ping++) {
    a.send(channel, Buffer.alloc(64));
    await runUntil(() => pongs > ping, PING_MS);
  }
  const startMs = simnet.nowMs;
  const before = { ...simnet.linkCounts('a', 'eth0', 'up'), ...a.association.statistics };
  const message = Buffer.alloc(MESSAGE_BYTES);
  const fill = () => {
    while (channel.bufferedAmount < HIGH_WATER_BYTES) channel.send(message, simnet.nowMs);
  };
  channel.bufferedAmountLowThreshold = HIGH_WATER_BYTES / 2;
  channel.onBufferedAmountLow = fill;
  fill();
  a.settle();
  for (let elapsedMs = STEP_MS; elapsedMs <= durationMs; elapsedMs += STEP_MS) {
    await simnet.run(startMs + elapsedMs);
    run.onStep?.(a, b, elapsedMs);
  }
  const after = { ...simnet.linkCounts('a', 'eth0', 'up'), ...a.association.statistics };
  const timesMs = [startMs, ...arrivalsMs, simnet.nowMs];
  return {
    mbps: (arrivalsMs.length * MESSAGE_BYTES * 8) / durationMs / 1000,
    longestStallMs: Math.max(...timesMs.map((ms, index) => ms - (timesMs[index - 1] ?? ms))),
    retransmissions: after.retransmissions - before.retransmissions,
    lost: after.lost - before.lost,
    queueDrops: after.queueDrops - before.queueDrops,
  };
}

const isUp = (end: End) => end.association.state === 'connected';

function makeEnds(simnet: Simnet, seed: number, options: PairOptions): [End, End] {
  const { clock } = simnet.host('a');
  const time: VirtualTime = {
    get nowMs() {
      return simnet.nowMs;
    },
    at: (atMs, fire) => void clock.setTimer(atMs - simnet.nowMs, fire),
  };
  const sockets = (['a', 'b'] as const).map((name) => {
    const host = simnet.host(name);
    const address = host.addresses().find((each) => each.address.includes(':'))?.address ?? '';
    return { socket: host.bindUdp({ port: PORT, address }), address };
  });
  const record = Buffer.alloc(DTLS_BYTES);
  const ends = sockets.map(({ socket }, index) => {
    const peer = { address: sockets[1 - index]!.address, port: PORT };
    const send = (packet: Buffer) => socket.send(Buffer.concat([packet, record]), peer);
    const random = seededRandom(seed * 100 + index + 1);
    const end = new End(time, { maxPacketBytes: 1395, ...options, random, send }, index === 0);
    end.timerGrainMs = TIMER_GRAIN_MS;
    socket.onMessage((bytes) => end.receive(bytes.subarray(0, bytes.length - DTLS_BYTES)));
    return end;
  });
  return ends as [End, End];
}

export function geometricMean(values: readonly number[], least: number): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(Math.max(value, least)), 0) / values.length);
}
