/**
 * A topology as network namespaces of this machine's kernel, joined by netd.
 *
 * Whatever ends it, nothing is left: closing, an abort, the exit of this process or
 * a signal take it away; after a crash the orphaned netd does, and if that died as
 * well the next lab that opens. What is removed is what the run's record names.
 */

import { type ChildProcess, execFileSync, type SpawnOptions } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkTopology, type ScenarioEvent, type Topology } from '@claw/scenarios';
import { buildNetwork, SWEEP_SCRIPT } from './build.ts';
import { canUseLab } from './can-use-lab.ts';
import { Captures } from './capture.ts';
import type { Lab } from './contract.ts';
import { findHierarchy, groupCpuMs, groupProcs, makeGroup, ownGroup } from './control-group.ts';
import { labError } from './errors.ts';
import { applyEvent, nodeOf, type World } from './events.ts';
import { forgetOnExit, removeOnExit } from './exit-cleanup.ts';
import { type InterfaceCounts, Netd } from './netd.ts';
import { firstIpv4, type NodePlan, planNodes } from './node-plan.ts';
import { NodeRunner } from './node-runner.ts';
import { type RunRecord, recordRun, removeRun, runFolder, sweepOrphans } from './run-record.ts';
import { openServices } from './services/open-services.ts';

export interface OpenLabOptions {
  /** Same seed, same losses, jitter and random ports of user-space NATs. */
  readonly seed: number;
  /** 1 to 8 of a-z and 0-9, part of every name. Default: random. */
  readonly runId?: string;
  /** A capture of each node is written here. Default: none. */
  readonly captureFolder?: string;
  /** Aborting closes the lab, or stops opening it. */
  readonly signal?: AbortSignal;
}

/** What the world offers beyond the contract: for the self-test and for people. */
export interface OpenedLab extends Lab {
  readonly runId: string;
  /** What netd counted on an interface. */
  counts(node: string, interfaceName: string): Promise<InterfaceCounts>;
}

/** Throws TOPOLOGY_INVALID and the codes of {@link labError}; nothing is left of a lab that did not open. */
export async function openLab(topology: Topology, options: OpenLabOptions): Promise<OpenedLab> {
  const availability = canUseLab();
  if (!availability.ok) throw labError('LAB_UNAVAILABLE', availability.reason);
  options.signal?.throwIfAborted();
  const runId = options.runId ?? randomBytes(3).toString('hex');
  checkTopology(topology, `lab ${runId}`);
  checkNames(runId, topology);
  sweepOrphans();

  const nodes = planNodes(topology, (node) => `claw-${runId}-${node}`);
  const hierarchy = findHierarchy() ?? '';
  const group = join(hierarchy, `claw-lab-${runId}`);
  const namespaces = [...nodes.values()].map(({ namespace }) => namespace);
  const record = recordRun(runId, namespaces, group);
  removeOnExit(record);
  try {
    return await build(topology, options, nodes, record, ownGroup(hierarchy));
  } catch (error) {
    removeRun(record);
    forgetOnExit(record);
    throw error;
  }
}

async function build(
  topology: Topology,
  options: OpenLabOptions,
  nodes: ReadonlyMap<string, NodePlan>,
  record: RunRecord,
  homeGroup: string,
): Promise<OpenedLab> {
  const { signal, seed, captureFolder } = options;
  const { group } = record;
  const labGroup = join(group, 'lab');
  const groupOf = (node: NodePlan) => join(group, `node-${node.name}`);
  for (const folder of [group, labGroup, ...[...nodes.values()].map(groupOf)]) makeGroup(folder);

  const heir = [process.execPath, SWEEP_SCRIPT];
  const netd = new Netd(groupProcs(labGroup), groupProcs(homeGroup), heir);
  const runner = new NodeRunner({ groupOf, labGroup, resolverFile: writeResolver(topology, nodes, record.runId) });
  const network = await buildNetwork({ nodes, netd, runner, seed });
  signal?.throwIfAborted();
  const captures = captureFolder ? await Captures.open(nodes.values(), runner, captureFolder) : undefined;
  const { running, facts } = await openServices(nodes, runner, runFolder(record.runId));
  signal?.throwIfAborted();

  const world: World = { nodes, netd, runner, services: running, groupOf, ...network };
  return new KernelLab(world, facts, record, captures, signal);
}

class KernelLab implements OpenedLab {
  readonly services: Lab['services'];
  readonly #world: World;
  readonly #record: RunRecord;
  readonly #captures: Captures | undefined;
  readonly #signal: AbortSignal | undefined;
  /** Whoever closes in order gets the same promise, and its error. */
  readonly #onAbort = () => void this.close().catch(() => {});
  #closing: Promise<void> | undefined;
  #applied: Promise<void> = Promise.resolve();

  constructor(
    world: World,
    services: Lab['services'],
    record: RunRecord,
    captures: Captures | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#world = world;
    this.services = services;
    this.#record = record;
    this.#captures = captures;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get runId(): string {
    return this.#record.runId;
  }

  spawn(node: string, command: readonly [string, ...string[]], options?: SpawnOptions): ChildProcess {
    this.#assertOpen();
    return this.#world.runner.spawn(nodeOf(this.#world, node), command, options);
  }

  /** Events are applied in the order they were given. */
  apply(event: ScenarioEvent): Promise<void> {
    const applied = this.#applied.then(() => {
      this.#assertOpen();
      return applyEvent(this.#world, event);
    });
    this.#applied = applied.catch(() => {});
    return applied;
  }

  traffic(node: string) {
    this.#assertOpen();
    const { namespace, interfaces } = nodeOf(this.#world, node);
    const text = execFileSync('ip', ['-n', namespace, '-json', '-statistics', 'link', 'show'], { encoding: 'utf8' });
    const sum = { packetsOut: 0, packetsIn: 0, bytesOut: 0, bytesIn: 0 };
    for (const { ifname, stats64 } of JSON.parse(text) as LinkStatistics[]) {
      if (!interfaces.has(ifname)) continue;
      sum.packetsOut += stats64.tx.packets;
      sum.packetsIn += stats64.rx.packets;
      sum.bytesOut += stats64.tx.bytes;
      sum.bytesIn += stats64.rx.bytes;
    }
    return sum;
  }

  cpuMs(node: string): number {
    this.#assertOpen();
    return groupCpuMs(this.#world.groupOf(nodeOf(this.#world, node)));
  }

  counts(node: string, interfaceName: string): Promise<InterfaceCounts> {
    this.#assertOpen();
    return this.#world.netd.counts(nodeOf(this.#world, node).interfaces.get(interfaceName)?.index ?? -1);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    await this.#applied;
    await this.#captures?.close();
    const netdEnded = this.#world.netd.close();
    removeRun(this.#record);
    forgetOnExit(this.#record);
    await netdEnded;
  }

  #assertOpen(): void {
    if (this.#closing) throw labError('LAB_CLOSED', `lab ${this.runId} is closed`);
  }
}

/** `ip -json -statistics link`, as far as it is read. */
interface LinkStatistics {
  readonly ifname: string;
  readonly stats64: Readonly<Record<'rx' | 'tx', { readonly packets: number; readonly bytes: number }>>;
}

function checkNames(runId: string, topology: Topology): void {
  const unsupported = (message: string) => labError('LAB_TOPOLOGY_UNSUPPORTED', message);
  if (!/^[a-z0-9]{1,8}$/.test(runId)) throw unsupported(`run id "${runId}": expected 1 to 8 of a-z and 0-9`);
  for (const name of Object.keys(topology.nodes)) {
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/.test(name)) {
      throw unsupported(`node "${name}": expected 1 to 32 letters, digits, - and _`);
    }
  }
}

/** Programs on nodes ask the topology's name server, when it has one on port 53. */
function writeResolver(topology: Topology, nodes: ReadonlyMap<string, NodePlan>, runId: string): string | undefined {
  const [host] = Object.entries(topology.nodes).find(([, { services }]) =>
    services?.some((each) => each.kind === 'dns' && (each.port ?? 53) === 53),
  ) ?? [''];
  const plan = nodes.get(host);
  const address = plan && firstIpv4(plan);
  if (address === undefined) return undefined;
  const file = join(runFolder(runId), 'resolv.conf');
  writeFileSync(file, `nameserver ${address}\noptions timeout:1 attempts:2\n`);
  return file;
}
