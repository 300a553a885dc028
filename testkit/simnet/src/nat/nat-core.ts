/**
 * A NAT without packets: flows in, translated flows out, `undefined` means drop.
 * Mapping, filtering and hairpinning follow RFC 4787, TCP lifetimes RFC 5382,
 * ICMP RFC 5508, quotas RFC 6888. Nothing here reads a clock: each call says
 * what time it is, and time never runs backwards between two calls.
 *
 * An outside port belongs to one mapping at a time (RFC 4787, REQ-3: no overloading).
 */

import type { Random } from '@claw/base';
import type { NatDependence, NatSpec } from '@claw/scenarios';
import type { Endpoint, Flow, NatMapping, NatProtocol } from './flow.ts';
import { ForeignFlows } from './foreign-flows.ts';
import { PortAllocator } from './port-allocator.ts';
import { answerPortMapping } from './port-mapping.ts';
import type { PortMappingHost } from './port-mapping-host.ts';
import { TcpSession } from './tcp-session.ts';

export interface NatCoreOptions {
  readonly outsideAddress: string;
  readonly random: Random;
}

interface Mapping {
  readonly key: string;
  readonly protocol: NatProtocol;
  readonly inside: Endpoint;
  readonly outsidePort: number;
  /** By remote end, as far as filtering looks at it. */
  readonly permissions: Map<string, Permission>;
  expiresAtMs: number;
  /** Asked for by NAT-PMP or PCP: such a mapping lets everyone in until then. */
  explicitUntilMs: number;
}

interface Permission {
  expiresAtMs: number;
  readonly tcp: TcpSession | undefined;
}

const DEFAULT_LIFETIME_MS = 120_000;
/** RFC 5508, REQ-2. */
const ICMP_LIFETIME_MS = 60_000;
const SWEEP_EVERY_MS = 1000;

export class NatCore {
  readonly #spec: NatSpec;
  readonly #udpLifetimeMs: number;
  readonly #allocator: PortAllocator;
  readonly #foreign: ForeignFlows;
  readonly #byKey = new Map<string, Mapping>();
  readonly #byPort = {
    udp: new Map<number, Mapping>(),
    tcp: new Map<number, Mapping>(),
    icmp: new Map<number, Mapping>(),
  };
  readonly #countByOwner = new Map<string, number>();
  #outsideAddress: string;
  #sweptAtMs = 0;

  constructor(spec: NatSpec, options: NatCoreOptions) {
    this.#spec = spec;
    this.#outsideAddress = options.outsideAddress;
    this.#udpLifetimeMs = spec.mappingLifetimeMs ?? DEFAULT_LIFETIME_MS;
    this.#allocator = new PortAllocator(spec.ports, options.random);
    this.#foreign = new ForeignFlows(spec, this.#udpLifetimeMs, options.random);
  }

  get outsideAddress(): string {
    return this.#outsideAddress;
  }

  /** A new outside address, as after a reconnect: every mapping is gone. */
  setOutsideAddress(address: string): void {
    this.#outsideAddress = address;
    for (const mapping of [...this.#byKey.values()]) this.#remove(mapping);
  }

  /** A packet from the inside to the outside: its source is replaced. */
  outbound(flow: Flow, nowMs: number): Flow | undefined {
    const mapping = this.#mappingFor(flow, nowMs);
    if (!mapping) return undefined;
    this.#permit(mapping, flow, nowMs);
    return { ...flow, source: { address: this.#outsideAddress, port: mapping.outsidePort } };
  }

  /** A packet from the outside to the outside address: its destination is replaced. */
  inbound(flow: Flow, nowMs: number): Flow | undefined {
    const mapping = this.#live(this.#byPort[flow.protocol].get(flow.destination.port), nowMs);
    if (!mapping) return undefined;
    if (mapping.explicitUntilMs <= nowMs && !this.#isPermitted(mapping, flow.source, nowMs)) return undefined;
    if (flow.protocol === 'tcp') this.#permit(mapping, flow, nowMs, flow.source);
    return { ...flow, destination: mapping.inside };
  }

  /** A packet from the inside to the outside address: both ends are replaced (RFC 4787, REQ-9). */
  hairpin(flow: Flow, nowMs: number): Flow | undefined {
    if (!this.#spec.hairpin) return undefined;
    const looped = this.outbound(flow, nowMs);
    return looped && this.inbound(looped, nowMs);
  }

  /** An ICMP error from the outside: `quoted` is the packet it is about, as it left here. Returns it as the inside sent it. */
  inboundError(quoted: Flow, nowMs: number): Flow | undefined {
    const mapping = this.#live(this.#byPort[quoted.protocol].get(quoted.source.port), nowMs);
    return mapping && { ...quoted, source: mapping.inside };
  }

  /** An ICMP error from the inside: `quoted` is the packet it is about, as it came in. Returns it as the outside sent it. */
  outboundError(quoted: Flow, nowMs: number): Flow | undefined {
    const { protocol, source, destination } = quoted;
    const key = mappingKey(this.#spec.mapping, protocol, destination, source);
    const mapping = this.#live(this.#byKey.get(explicitKey(protocol, destination)) ?? this.#byKey.get(key), nowMs);
    return mapping && { ...quoted, destination: { address: this.#outsideAddress, port: mapping.outsidePort } };
  }

  /** Mappings of the inside that live at `nowMs`; those of foreign flows are not listed. */
  mappings(nowMs: number): NatMapping[] {
    this.#sweep(nowMs);
    return [...this.#byKey.values()].map(({ protocol, inside, outsidePort, expiresAtMs, explicitUntilMs }) => ({
      protocol,
      inside,
      outside: { address: this.#outsideAddress, port: outsidePort },
      expiresAtMs: Math.max(expiresAtMs, explicitUntilMs),
      explicit: explicitUntilMs > nowMs,
    }));
  }

  /** Answers a NAT-PMP or PCP datagram to port 5351 of the inside address; undefined when nothing is to be sent. */
  handlePortMapping(request: Uint8Array, from: Endpoint, nowMs: number): Buffer | undefined {
    const host: PortMappingHost = {
      outsideAddress: this.#outsideAddress,
      mapPort: (wish) => this.#mapPort(wish.protocol, wish.inside, wish.outsidePort, nowMs + wish.lifetimeMs, nowMs),
      unmapPort: (protocol, inside) => this.#unmapPort(protocol, inside, nowMs),
    };
    return answerPortMapping(this.#spec.portMapping ?? [], request, from, nowMs, host);
  }

  #mappingFor(flow: Flow, nowMs: number): Mapping | undefined {
    const { protocol, source, destination } = flow;
    const explicit = this.#live(this.#byKey.get(explicitKey(protocol, source)), nowMs);
    if (explicit) return explicit;
    const key = mappingKey(this.#spec.mapping, protocol, source, destination);
    return this.#live(this.#byKey.get(key), nowMs) ?? this.#add(key, protocol, source, undefined, nowMs);
  }

  #add(
    key: string,
    protocol: NatProtocol,
    inside: Endpoint,
    wishedPort: number | undefined,
    nowMs: number,
  ): Mapping | undefined {
    this.#sweep(nowMs, SWEEP_EVERY_MS);
    const { ports } = this.#spec;
    const count = this.#countByOwner.get(inside.address) ?? 0;
    if (ports.kind === 'block' && count >= ports.quota) {
      this.#sweep(nowMs);
      if ((this.#countByOwner.get(inside.address) ?? 0) >= ports.quota) return undefined;
    }
    const isTaken = (port: number) => this.#isTaken(protocol, port, nowMs);
    this.#foreign.advance(nowMs, (request, atMs) =>
      this.#allocator.allocate({ ...request, isTaken: (port) => this.#isTaken('udp', port, atMs) }),
    );
    const wishedIsFree = wishedPort !== undefined && wishedPort > 0 && !isTaken(wishedPort);
    const outsidePort = wishedIsFree
      ? wishedPort
      : this.#allocator.allocate({ owner: inside.address, insidePort: inside.port, isTaken });
    if (outsidePort === undefined) return undefined;
    const mapping: Mapping = {
      key,
      protocol,
      inside,
      outsidePort,
      permissions: new Map(),
      expiresAtMs: nowMs,
      explicitUntilMs: 0,
    };
    this.#byKey.set(key, mapping);
    this.#byPort[protocol].set(outsidePort, mapping);
    this.#countByOwner.set(inside.address, (this.#countByOwner.get(inside.address) ?? 0) + 1);
    return mapping;
  }

  #isTaken(protocol: NatProtocol, port: number, nowMs: number): boolean {
    if (protocol === 'udp' && this.#foreign.holds(port, nowMs)) return true;
    return this.#live(this.#byPort[protocol].get(port), nowMs) !== undefined;
  }

  #mapPort(
    protocol: 'udp' | 'tcp',
    inside: Endpoint,
    wishedPort: number,
    untilMs: number,
    nowMs: number,
  ): number | undefined {
    const key = explicitKey(protocol, inside);
    const mapping = this.#live(this.#byKey.get(key), nowMs) ?? this.#add(key, protocol, inside, wishedPort, nowMs);
    if (!mapping) return undefined;
    mapping.explicitUntilMs = untilMs;
    return mapping.outsidePort;
  }

  #unmapPort(
    protocol: 'udp' | 'tcp',
    inside: { readonly address: string; readonly port: number | 'all' },
    nowMs: number,
  ): void {
    for (const mapping of [...this.#byKey.values()]) {
      const isMeant = mapping.protocol === protocol && mapping.inside.address === inside.address;
      if (!isMeant || (inside.port !== 'all' && mapping.inside.port !== inside.port)) continue;
      mapping.explicitUntilMs = 0;
      this.#live(mapping, nowMs);
    }
  }

  /** Notes that `flow` passed, which keeps its mapping and lets answers in. `remote` is the outside's end of it. */
  #permit(mapping: Mapping, flow: Flow, nowMs: number, remote = flow.destination): void {
    const key = this.#permissionKey(flow.protocol, remote);
    let permission = mapping.permissions.get(key);
    if (!permission) {
      permission = { expiresAtMs: 0, tcp: flow.protocol === 'tcp' ? new TcpSession() : undefined };
      mapping.permissions.set(key, permission);
    }
    permission.expiresAtMs = nowMs + this.#lifetimeMs(permission, flow, remote === flow.destination);
    if (permission.tcp) {
      mapping.expiresAtMs = 0;
      for (const each of mapping.permissions.values())
        mapping.expiresAtMs = Math.max(mapping.expiresAtMs, each.expiresAtMs);
    } else {
      mapping.expiresAtMs = Math.max(mapping.expiresAtMs, permission.expiresAtMs);
    }
  }

  #lifetimeMs(permission: Permission, flow: Flow, isOutbound: boolean): number {
    if (permission.tcp) return permission.tcp.lifetimeMsAfter(flow.tcpFlags, isOutbound);
    return flow.protocol === 'udp' ? this.#udpLifetimeMs : ICMP_LIFETIME_MS;
  }

  /** Of TCP a permission is a connection, because its end must be noticed; of the others what the filter tells apart. */
  #permissionKey(protocol: NatProtocol, remote: Endpoint): string {
    if (protocol === 'tcp') return `${remote.address}|${remote.port}`;
    if (this.#spec.filtering === 'endpoint-independent') return '';
    const looksAtPort = protocol === 'udp' && this.#spec.filtering === 'address-and-port-dependent';
    return looksAtPort ? `${remote.address}|${remote.port}` : remote.address;
  }

  #isPermitted(mapping: Mapping, remote: Endpoint, nowMs: number): boolean {
    const { filtering } = this.#spec;
    if (filtering === 'endpoint-independent') return true;
    if (mapping.protocol !== 'tcp' || filtering === 'address-and-port-dependent') {
      return (mapping.permissions.get(this.#permissionKey(mapping.protocol, remote))?.expiresAtMs ?? 0) > nowMs;
    }
    for (const [key, permission] of mapping.permissions) {
      if (key.startsWith(`${remote.address}|`) && permission.expiresAtMs > nowMs) return true;
    }
    return false;
  }

  #live(mapping: Mapping | undefined, nowMs: number): Mapping | undefined {
    if (!mapping || mapping.expiresAtMs > nowMs || mapping.explicitUntilMs > nowMs) return mapping;
    this.#remove(mapping);
    return undefined;
  }

  #remove(mapping: Mapping): void {
    if (!this.#byKey.delete(mapping.key)) return;
    this.#byPort[mapping.protocol].delete(mapping.outsidePort);
    this.#countByOwner.set(mapping.inside.address, (this.#countByOwner.get(mapping.inside.address) ?? 1) - 1);
  }

  #sweep(nowMs: number, everyMs = 0): void {
    if (nowMs - this.#sweptAtMs < everyMs) return;
    this.#sweptAtMs = nowMs;
    for (const mapping of [...this.#byKey.values()]) {
      if (!this.#live(mapping, nowMs)) continue;
      for (const [key, permission] of mapping.permissions) {
        if (permission.expiresAtMs <= nowMs) mapping.permissions.delete(key);
      }
    }
  }
}

function explicitKey(protocol: NatProtocol, inside: Endpoint): string {
  return `${protocol}|${inside.address}|${inside.port}`;
}

/** Equal for flows that share a mapping. Without dependence it is the explicit mapping's own key, so that the two are one. */
function mappingKey(dependence: NatDependence, protocol: NatProtocol, inside: Endpoint, remote: Endpoint): string {
  const key = explicitKey(protocol, inside);
  switch (dependence) {
    case 'endpoint-independent':
      return key;
    case 'address-dependent':
      return `${key}|${remote.address}`;
    case 'address-and-port-dependent':
      return protocol === 'icmp' ? `${key}|${remote.address}` : `${key}|${remote.address}|${remote.port}`;
  }
}
