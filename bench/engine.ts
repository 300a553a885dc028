/** Our own WebRTC stack against bare node-datachannel on loopback, runs in turn: throughput, CPU, set-up, round trip. */

import { type Contestant, Pair } from './peers/pair.ts';
import { median, ms, percentile, printTable, ratio, verdict } from './statistics.ts';
import { measureThroughput, type ThroughputRun } from './throughput.ts';

const RUNS = 5;
const SETUPS = 30;
const PINGS = 2000;
const ENGINES = ['bare', 'own'] as const satisfies readonly Contestant[];
type Engine = (typeof ENGINES)[number];

export async function benchEngine(): Promise<void> {
  await benchTransfer();
  await benchSetups();
  await benchPings();
}

async function benchTransfer(): Promise<void> {
  const rows = [['message', 'bare MB/s', 'own MB/s', 'ratio', 'bare CPU s/GB', 'own CPU s/GB', 'ratio', 'asked ≥ 1.0']];
  for (const size of [16 * 1024, 256 * 1024]) {
    const runs: Record<Engine, ThroughputRun[]> = { bare: [], own: [] };
    for (let run = 0; run < RUNS; run += 1) {
      for (const engine of ENGINES) runs[engine].push(await measureThroughput(engine, size));
    }
    const of = (engine: Engine, key: keyof ThroughputRun) => median(runs[engine].map((run) => run[key]));
    const faster = median(runs.own.map((run, at) => run.mbPerS / (runs.bare[at]?.mbPerS ?? Number.NaN)));
    const cheaper = median(runs.own.map((run, at) => (runs.bare[at]?.cpuSPerGb ?? Number.NaN) / run.cpuSPerGb));
    rows.push([
      `${size / 1024} KiB`,
      ...ENGINES.map((engine) => of(engine, 'mbPerS').toFixed(1)),
      ratio(faster),
      ...ENGINES.map((engine) => of(engine, 'cpuSPerGb').toFixed(1)),
      ratio(cheaper),
      verdict(faster >= 1 && cheaper >= 1),
    ]);
  }
  printTable(`Engines: reliable ordered messages, loopback, two processes, median of ${RUNS}`, rows);
}

async function benchSetups(): Promise<void> {
  const taken: Record<Engine, number[]> = { bare: [], own: [] };
  for (const engine of ENGINES) {
    await using pair = await Pair.open(engine);
    for (let attempt = -1; attempt < SETUPS; attempt += 1) {
      const connected = await pair.connect();
      if (attempt >= 0) taken[engine].push(connected.firstByteMs); // the first warms up
      await pair.disconnect(connected);
    }
  }
  printTable(`Engines: set-up on loopback until the first byte is there, ${SETUPS} in a row`, [
    ['', 'p50', 'p95'],
    ...ENGINES.map((engine) => [engine, ms(median(taken[engine])), ms(percentile(taken[engine], 0.95))]),
    ['asked of own', '≤ 5 ms', '≤ 10 ms'],
  ]);
}

async function benchPings(): Promise<void> {
  const taken: Record<Engine, number[]> = { bare: [], own: [] };
  for (const engine of ENGINES) {
    await using pair = await Pair.open(engine);
    const connected = await pair.connect();
    await pair.pipe.order({ order: 'echo' });
    for (let ping = -200; ping < PINGS; ping += 1) {
      const started = performance.now();
      await new Promise<void>((resolve) => {
        connected.endpoint.onMessage = () => resolve();
        void connected.endpoint.send(Buffer.alloc(64, 7));
      });
      if (ping >= 0) taken[engine].push(performance.now() - started);
    }
    await pair.disconnect(connected);
  }
  const share = median(taken.own) / median(taken.bare);
  printTable('Engines: round trip of 64 B, loopback, idle', [
    ['', 'p50', 'p99'],
    ...ENGINES.map((engine) => [engine, ms(median(taken[engine])), ms(percentile(taken[engine], 0.99))]),
    ['ratio', ratio(share), `asked ≤ 1.0: ${verdict(share <= 1)}`],
  ]);
}
