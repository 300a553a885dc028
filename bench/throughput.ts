/** Throughput of reliable ordered messages against bare node-datachannel, runs in turn. Asked: at least 0.8 ×. */

import { median } from '@claw/testkit/statistics';
import { type Contestant, Pair } from './peers/pair.ts';
import { printTable, ratio, verdict } from './statistics.ts';

const RUNS = 5;
const SIZES = [16 * 1024, 256 * 1024];
const BYTES = 384 * 1024 * 1024;

export interface ThroughputRun {
  readonly mbPerS: number;
  readonly cpuSPerGb: number;
}

/** 96 MiB from this process to the other. */
export async function measureThroughput(contestant: Contestant, size: number): Promise<ThroughputRun> {
  await using pair = await Pair.open(contestant);
  const connected = await pair.connect();
  const counted = pair.pipe.order<{ ms: number; cpuMs: number }>({ order: 'count', bytes: BYTES });
  const message = Buffer.alloc(size, 0x5a);
  const cpu = process.cpuUsage();
  let done = false;
  void counted.then(() => {
    done = true;
  });
  while (!done) {
    await connected.endpoint.send(message);
    // A send that did not wait still lets arrivals and timers through now and then.
    if (Math.random() < 0.02) await new Promise((resolve) => setImmediate(resolve));
  }
  const { user, system } = process.cpuUsage(cpu);
  const { ms, cpuMs } = await counted;
  await pair.disconnect(connected);
  return { mbPerS: BYTES / 1e6 / (ms / 1000), cpuSPerGb: ((user + system) / 1e6 + cpuMs / 1000) / (BYTES / 1e9) };
}

export async function benchThroughput(): Promise<void> {
  const rows = [['message', 'bare MB/s', 'link MB/s', 'ratio', 'bare CPU s/GB', 'link CPU s/GB', 'asked ≥ 0.8']];
  for (const size of SIZES) {
    const runs: { bare: ThroughputRun[]; link: ThroughputRun[] } = { bare: [], link: [] };
    for (let run = 0; run < RUNS; run += 1) {
      runs.bare.push(await measureThroughput('bare', size));
      runs.link.push(await measureThroughput('link', size));
    }
    const of = (list: ThroughputRun[], key: keyof ThroughputRun) => median(list.map((run) => run[key]));
    const share = median(runs.link.map((run, index) => run.mbPerS / (runs.bare[index] as ThroughputRun).mbPerS));
    rows.push([
      `${size / 1024} KiB`,
      of(runs.bare, 'mbPerS').toFixed(1),
      of(runs.link, 'mbPerS').toFixed(1),
      ratio(share),
      of(runs.bare, 'cpuSPerGb').toFixed(1),
      of(runs.link, 'cpuSPerGb').toFixed(1),
      verdict(share >= 0.8),
    ]);
  }
  printTable(`Throughput, reliable ordered, loopback, two processes, median of ${RUNS} (ratio pair by pair)`, rows);
}
