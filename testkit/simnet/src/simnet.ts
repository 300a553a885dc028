/**
 * A simulated Internet: `openSimnet` makes one of a topology. Everything in it
 * follows from the topology, the seed and the calls made; the same three give
 * the same packets at the same nanosecond.
 */

import { checkTopology, type ScenarioEvent, type Topology } from '@claw/scenarios';
import { Scheduler } from './core/scheduler.ts';
import { simnetError } from './errors.ts';
import { applyEvent } from './events.ts';
import type { Host } from './host/host.ts';
import type { NatCore } from './nat/nat-core.ts';
import type { Interface } from './net/interface.ts';
import type { LinkCounts } from './net/link.ts';
import { Network } from './net/network.ts';
import type { Packet } from './net/packet.ts';
import { SimNode } from './node.ts';
import { type CapturedPacket, encodePcapng } from './trace/pcapng.ts';

export interface SimnetOptions {
  readonly seed: number;
  /** Keeps every packet for `capture`. Default false. */
  readonly record?: boolean;
  /** Wall-clock time at the start. Default 2026-01-01. */
  readonly wallStartMs?: number;
}

/** Throws TOPOLOGY_INVALID with every fault of the topology. */
export function openSimnet(topology: Topology, options: SimnetOptions): Simnet {
  checkTopology(topology, 'the topology');
  return new Simnet(topology, options);
}

export class Simnet {
  readonly #scheduler = new Scheduler();
  readonly #nodes = new Map<string, SimNode>();
  readonly #interfaces: Interface[] = [];
  readonly #captured: CapturedPacket[] | undefined;
  readonly #wallStartMs: number;
  #partition: ReadonlySet<string> | undefined;

  /** @internal Use {@link openSimnet}. */
  constructor(topology: Topology, options: SimnetOptions) {
    const { seed, wallStartMs = Date.UTC(2026, 0, 1) } = options;
    this.#wallStartMs = wallStartMs;
    this.#captured = options.record ? [] : undefined;
    const isCut = (a: string, b: string) =>
      this.#partition !== undefined && this.#partition.has(a) !== this.#partition.has(b);
    const networks = new Map(Object.entries(topology.networks).map(([name, spec]) => [name, new Network(spec, isCut)]));
    const indexes = new Map<Interface, number>();
    const observe = (at: Interface, packet: Packet, direction: 'in' | 'out') => {
      this.#captured?.push({ atMs: this.nowMs, interface: indexes.get(at) ?? 0, direction, packet });
    };
    for (const [name, spec] of Object.entries(topology.nodes)) {
      const node = new SimNode({ name, spec, networks, scheduler: this.#scheduler, seed, wallStartMs, observe });
      this.#nodes.set(name, node);
      for (const each of node.attachments.interfaces.values()) indexes.set(each, this.#interfaces.push(each) - 1);
    }
  }

  /** Virtual time since the start, milliseconds. */
  get nowMs(): number {
    return this.#scheduler.nowMs;
  }

  /** Timers and packets on their way. */
  get pendingEvents(): number {
    return this.#scheduler.pendingEvents;
  }

  host(name: string): Host {
    const { host } = this.#node(name);
    if (!host) throw new TypeError(`"${name}" is a router`);
    return host;
  }

  /** The NAT of a router, to look at its mappings. */
  nat(router: string): NatCore {
    const nat = this.#node(router).router?.nat;
    if (!nat) throw new TypeError(`"${router}" has no NAT`);
    return nat;
  }

  /** Changes the MTU of an interface: larger packets are answered with ICMP by a router, refused by a host. */
  setMtu(node: string, interfaceName: string, mtuBytes: number): void {
    this.#interface(node, interfaceName).mtuBytes = mtuBytes;
  }

  /** Packets that one direction of an attachment took, delivered and dropped so far. */
  linkCounts(node: string, interfaceName: string, direction: 'up' | 'down'): Readonly<LinkCounts> {
    return { ...this.#interface(node, interfaceName)[direction].counts };
  }

  /** Lets time pass until `untilMs`. Rejects with what a handler threw. */
  run(untilMs: number): Promise<void> {
    return this.#scheduler.run(untilMs);
  }

  /** Lets time pass until `promise` settles. Rejects with SIMNET_STALLED when it is still open at `limitMs` or nothing is left to happen. */
  runUntil<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    return this.#scheduler.runUntil(promise, limitMs);
  }

  /** Makes an event happen now, whatever its `atMs`. Throws SIMNET_BAD_EVENT. */
  apply(event: ScenarioEvent): void {
    applyEvent(event, {
      node: (name) => this.#node(name, 'SIMNET_BAD_EVENT'),
      setPartition: (nodes) => {
        this.#partition = nodes && new Set(nodes);
      },
    });
  }

  /** Makes each event happen `atMs` from now. */
  schedule(events: readonly ScenarioEvent[]): void {
    for (const event of events) this.#scheduler.after(event.atMs, () => this.apply(event));
  }

  /** What passed the interfaces of a node, or all, as a pcapng file. Needs `record`. */
  capture(node?: string): Buffer {
    if (!this.#captured) throw new TypeError('openSimnet was not asked to record');
    const isWanted = (index: number) => node === undefined || this.#interfaces[index]?.nodeName === node;
    const packets = this.#captured.filter((captured) => isWanted(captured.interface));
    const names = this.#interfaces.map((each) => `${each.nodeName} ${each.name}`);
    return encodePcapng(names, packets, this.#wallStartMs);
  }

  /** Everything stops; sockets and streams fall silent. */
  close(): void {
    this.#scheduler.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #interface(node: string, name: string): Interface {
    const found = this.#node(node).attachments.interfaces.get(name);
    if (!found) throw new TypeError(`"${node}" has no interface "${name}"`);
    return found;
  }

  #node(name: string, code?: 'SIMNET_BAD_EVENT'): SimNode {
    const node = this.#nodes.get(name);
    if (node) return node;
    const message = `there is no node "${name}"`;
    throw code ? simnetError(code, message) : new TypeError(message);
  }
}
