/** What a node costs when nothing happens: memory and wake-ups, alone and with one idle link. Linux only. */

import { readdirSync, readFileSync } from 'node:fs';
import { Nodes } from './nodes.ts';
import { Pair } from './peers/pair.ts';
import { printTable } from './statistics.ts';

const SETTLE_MS = 6_000;
const WATCH_MS = 20_000;

interface Cost {
  readonly daemonRss: number;
  readonly daemonPss: number;
  readonly holderRss: number;
  readonly holderPss: number;
  readonly wakeUpsPerS: number;
  readonly cpuPercent: number;
}

export async function benchIdle(): Promise<void> {
  if (process.platform !== 'linux') return console.log('idle: needs Linux');
  await using nodes = await Nodes.open();
  const alone = await watch(nodes);
  await nodes.pair();
  const linked = await watch(nodes);
  const bare = await watchBare();
  const row = (name: string, of: (cost: Cost) => string) => [name, of(alone), of(linked)];
  printTable(`An idle node, watched for ${WATCH_MS / 1000} s`, [
    ['', 'no link', 'one idle link'],
    row('daemon RSS (PSS), MB', (cost) => `${cost.daemonRss.toFixed(1)} (${cost.daemonPss.toFixed(1)})`),
    row('key holder RSS (PSS), MB', (cost) => `${cost.holderRss.toFixed(1)} (${cost.holderPss.toFixed(1)})`),
    row('both, PSS, MB; asked ≤ 120', (cost) => (cost.daemonPss + cost.holderPss).toFixed(1)),
    row('wake-ups a second', (cost) => cost.wakeUpsPerS.toFixed(1)),
    ['of these, an idle process with one bare engine connection', '', bare.toFixed(1)],
    row('CPU, % of a core', (cost) => cost.cpuPercent.toFixed(2)),
  ]);
}

/** Wake-ups a second of a process that holds one bare engine connection and nothing else. */
async function watchBare(): Promise<number> {
  await using pair = await Pair.open('bare');
  const connected = await pair.connect();
  await pause(SETTLE_MS);
  const before = contextSwitches(pair.peerPid);
  await pause(WATCH_MS);
  const rate = (contextSwitches(pair.peerPid) - before) / (WATCH_MS / 1000);
  await pair.disconnect(connected);
  return rate;
}

async function watch(nodes: Nodes): Promise<Cost> {
  await pause(SETTLE_MS);
  const { pid, key } = await nodes.status('a');
  await pause(1000); // the question itself woke it
  const before = { switches: contextSwitches(pid), cpu: cpuMs(pid) };
  await pause(WATCH_MS);
  return {
    ...memory(pid, 'daemon'),
    ...memory(key.pid, 'holder'),
    wakeUpsPerS: (contextSwitches(pid) - before.switches) / (WATCH_MS / 1000),
    cpuPercent: ((cpuMs(pid) - before.cpu) / WATCH_MS) * 100,
  } as Cost;
}

/** Resident and proportional memory in MB; the latter needs the right to trace, and falls back to the former. */
function memory(pid: number, name: string): Record<string, number> {
  const rss = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1000;
  let pss = rss;
  try {
    pss = Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1000;
  } catch {
    // not permitted
  }
  return { [`${name}Rss`]: rss, [`${name}Pss`]: pss };
}

/** Voluntary context switches of every thread: each is one wait that ended. */
function contextSwitches(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
    return sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
  }, 0);
}

function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10; // clock ticks of 10 ms
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
