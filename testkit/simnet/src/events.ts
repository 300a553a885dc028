/** What can happen to a network while it runs. Times are for who schedules; here an event happens at once. */

import type { ScenarioEvent } from '@claw/scenarios';
import { simnetError } from './errors.ts';
import type { Interface } from './net/interface.ts';
import type { SimNode } from './node.ts';

export interface EventTarget {
  node(name: string): SimNode;
  setPartition(nodes: readonly string[] | undefined): void;
}

/** Throws SIMNET_BAD_EVENT for a node, an interface or a service that the topology does not have. */
export function applyEvent(event: ScenarioEvent, target: EventTarget): void {
  switch (event.do) {
    case 'partition':
      for (const name of event.nodes) target.node(name);
      return target.setPartition(event.nodes);
    case 'heal':
      return target.setPartition(undefined);
    default:
      return applyToNode(event, target.node(event.node));
  }
}

function applyToNode(event: Extract<ScenarioEvent, { readonly node: string }>, node: SimNode): void {
  switch (event.do) {
    case 'interface-down':
    case 'interface-up':
      interfaceOf(node, event.interface).isEnabled = event.do === 'interface-up';
      return node.changed();
    case 'set-address':
      interfaceOf(node, event.interface).setAddresses(event.ipv4, event.ipv6);
      return node.changed();
    case 'set-gateway':
      return node.attachments.setGateway(event);
    case 'set-link': {
      const at = interfaceOf(node, event.interface);
      if (event.direction !== 'down') at.up.change(event.link);
      if (event.direction !== 'up') at.down.change(event.link);
      return;
    }
    case 'sleep':
      return node.sleep();
    case 'wake':
      return node.wake();
    case 'service-down':
      return node.setService(event.service, false);
    case 'service-up':
      return node.setService(event.service, true);
    case 'clock-step':
      return node.clock.step(event.byMs);
  }
}

function interfaceOf(node: SimNode, name: string): Interface {
  const found = node.attachments.interfaces.get(name);
  if (!found) throw simnetError('SIMNET_BAD_EVENT', `${node.name} has no interface "${name}"`);
  return found;
}
