/** What happens to a laboratory while it runs: each `ScenarioEvent` in the kernel's words. */

import type { ScenarioEvent } from '@claw/scenarios';
import { freezeGroup } from './control-group.ts';
import { labError } from './errors.ts';
import type { UserNat } from './nat/user-nat.ts';
import type { Netd } from './netd.ts';
import {
  addressLines,
  FAMILIES,
  gatewayLines,
  ipv6Command,
  type NodePlan,
  type PlannedInterface,
} from './node-plan.ts';
import type { NodeRunner } from './node-runner.ts';
import { prefixLength } from './prefix.ts';
import type { Service } from './services/service.ts';

/** The parts of a lab that events change. */
export interface World {
  readonly nodes: ReadonlyMap<string, NodePlan>;
  readonly netd: Netd;
  readonly runner: NodeRunner;
  readonly userNat: UserNat | undefined;
  readonly services: readonly Service[];
  groupOf(node: NodePlan): string;
  /** Renews the rulesets of routers that know an address of the node. */
  reloadRules(node: NodePlan): Promise<void>;
}

type EventOf<Do extends ScenarioEvent['do']> = Extract<ScenarioEvent, { do: Do }>;

/** Throws LAB_EVENT_UNSUPPORTED for a clock's step and LAB_NODE_UNKNOWN for names that the topology does not have. */
export async function applyEvent(world: World, event: ScenarioEvent): Promise<void> {
  switch (event.do) {
    case 'interface-down':
    case 'interface-up': {
      const node = nodeOf(world, event.node);
      return setInterface(world, node, interfaceOf(node, event.interface), event.do === 'interface-up');
    }
    case 'set-address':
      return setAddress(world, event);
    case 'set-gateway':
      return setGateway(world, event);
    case 'set-link':
      return setLink(world, event);
    case 'partition': {
      const numbers = event.nodes.map((name) => nodeOf(world, name).number);
      await world.netd.command(['partition', ...numbers].join(' '));
      return;
    }
    case 'heal':
      await world.netd.command('heal');
      return;
    case 'sleep':
    case 'wake':
      return setAwake(world, nodeOf(world, event.node), event.do === 'wake');
    case 'service-down':
      return serviceOf(world, event).stop();
    case 'service-up':
      return serviceOf(world, event).start();
    case 'clock-step':
      throw labError('LAB_EVENT_UNSUPPORTED', 'a kernel cannot step the wall clock of one namespace; simnet can');
  }
}

export function nodeOf(world: Pick<World, 'nodes'>, name: string): NodePlan {
  const node = world.nodes.get(name);
  if (!node) throw labError('LAB_NODE_UNKNOWN', `the topology has no node "${name}"`);
  return node;
}

function interfaceOf(node: NodePlan, name: string): PlannedInterface {
  const found = node.interfaces.get(name);
  if (!found) throw labError('LAB_NODE_UNKNOWN', `${node.name} has no interface "${name}"`);
  return found;
}

function serviceOf({ services }: World, { node, service }: EventOf<'service-down' | 'service-up'>): Service {
  const found = services.find((each) => each.node.name === node && each.kind === service);
  if (!found) throw labError('LAB_NODE_UNKNOWN', `${node} has no service "${service}"`);
  return found;
}

async function setInterface({ runner }: World, node: NodePlan, each: PlannedInterface, isUp: boolean): Promise<void> {
  each.isUp = isUp;
  // What the kernel forgot when the interface went down comes back; default routes move to what is left.
  const restored = isUp ? addressLines(each) : [];
  await runner.ip(node, [`link set ${each.name} ${isUp ? 'up' : 'down'}`, ...restored, ...gatewayLines(node)]);
}

async function setAddress(world: World, event: EventOf<'set-address'>): Promise<void> {
  const node = nodeOf(world, event.node);
  const each = interfaceOf(node, event.interface);
  const removed: string[] = [];
  for (const family of FAMILIES) {
    const address = event[family];
    const prefix = each.prefixes[family];
    if (address === each[family]) continue;
    if (prefix === undefined) throw labError('LAB_NODE_UNKNOWN', `network ${each.network} has no ${family} prefix`);
    if (each[family] !== undefined) {
      removed.push(`address del ${each[family]}/${prefixLength(prefix)} dev ${each.name}`);
    }
    each[family] = address;
  }
  await world.runner.ip(node, removed);
  await world.netd.command(ipv6Command(node, each));
  await world.runner.ip(node, [...addressLines(each), ...gatewayLines(node)]);
  await world.reloadRules(node);
  if (node.spec.nat?.outside === each.name && each.ipv4) world.userNat?.setOutsideAddress(node, each.ipv4);
}

async function setGateway({ nodes, runner }: World, event: EventOf<'set-gateway'>): Promise<void> {
  const node = nodeOf({ nodes }, event.node);
  for (const family of FAMILIES) node.gateway[family] = event[family] ?? node.gateway[family];
  const routes = gatewayLines(node);
  for (const family of FAMILIES) {
    const gateway = event[family];
    // A gateway that no interface reaches leaves the host without a default route, not with the old one.
    const isReached = routes.some((line) => line.startsWith(`route replace default via ${gateway} `));
    if (gateway !== undefined && !isReached) await runner.dropDefaultRoute(node, family);
  }
  await runner.ip(node, routes);
}

async function setLink({ nodes, netd }: World, event: EventOf<'set-link'>): Promise<void> {
  const { index } = interfaceOf(nodeOf({ nodes }, event.node), event.interface);
  const directions = event.direction === 'both' ? (['up', 'down'] as const) : [event.direction];
  await Promise.all(directions.map((direction) => netd.setLink(index, direction, event.link)));
}

/** Freezing the group is SIGSTOP for all its processes at once, and for those they start meanwhile. */
async function setAwake(world: World, node: NodePlan, isAwake: boolean): Promise<void> {
  if (!isAwake) freezeGroup(world.groupOf(node), true);
  for (const each of node.interfaces.values()) {
    // What was down before the host fell asleep stays down when it wakes.
    if (isAwake ? !each.isAsleep : !each.isUp) continue;
    each.isAsleep = !isAwake;
    await setInterface(world, node, each, isAwake);
  }
  if (isAwake) freezeGroup(world.groupOf(node), false);
}
