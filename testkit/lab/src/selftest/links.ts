/**
 * What the links of netd do, measured between two hosts on one network by `ping`,
 * `iperf3` and a counted stream of UDP packets. Each figure is measured in enough
 * packets that chance alone keeps well within the tolerance.
 */

import { once } from 'node:events';
import type { LinkSpec, Topology } from '@claw/scenarios';
import { median } from '@claw/testkit/statistics';
import { finished } from '../world/command.ts';
import { nativeProgram } from '../world/native.ts';
import { type OpenedLab, openLab } from '../world/open-lab.ts';
import { figureRow, limitRow, type SelftestRow } from './row.ts';

const B = '20.0.0.2';
const PORT = 5201;
const UDP_BYTES = 64;
const UDP_PACKETS_PER_SECOND = 60_000;
/** Frame to TCP payload of a full segment with timestamps. */
const FRAME_BYTES = 1514;
const SEGMENT_BYTES = 1448;

const TOPOLOGY: Topology = {
  networks: { net: { ipv4: '20.0.0.0/16' } },
  nodes: {
    a: { kind: 'host', interfaces: { eth0: { network: 'net', ipv4: '20.0.0.1' } } },
    b: { kind: 'host', interfaces: { eth0: { network: 'net', ipv4: B } } },
  },
};

export async function* linkRows(seed: number): AsyncGenerator<SelftestRow> {
  await using lab = await openLab(TOPOLOGY, { seed });
  await using server = startIperf(lab);
  await server.ready;
  const pings = await ping(lab, 300, 0.005);
  yield limitRow('perfect link, added round trip p50', '<', 1, median(pings), 'ms');
  yield limitRow('perfect link, TCP', '≥', 500, await tcpMegabits(lab, 3), 'Mbit/s');
  yield* rateRows(lab);
  yield await bucketRow(lab);
  yield* delayRows(lab);
  yield* shareRows(lab);
}

async function* rateRows(lab: OpenedLab): AsyncGenerator<SelftestRow> {
  for (const megabits of [10, 100, 500]) {
    // A queue of 20 ms keeps TCP busy without a delay of its own.
    await setLink(lab, { rateBitsPerSecond: megabits * 1e6, queueBytes: Math.max(64_000, megabits * 2500) });
    yield figureRow(`rate ${megabits} Mbit/s, frames of TCP`, megabits, await tcpMegabits(lab, 4), 'Mbit/s');
  }
}

/** Frames wait for tokens only once the burst is spent; over seconds the rate is the bucket's. */
async function bucketRow(lab: OpenedLab): Promise<SelftestRow> {
  await setLink(lab, { tokenBucket: { rateBitsPerSecond: 50e6, burstBytes: 64_000 }, queueBytes: 125_000 });
  return figureRow('token bucket 50 Mbit/s, frames of TCP', 50, await tcpMegabits(lab, 4), 'Mbit/s');
}

async function* delayRows(lab: OpenedLab): AsyncGenerator<SelftestRow> {
  for (const [delayMs, count] of [
    [5, 200],
    [50, 100],
    [200, 50],
  ] as const) {
    await setLink(lab, { delayMs });
    yield figureRow(`delay ${delayMs} ms, p50`, delayMs, median(await ping(lab, count, 0.01)), 'ms');
  }
  // Uniform in ± j has the standard deviation j / √3. Pings are further apart than the jitter, so order binds none.
  await setLink(lab, { delayMs: 20, jitterMs: 4 });
  yield figureRow('jitter ± 4 ms, deviation', 4 / Math.sqrt(3), deviation(await ping(lab, 600, 0.01)), 'ms');
}

interface ShareCase {
  readonly what: string;
  readonly link: LinkSpec;
  readonly share: number;
  readonly packets: number;
  read(counted: Counted, sent: number): number;
}

const lost = (counted: Counted, sent: number) => 1 - counted.unique / sent;

const SHARES: readonly ShareCase[] = [
  { what: 'loss 1 %', link: { loss: { model: 'bernoulli', share: 0.01 } }, share: 0.01, packets: 800_000, read: lost },
  { what: 'loss 5 %', link: { loss: { model: 'bernoulli', share: 0.05 } }, share: 0.05, packets: 200_000, read: lost },
  { what: 'loss 25 %', link: { loss: { model: 'bernoulli', share: 0.25 } }, share: 0.25, packets: 200_000, read: lost },
  {
    what: 'loss in bursts (Gilbert–Elliott), average',
    link: { loss: { model: 'gilbert-elliott', goodToBad: 0.02, badToGood: 0.25, lossInGood: 0.001, lossInBad: 0.7 } },
    // Bad with 0.02 / 0.27.
    share: (0.02 * 0.7 + 0.25 * 0.001) / 0.27,
    packets: 400_000,
    read: lost,
  },
  {
    what: 'reordered 5 %',
    link: { reorder: { share: 0.05, holdMs: 5 } },
    share: 0.05,
    packets: 200_000,
    read: (counted, sent) => counted.late / sent,
  },
  {
    what: 'duplicated 5 %',
    link: { duplicateShare: 0.05 },
    share: 0.05,
    packets: 200_000,
    read: (counted, sent) => counted.duplicates / sent,
  },
  // One bit of a UDP packet turned over always fails its checksum, so the receiver's kernel drops it.
  { what: 'corrupted 5 %', link: { corruptShare: 0.05 }, share: 0.05, packets: 200_000, read: lost },
];

async function* shareRows(lab: OpenedLab): AsyncGenerator<SelftestRow> {
  for (const { what, link, share, packets, read } of SHARES) {
    await setLink(lab, link);
    const counted = await countPackets(lab, packets);
    yield figureRow(`${what}, ${packets / 1000} k packets`, share * 100, read(counted, packets) * 100, '%');
  }
}

interface Counted {
  readonly received: number;
  readonly unique: number;
  readonly duplicates: number;
  readonly late: number;
}

async function countPackets(lab: OpenedLab, packets: number): Promise<Counted> {
  const program = nativeProgram('udpload');
  const receiver = lab.spawn('b', [program, 'receive', '9000', '500'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const counted = finished(receiver, 'udpload receive');
  if (receiver.stdout) await once(receiver.stdout, 'data');
  const rate = [packets, UDP_BYTES, UDP_PACKETS_PER_SECOND].map(String);
  await finished(lab.spawn('a', [program, 'send', B, '9000', ...rate]), 'udpload send');
  return JSON.parse((await counted).replace('ready', '')) as Counted;
}

function setLink(lab: OpenedLab, link: LinkSpec): Promise<void> {
  return lab.apply({ atMs: 0, do: 'set-link', node: 'a', interface: 'eth0', direction: 'up', link });
}

/** Round trips, milliseconds. */
async function ping(lab: OpenedLab, count: number, intervalS: number): Promise<number[]> {
  const command = ['ping', '-n', '-c', String(count), '-i', String(intervalS), B] as const;
  const text = await finished(lab.spawn('a', [...command], { stdio: ['ignore', 'pipe', 'pipe'] }), 'ping');
  return [...text.matchAll(/time=([\d.]+) ms/g)].map(([, ms]) => Number(ms));
}

function startIperf(lab: OpenedLab) {
  const child = lab.spawn('b', ['iperf3', '-s', '-p', String(PORT), '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ready = child.stdout ? once(child.stdout, 'data') : Promise.resolve();
  return { ready, [Symbol.asyncDispose]: async () => void child.kill() };
}

/** At the receiver, as frames on the wire. */
async function tcpMegabits(lab: OpenedLab, seconds: number): Promise<number> {
  // The first second is TCP finding its rate.
  const command = ['iperf3', '-c', B, '-p', String(PORT), '-t', String(seconds), '-O', '1', '-J'] as const;
  const text = await finished(lab.spawn('a', [...command], { stdio: ['ignore', 'pipe', 'pipe'] }), 'iperf3');
  const result = JSON.parse(text) as { end: { sum_received: { bits_per_second: number } } };
  return ((result.end.sum_received.bits_per_second / 1e6) * FRAME_BYTES) / SEGMENT_BYTES;
}

function deviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}
