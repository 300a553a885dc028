/** Starts programs on nodes: in their namespace and control group, seen to their end by the lab's group. */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { finished, runCommand } from './command.ts';
import { groupProcs } from './control-group.ts';
import { nativeProgram } from './native.ts';
import type { NodePlan } from './node-plan.ts';
import { namespaceFile } from './run-record.ts';

export interface NodeRunnerOptions {
  /** The group of a node, for its own programs. */
  groupOf(node: NodePlan): string;
  /** The group of what the lab runs for itself; no node's CPU time counts it. */
  readonly labGroup: string;
  /** What the nodes' programs see as /etc/resolv.conf, when the topology has DNS. */
  readonly resolverFile: string | undefined;
}

export class NodeRunner {
  readonly #enter = nativeProgram('enter');
  readonly #options: NodeRunnerOptions;

  constructor(options: NodeRunnerOptions) {
    this.#options = options;
  }

  /** A program of the node. */
  spawn(node: NodePlan, command: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const { resolverFile } = this.#options;
    const extra = resolverFile ? [`resolv=${resolverFile}`] : [];
    return this.#spawn(node, this.#options.groupOf(node), extra, command, options);
  }

  /** A program of the lab that looks at the node from within. */
  spawnForLab(node: NodePlan, command: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return this.#spawn(node, this.#options.labGroup, [], command, options);
  }

  /** A program of the lab with a TUN on each of several nodes, as descriptors from 3 on. */
  spawnWithTuns(nodes: readonly NodePlan[], tun: string, command: readonly string[]): ChildProcess {
    const [first] = nodes;
    if (!first) throw new RangeError('spawnWithTuns: no nodes');
    const tuns = nodes.map((node) => `tun=${namespaceFile(node.namespace)}:${tun}`);
    return this.#spawn(first, this.#options.labGroup, tuns, command, { stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Loads a ruleset on a node. */
  async nft(node: NodePlan, ruleset: string): Promise<void> {
    const child = this.spawnForLab(node, ['nft', '-f', '-'], { stdio: ['pipe', 'pipe', 'pipe'] });
    await finished(child, `nft on ${node.name}`, ruleset);
  }

  /** Runs lines of `ip -batch` on a node. */
  async ip(node: NodePlan, lines: readonly string[]): Promise<void> {
    if (lines.length > 0) await runCommand('ip', ['-n', node.namespace, '-batch', '-'], `${lines.join('\n')}\n`);
  }

  /** Of the main table; harmless without one. */
  async dropDefaultRoute(node: NodePlan, family: 'ipv4' | 'ipv6'): Promise<void> {
    const option = family === 'ipv4' ? '-4' : '-6';
    await runCommand('ip', [option, '-n', node.namespace, 'route', 'flush', 'exact', 'default']);
  }

  #spawn(node: NodePlan, group: string, extra: readonly string[], command: readonly string[], options: SpawnOptions) {
    const args = [namespaceFile(node.namespace), groupProcs(group), ...extra, '--', ...command];
    return spawn(this.#enter, args, options);
  }
}
