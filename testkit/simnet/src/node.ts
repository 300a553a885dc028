/** One node of a topology, put together: its interfaces, and a host's sockets and services or a router's tables. */

import type { NodeSpec, ServiceSpec } from '@claw/scenarios';
import { HostClock } from './core/host-clock.ts';
import { randomStream } from './core/random-stream.ts';
import type { Scheduler } from './core/scheduler.ts';
import { simnetError } from './errors.ts';
import { Host } from './host/host.ts';
import { Attachments } from './net/attachments.ts';
import { Interface } from './net/interface.ts';
import type { Network } from './net/network.ts';
import type { Packet } from './net/packet.ts';
import { Router } from './net/router.ts';
import { type RunningService, startService } from './services/start-service.ts';

export interface SimNodeOptions {
  readonly name: string;
  readonly spec: NodeSpec;
  readonly networks: ReadonlyMap<string, Network>;
  readonly scheduler: Scheduler;
  readonly seed: number;
  readonly wallStartMs: number;
  readonly observe: (at: Interface, packet: Packet, direction: 'in' | 'out') => void;
}

export class SimNode {
  readonly name: string;
  readonly clock: HostClock;
  readonly attachments: Attachments;
  readonly host: Host | undefined;
  readonly router: Router | undefined;
  readonly #services = new Map<string, { readonly spec: ServiceSpec; running: RunningService | undefined }>();

  constructor(options: SimNodeOptions) {
    const { name, spec, scheduler, seed } = options;
    this.name = name;
    this.clock = new HostClock(scheduler, options.wallStartMs);
    this.attachments = new Attachments(spec.gateway);
    for (const [label, each] of Object.entries(spec.interfaces)) {
      const network = options.networks.get(each.network) as Network;
      const receive = (packet: Packet, at: Interface) =>
        this.router ? this.router.receive(packet, at) : this.host?.receive(packet);
      const { observe } = options;
      const made = new Interface({
        nodeName: name,
        name: label,
        spec: each,
        network,
        scheduler,
        seed,
        observe,
        receive,
      });
      this.attachments.interfaces.set(label, made);
    }
    const random = randomStream(seed, `node ${name}`);
    const { clock, attachments } = this;
    if (spec.kind === 'router') this.router = new Router(spec, attachments, scheduler, random);
    else this.host = new Host({ name, scheduler, clock, random, attachments });
    for (const service of spec.services ?? []) this.#addService(service);
  }

  changed(): void {
    this.attachments.changed();
    this.router?.addressesChanged();
    this.host?.interfacesChanged();
  }

  sleep(): void {
    this.clock.sleep();
    for (const each of this.attachments.interfaces.values()) each.isAsleep = true;
    this.attachments.changed();
  }

  wake(): void {
    this.clock.wake();
    for (const each of this.attachments.interfaces.values()) each.isAsleep = false;
    this.changed();
  }

  setService(kind: string, isUp: boolean): void {
    const service = this.#services.get(kind);
    if (!service || !this.host) throw simnetError('SIMNET_BAD_EVENT', `${this.name} has no service "${kind}"`);
    if (isUp) service.running ??= startService(this.host, service.spec);
    else {
      service.running?.close();
      service.running = undefined;
    }
  }

  #addService(spec: ServiceSpec): void {
    if (spec.kind === 'turn' && spec.otherIpv4 !== undefined) this.#addAddress(spec.otherIpv4);
    this.#services.set(spec.kind, { spec, running: undefined });
    this.setService(spec.kind, true);
  }

  /** A second address of the host, where none of its interfaces has it. */
  #addAddress(address: string): void {
    if (this.attachments.owns(address)) return;
    const at = [...this.attachments.interfaces.values()].find((each) => each.network.contains(address));
    if (!at) throw simnetError('SIMNET_BAD_TOPOLOGY', `${this.name} is on no network that has ${address}`);
    at.addAlias(address);
    this.attachments.changed();
  }
}
