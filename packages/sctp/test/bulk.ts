/** Bulk transfers in virtual time, and what they measure. */

import { type Link, type LinkOptions, percentile } from './link.ts';
import { Pair, type PairOptions } from './pair.ts';

const MESSAGE = Buffer.alloc(16_384);
const BUFFERED_BYTES = 1_000_000;

/** Keeps a's channel full, and counts what b gets. */
export class Bulk {
  readonly pair: Pair;
  receivedBytes = 0;

  constructor(pair: Pair, timerGrainMs = 0) {
    this.pair = pair;
    pair.a.timerGrainMs = timerGrainMs;
    pair.b.timerGrainMs = timerGrainMs;
    const channel = pair.a.open({ label: 'bulk', priority: 128 });
    channel.bufferedAmountLowThreshold = BUFFERED_BYTES / 2;
    const fill = () => {
      while (channel.bufferedAmount < BUFFERED_BYTES) channel.send(MESSAGE, pair.simulation.nowMs);
    };
    channel.onBufferedAmountLow = fill;
    pair.b.onMessage = ({ data }) => {
      this.receivedBytes += data.length;
    };
    fill();
    pair.a.settle();
  }
}

export interface BulkResult {
  readonly mbps: number;
  readonly queueP95Ms: number;
}

/** Megabits of payload a second, counted from `warmUpMs` on. */
export function measureBulk(link: LinkOptions, options: PairOptions, durationMs: number, warmUpMs = 0): BulkResult {
  const pair = new Pair(link, options).connect();
  const bulk = new Bulk(pair, 1);
  pair.run(warmUpMs);
  const before = bulk.receivedBytes;
  pair.forward.isRecording = true;
  pair.run(durationMs);
  return {
    mbps: ((bulk.receivedBytes - before) * 8) / durationMs / 1000,
    queueP95Ms: percentile(pair.forward.queueDelaysMs, 0.95),
  };
}

export interface ShareResult {
  readonly mbps: readonly number[];
  readonly forward: Link;
}

/** Flows of these kinds over one bottleneck. */
export function measureShares(
  link: LinkOptions,
  kinds: readonly PairOptions[],
  warmUpMs: number,
  durationMs: number,
): ShareResult {
  const first = new Pair(link, kinds[0]);
  const pairs = kinds.map((options, at) =>
    at === 0 ? first : new Pair({ ...link, seed: (link.seed ?? 1) + 10 * at }, options, first),
  );
  const bulks = pairs.map((pair) => new Bulk(pair.connect(), 1));
  first.run(warmUpMs);
  const before = bulks.map(({ receivedBytes }) => receivedBytes);
  first.forward.isRecording = true;
  first.run(durationMs);
  const mbps = bulks.map(({ receivedBytes }, at) => ((receivedBytes - before[at]!) * 8) / durationMs / 1000);
  return { mbps, forward: first.forward };
}

/** Round trips of 64 B on a channel of priority 1024 beside a full bulk channel, in milliseconds, one every `everyMs`. */
export function measureRoundTrips(link: LinkOptions, options: PairOptions, durationMs: number, everyMs = 7): number[] {
  const pair = new Pair(link, options).connect();
  const bulk = new Bulk(pair, 1);
  const pings = pair.a.open({ label: 'pings', priority: 1024 });
  pair.run(2000);
  const roundTripsMs: number[] = [];
  const startedMs: number[] = [];
  const count = bulk.pair.b.onMessage!;
  pair.b.onMessage = (message) => {
    if (message.channel.label === 'pings') pair.b.send(message.channel, message.data);
    else count(message);
  };
  pair.a.onMessage = ({ data }) => roundTripsMs.push(pair.simulation.nowMs - startedMs[data.readUInt32BE(0)]!);
  for (let spentMs = 0; spentMs < durationMs; spentMs += everyMs) {
    const ping = Buffer.alloc(64);
    ping.writeUInt32BE(startedMs.length);
    startedMs.push(pair.simulation.nowMs);
    pair.a.send(pings, ping);
    pair.run(everyMs);
  }
  return roundTripsMs;
}

/** How long after a path of its own each of many 64 B messages of priority 1024 arrives beside a full bulk channel, in milliseconds. */
export function measureUrgent(link: LinkOptions, options: PairOptions, durationMs: number, everyMs = 7.3): number[] {
  const pair = new Pair(link, options).connect();
  new Bulk(pair, 1);
  const urgent = pair.a.open({ label: 'urgent', priority: 1024 });
  pair.run(3000);
  const latenessMs: number[] = [];
  pair.b.onMessage = ({ channel, data }) => {
    if (channel.label === 'urgent') latenessMs.push(pair.simulation.nowMs - data.readDoubleBE(0) - (link.delayMs ?? 0));
  };
  for (let spentMs = 0; spentMs < durationMs; spentMs += everyMs) {
    const message = Buffer.alloc(64);
    message.writeDoubleBE(pair.simulation.nowMs);
    pair.a.send(urgent, message);
    pair.run(everyMs);
  }
  return latenessMs;
}
