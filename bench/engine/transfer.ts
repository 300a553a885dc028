/** Throughput and its price in CPU: reliable ordered messages on loopback, runs in turn. Asked: at least 1.0 × both. */

import { median } from '@claw/testkit/statistics';
import { printTable, ratio, verdict } from '../statistics.ts';
import { measureThroughput, type ThroughputRun } from '../throughput.ts';
import { ENGINES, type Engine, perEngine } from './engines.ts';

const RUNS = 5;

export async function benchTransfer(): Promise<void> {
  const rows = [['message', 'bare MB/s', 'own MB/s', 'ratio', 'bare CPU s/GB', 'own CPU s/GB', 'ratio', 'asked ≥ 1.0']];
  for (const size of [16 * 1024, 256 * 1024]) {
    const runs = perEngine<ThroughputRun[]>(() => []);
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
