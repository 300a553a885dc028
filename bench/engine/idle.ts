/** What 500 connections cost that only exist: memory and CPU of each end, and threads. Asked: 0.1 MB an end, 2 % of a core, no thread. */

import { costOfProcess, type ProcessCost } from '../peers/cost.ts';
import { Pair } from '../peers/pair.ts';
import { printTable, verdict } from '../statistics.ts';
import { ENGINES } from './engines.ts';

const CONNECTIONS = 500;
const SETTLE_MS = 10_000;
const WATCH_MS = 20_000;

export async function benchIdleConnections(): Promise<void> {
  const rows = [['', 'MB an end', 'CPU of 500, % of a core', 'threads more']];
  let isMet = false;
  for (const engine of ENGINES) {
    const { megabytes, cpuPercent, threads } = await measure(engine);
    isMet = megabytes <= 0.1 && cpuPercent <= 2 && threads === 0;
    rows.push([engine, megabytes.toFixed(3), cpuPercent.toFixed(2), String(threads)]);
  }
  rows.push(['asked of own', '≤ 0.1', '≤ 2', `0: ${verdict(isMet)}`]);
  printTable(`Engines: ${CONNECTIONS} idle connections between two processes, the answering one`, rows);
}

async function measure(engine: (typeof ENGINES)[number]) {
  await using pair = await Pair.open(engine);
  const cost = () => pair.pipe.order<ProcessCost>({ order: 'cost' });
  // The first is what the code itself takes.
  const first = await pair.connect();
  await pair.pipe.order({ order: 'keep' });
  const before = await cost();
  const endpoints = [first.endpoint];
  for (let count = 0; count < CONNECTIONS; count += 1) {
    endpoints.push((await pair.connect()).endpoint);
    await pair.pipe.order({ order: 'keep' });
  }
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const held = await cost();
  await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  const after = await cost();
  await Promise.all(endpoints.map((endpoint) => endpoint.close()));
  costOfProcess(); // what they held here is not the next engine's
  return {
    megabytes: (after.rssBytes - before.rssBytes) / CONNECTIONS / 1e6,
    cpuPercent: ((after.cpuMs - held.cpuMs) / WATCH_MS) * 100,
    threads: after.threads - before.threads,
  };
}
