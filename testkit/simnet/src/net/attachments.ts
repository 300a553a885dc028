/**
 * A node's interfaces and its way out. A network that is attached is reached
 * directly, everything else by the gateway of the family. A packet leaves by
 * the interface that has its source address where that one reaches the next hop,
 * as hosts with one routing table an interface do; otherwise by any that does.
 */

import type { NodeSpec } from '@claw/scenarios';
import { canonicalAddress, type Family, familyOf } from './address.ts';
import type { Interface } from './interface.ts';

export interface Route {
  readonly via: Interface;
  readonly nextHop: string;
}

const MAX_CACHED_ROUTES = 4096;

export class Attachments {
  readonly interfaces = new Map<string, Interface>();
  readonly #gateway: { ipv4?: string; ipv6?: string } = {};
  readonly #cache = new Map<string, Route | undefined>();

  constructor(gateway: NodeSpec['gateway']) {
    this.setGateway(gateway ?? {});
  }

  /** Families left out keep what they have. */
  setGateway(gateway: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined }): void {
    if (gateway.ipv4) this.#gateway.ipv4 = canonicalAddress(gateway.ipv4);
    if (gateway.ipv6) this.#gateway.ipv6 = canonicalAddress(gateway.ipv6);
    this.changed();
  }

  /** To be called after any change of an interface. */
  changed(): void {
    this.#cache.clear();
  }

  /** Addresses of what is up, primary ones first. */
  addresses(): string[] {
    return [...this.interfaces.values()].filter((each) => each.isUp).flatMap((each) => each.addresses);
  }

  owns(address: string): boolean {
    for (const each of this.interfaces.values()) if (each.isUp && each.addresses.includes(address)) return true;
    return false;
  }

  /** `source` is undefined while it is open which address the packet will have. */
  route(destination: string, source?: string): Route | undefined {
    const key = `${source ?? ''}>${destination}`;
    if (this.#cache.has(key)) return this.#cache.get(key);
    if (this.#cache.size >= MAX_CACHED_ROUTES) this.#cache.clear();
    const route = this.#findRoute(destination, source);
    this.#cache.set(key, route);
    return route;
  }

  #findRoute(destination: string, source: string | undefined): Route | undefined {
    const family = familyOf(destination);
    const up = [...this.interfaces.values()].filter((each) => each.isUp && each.addressOf(family) !== undefined);
    const own = up.filter((each) => source !== undefined && each.addresses.includes(source));
    return this.#over(own, destination, family) ?? this.#over(up, destination, family);
  }

  #over(interfaces: readonly Interface[], destination: string, family: Family): Route | undefined {
    const direct = interfaces.find((each) => each.network.contains(destination));
    if (direct) return { via: direct, nextHop: destination };
    const gateway = this.#gateway[family];
    const via = gateway && interfaces.find((each) => each.network.contains(gateway));
    return via && gateway ? { via, nextHop: gateway } : undefined;
  }
}
