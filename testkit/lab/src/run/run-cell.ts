/**
 * One cell: the scenario's network is built, the contestant's two peers are
 * started in it and joined, the pings, the transfer or the watch are measured
 * while the scenario's events happen, and all of it is taken down again. What a
 * contestant cannot do is a result; what the lab cannot do is one too, by name.
 */

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClawError, errorText, isClawError, sleep } from '@claw/base';
import { type Scenario, SERVICES_HOST } from '@claw/scenarios';
import { percentile } from '@claw/testkit/statistics';
import { contestantEntry } from '../contestants/adapters/index.ts';
import { type ConnectedPeers, connectPeers } from '../contestants/connect-peers.ts';
import type { SpawnContestant } from '../contestants/contestant-process.ts';
import { BUCKET_MS, type BulkMeasured, type Measured, type Role, type WatchMeasured } from '../contestants/contract.ts';
import { sharedClock } from '../contestants/shared-clock.ts';
import type { BulkResult, CellResult, WatchResult } from '../results.ts';
import type { Lab } from '../world/contract.ts';
import { openLab } from '../world/open-lab.ts';
import type { PlannedCell } from './plan.ts';

export interface RunCellOptions {
  readonly captureFolder?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CellOutput {
  readonly result: CellResult;
  /** What the contestant said its version is. */
  readonly version?: string;
}

const DEFAULT_PINGS = 20;

export async function runCell(cell: PlannedCell, options: RunCellOptions = {}): Promise<CellOutput> {
  const { scenario, contestant, round, seed } = cell;
  const facts = { scenario: scenario.name, contestant, round, seed };
  if (scenario.simnetOnly) {
    return { result: { ...facts, outcome: 'skipped', reason: `simnet only: ${scenario.simnetOnly}` } };
  }
  const folder = await mkdtemp(join(tmpdir(), 'claw-lab-cell-'));
  try {
    const captureFolder = await captureFolderOf(cell, options.captureFolder);
    await using lab = await openLab(scenario.topology, {
      seed,
      ...(captureFolder === undefined ? {} : { captureFolder }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    await using peers = await connectIn(lab, cell, folder, options.signal);
    const result = { ...facts, ...(await measureCell(lab, scenario, peers, contestant)) };
    return { result, version: peers.version };
  } catch (error) {
    options.signal?.throwIfAborted();
    const code = error instanceof ClawError ? `${error.code}: ` : '';
    return { result: { ...facts, outcome: 'skipped', reason: `${code}${errorText(error)}` } };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function captureFolderOf({ scenario, contestant, round }: PlannedCell, root: string | undefined) {
  if (root === undefined) return undefined;
  const folder = join(root, scenario.name.replaceAll('/', '-'), `${contestant}-${round}`);
  await mkdir(folder, { recursive: true });
  return folder;
}

async function connectIn(lab: Lab, cell: PlannedCell, folder: string, signal?: AbortSignal): Promise<ConnectedPeers> {
  const { scenario, contestant, seed } = cell;
  const on =
    (node: string): SpawnContestant =>
    (command, options) =>
      lab.spawn(node, command, options);
  const place = async (role: Role) => {
    const own = join(folder, role);
    await mkdir(own);
    return {
      services: lab.services,
      peerAddresses: addressesOf(scenario, role === 'a' ? 'b' : 'a'),
      proxyOnly: scenario.proxyOnly[role],
      seed: (seed + (role === 'a' ? 0 : 1)) >>> 0,
      folder: own,
    };
  };
  return connectPeers({
    name: contestant,
    spawnA: on('a'),
    spawnB: on('b'),
    spawnServer: contestantEntry(contestant).server ? on(SERVICES_HOST) : undefined,
    contextA: await place('a'),
    contextB: await place('b'),
    signalDelayMs: scenario.signalDelayMs,
    timeoutMs: scenario.connectTimeoutMs,
    signal,
  });
}

/** Addresses under which the other peer would be dialled: its own, and those of the routers before it that the Internet sees. */
function addressesOf(scenario: Scenario, role: Role): string[] {
  const { nodes } = scenario.topology;
  const own = Object.values(nodes[role]?.interfaces ?? {}).filter((spec) => spec.enabled ?? true);
  const routers = Object.entries(nodes).filter(([name]) => name.startsWith(`${role}-r`));
  const outside = routers.flatMap(([, node]) => node.interfaces['outside'] ?? []);
  return [...own, ...outside]
    .filter(({ network }) => !network.startsWith('mid'))
    .flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].filter((address) => address !== undefined));
}

async function measureCell(
  lab: Lab,
  scenario: Scenario,
  peers: ConnectedPeers,
  contestant: string,
): Promise<Omit<CellResult, 'scenario' | 'contestant' | 'round' | 'seed'>> {
  const connectPackets = lab.traffic('a').packetsOut + lab.traffic('b').packetsOut;
  if (!peers.connected) return { outcome: 'failed', reason: reasonOf(peers, contestant), connectPackets };
  const { bulkMs = 0, watchMs = 0, pings = DEFAULT_PINGS } = scenario.measure;
  const connected = {
    outcome: 'connected',
    connectPackets,
    ...(peers.path ? { path: peers.path } : {}),
    ...(peers.connectMs === undefined ? {} : { connectMs: peers.connectMs }),
  } as const;
  let before: Measured | undefined;
  try {
    before = await peers.a.measure({ pings, bulkMs: 0, watchMs: 0 });
    const cpuBefore = lab.cpuMs('a') + lab.cpuMs('b');
    const main =
      bulkMs + watchMs > 0 && before.ended === undefined
        ? await withEvents(lab, scenario, () => peers.a.measure({ pings: 0, bulkMs, watchMs }))
        : undefined;
    const cpuMs = lab.cpuMs('a') + lab.cpuMs('b');
    const ended = before.ended ?? main?.ended;
    const pathAfter = main?.pathAfter ?? before.pathAfter;
    return {
      ...connected,
      cpuMs,
      ...roundTripOf(before),
      ...(main?.bulk ? { bulk: bulkResult(main.bulk, cpuMs - cpuBefore) } : {}),
      ...(main?.watch ? { watch: watchResult(main.watch, watchMs) } : {}),
      ...(pathAfter ? { pathAfter } : {}),
      ...(ended === undefined ? {} : { reason: ended }),
    };
  } catch (error) {
    if (!isClawError(error)) throw error;
    return { ...connected, ...(before ? roundTripOf(before) : {}), reason: error.message };
  }
}

/** Runs `measure`, and the scenario's events beside it. */
async function withEvents(lab: Lab, scenario: Scenario, measure: () => Promise<Measured>): Promise<Measured> {
  const over = new AbortController();
  const happen = async () => {
    const startMs = sharedClock.monotonicMs();
    for (const event of scenario.events.toSorted((one, other) => one.atMs - other.atMs)) {
      await sleep(sharedClock, Math.max(0, startMs + event.atMs - sharedClock.monotonicMs()), over.signal);
      await lab.apply(event);
    }
  };
  const events = happen().catch((error: unknown) => {
    if (!over.signal.aborted) throw error;
  });
  try {
    // A failing event ends the cell at once; the measurement's own end is not waited for.
    const [measured] = await Promise.race([Promise.all([measure(), events]), rejectionOf(events)]);
    return measured;
  } finally {
    over.abort();
  }
}

function rejectionOf(promise: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => {
    promise.catch(reject);
  });
}

function reasonOf({ reasons }: ConnectedPeers, contestant: string): string {
  const { a, b } = reasons;
  const clean = (text: string) => text.replace(new RegExp(`^${contestant} [ab] `), '');
  if (a !== undefined && b !== undefined) return clean(a) === clean(b) ? clean(a) : `a: ${clean(a)}; b: ${clean(b)}`;
  return a !== undefined ? `a: ${clean(a)}` : `b: ${clean(b ?? 'no reason given')}`;
}

function roundTripOf({ roundTripMs }: Measured): Pick<CellResult, 'roundTrip'> {
  const known = roundTripMs.filter((value) => value !== null);
  const lost = roundTripMs.length - known.length;
  if (known.length === 0) return {};
  const count = roundTripMs.length;
  const roundTrip = {
    minMs: Math.min(...known),
    p50Ms: percentile(known, 0.5),
    p95Ms: percentile(known, 0.95),
    lost,
    count,
  };
  return { roundTrip };
}

function bulkResult({ bytes, durationMs, stallMs, timeline }: BulkMeasured, cpuMs: number): BulkResult {
  const megabits = (count: number, ms: number) => (ms > 0 ? (count * 8) / 1000 / ms : 0);
  return {
    megabitsPerSecond: megabits(bytes, durationMs),
    stallMs,
    ...(bytes > 0 ? { cpuSecondsPerGb: cpuMs / 1000 / (bytes / 1e9) } : {}),
    bucketMs: BUCKET_MS,
    rate: timeline.map((bucket) => megabits(bucket.bytes, BUCKET_MS)),
    delay: timeline.map((bucket) => bucket.delayMs),
  };
}

function watchResult({ longestGapMs, sent, received, timeline }: WatchMeasured, durationMs: number): WatchResult {
  return {
    durationMs,
    longestGapMs: Math.max(longestGapMs.a, longestGapMs.b),
    sent: sent.a + sent.b,
    received: received.a + received.b,
    bucketMs: BUCKET_MS,
    delay: timeline,
  };
}
