/** One broadcast domain: knows which attached interface has an address, and hands packets over. No address resolution takes place. */

import type { NetworkSpec } from '@claw/scenarios';
import { parsePrefix } from './address.ts';
import type { Interface } from './interface.ts';
import type { Frame } from './packet.ts';

export class Network {
  readonly #prefixes;
  readonly #interfaces = new Set<Interface>();
  readonly #owners = new Map<string, Interface>();
  readonly #isCut: (nodeA: string, nodeB: string) => boolean;

  constructor(spec: NetworkSpec, isCut: (nodeA: string, nodeB: string) => boolean) {
    this.#prefixes = [spec.ipv4, spec.ipv6].filter((cidr) => cidr !== undefined).map(parsePrefix);
    this.#isCut = isCut;
  }

  contains(address: string): boolean {
    return this.#prefixes.some((prefix) => prefix.contains(address));
  }

  attach(attached: Interface): void {
    this.#interfaces.add(attached);
    this.updateOwners();
  }

  updateOwners(): void {
    this.#owners.clear();
    for (const attached of this.#interfaces)
      for (const address of attached.addresses) this.#owners.set(address, attached);
  }

  /** Hands a packet to who has the next hop's address; to nobody when nobody does, or is cut off. */
  carry(from: Interface, frame: Frame): void {
    const to = this.#owners.get(frame.nextHop);
    if (to?.isUp && !this.#isCut(from.nodeName, to.nodeName)) to.down.send(frame);
  }
}
