/**
 * The steps that turn a plan into a running world, each as wide as its order
 * allows: namespaces, interfaces and TUNs, addresses and rules, services.
 */

import { fileURLToPath } from 'node:url';
import { runCommand } from './command.ts';
import { isKernelNat, KERNEL_LIFETIME_S } from './nat/kernel-nat.ts';
import { formatRuleset } from './nat/ruleset.ts';
import { UserNat } from './nat/user-nat.ts';
import type { Netd } from './netd.ts';
import { ipv6Command, type NodePlan, setupLines, sysctls } from './node-plan.ts';
import type { NodeRunner } from './node-runner.ts';
import { namespaceFile } from './run-record.ts';

export interface BuildOptions {
  readonly nodes: ReadonlyMap<string, NodePlan>;
  readonly netd: Netd;
  readonly runner: NodeRunner;
  readonly seed: number;
}

export interface Built {
  readonly userNat: UserNat | undefined;
  reloadRules(node: NodePlan): Promise<void>;
}

export const SWEEP_SCRIPT = fileURLToPath(import.meta.resolve('./sweep-main.ts'));

export async function buildNetwork({ nodes, netd, runner, seed }: BuildOptions): Promise<Built> {
  const all = [...nodes.values()];
  const userNatRouters = all.filter((node) => node.spec.nat && !isKernelNat(all, node, node.spec.nat));
  const isUserNat = (node: NodePlan) => userNatRouters.includes(node);
  const loadRules = async (node: NodePlan) => {
    const ruleset = formatRuleset(all, node, isUserNat(node));
    if (ruleset) await runner.nft(node, ruleset);
  };
  const reloadRules = async (changed: NodePlan) => {
    const networks = new Set([...changed.interfaces.values()].map(({ network }) => network));
    const near = all.filter((node) => [...node.interfaces.values()].some(({ network }) => networks.has(network)));
    await Promise.all(near.filter((node) => node.spec.nat).map(loadRules));
  };

  await runCommand('ip', ['-batch', '-'], all.map(({ namespace }) => `netns add ${namespace}\n`).join(''));
  await Promise.all(all.flatMap((node) => sysctlCommands(node, isUserNat(node))).map((line) => netd.command(line)));
  const opening = userNatRouters.length > 0 ? UserNat.open(userNatRouters, runner, seed) : undefined;
  // Its failure is thrown below, after what runs beside it.
  opening?.catch(() => {});
  await makeInterfaces(all, netd, seed);
  await Promise.all(all.flatMap((node) => [runner.ip(node, setupLines(node)), loadRules(node)]));
  const userNat = await opening;
  await Promise.all(userNatRouters.map((router) => runner.ip(router, UserNat.steeringLines(router))));
  return { userNat, reloadRules };
}

function sysctlCommands(node: NodePlan, isUserNat: boolean): string[] {
  const timers: [string, string][] =
    node.spec.nat && !isUserNat
      ? ['udp_timeout', 'udp_timeout_stream'].map((key) => [
          `net/netfilter/nf_conntrack_${key}`,
          `${KERNEL_LIFETIME_S}`,
        ])
      : [];
  return [...sysctls(node), ...timers].map(([key, value]) => `sysctl ${namespaceFile(node.namespace)} ${key} ${value}`);
}

async function makeInterfaces(nodes: readonly NodePlan[], netd: Netd, seed: number): Promise<void> {
  await netd.command(`seed ${seed}`);
  const networks: string[] = [];
  const commands = nodes.flatMap((node) =>
    [...node.interfaces.values()].map(async (each) => {
      if (!networks.includes(each.network)) networks.push(each.network);
      const place = `${namespaceFile(node.namespace)} ${each.name} ${networks.indexOf(each.network)} ${node.number}`;
      const answer = await netd.command(`interface ${place} ${each.spec.mtuBytes ?? 1500}`);
      each.index = Number(answer.split(' ')[0]);
      const { up, down } = each.spec;
      await Promise.all([
        up && netd.setLink(each.index, 'up', up),
        down && netd.setLink(each.index, 'down', down),
        netd.command(ipv6Command(node, each)),
      ]);
    }),
  );
  await Promise.all(commands);
}
