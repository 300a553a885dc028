/** A node's place on a network, with a link each way. */

import type { InterfaceSpec } from '@claw/scenarios';
import { randomStream } from '../core/random-stream.ts';
import type { Scheduler } from '../core/scheduler.ts';
import { canonicalAddress, type Family } from './address.ts';
import { Link } from './link.ts';
import type { Network } from './network.ts';
import type { Packet } from './packet.ts';

export const DEFAULT_MTU_BYTES = 1500;

export interface InterfaceOptions {
  readonly nodeName: string;
  readonly name: string;
  readonly spec: InterfaceSpec;
  readonly network: Network;
  readonly scheduler: Scheduler;
  readonly seed: number;
  /** Sees every packet that leaves or arrives, for a trace. */
  readonly observe: (at: Interface, packet: Packet, direction: 'in' | 'out') => void;
  readonly receive: (packet: Packet, at: Interface) => void;
}

export class Interface {
  readonly nodeName: string;
  readonly name: string;
  readonly network: Network;
  mtuBytes: number;
  readonly up: Link;
  readonly down: Link;
  isEnabled: boolean;
  /** The node sleeps, so that the interface is down whatever it is set to. */
  isAsleep = false;
  readonly #observe: InterfaceOptions['observe'];
  readonly #primary: { ipv4?: string | undefined; ipv6?: string | undefined } = {};
  readonly #aliases: string[] = [];

  constructor(options: InterfaceOptions) {
    const { nodeName, name, spec, network, scheduler, seed, receive } = options;
    this.nodeName = nodeName;
    this.name = name;
    this.network = network;
    this.mtuBytes = spec.mtuBytes ?? DEFAULT_MTU_BYTES;
    this.isEnabled = spec.enabled ?? true;
    this.#observe = options.observe;
    const stream = (direction: string) => randomStream(seed, `link ${nodeName} ${name} ${direction}`);
    this.up = new Link(spec.up ?? {}, scheduler, stream('up'), (frame) => network.carry(this, frame));
    this.down = new Link(spec.down ?? {}, scheduler, stream('down'), ({ packet }) => {
      if (!this.isUp) return;
      this.#observe(this, packet, 'in');
      receive(packet, this);
    });
    this.setAddresses(spec.ipv4, spec.ipv6);
    network.attach(this);
  }

  get isUp(): boolean {
    return this.isEnabled && !this.isAsleep;
  }

  /** Primary addresses first. */
  get addresses(): readonly string[] {
    const { ipv4, ipv6 } = this.#primary;
    return [ipv4, ipv6, ...this.#aliases].filter((address) => address !== undefined);
  }

  addressOf(family: Family): string | undefined {
    return this.#primary[family];
  }

  setAddresses(ipv4: string | undefined, ipv6: string | undefined): void {
    this.#primary.ipv4 = ipv4 && canonicalAddress(ipv4);
    this.#primary.ipv6 = ipv6 && canonicalAddress(ipv6);
    this.network.updateOwners();
  }

  addAlias(address: string): void {
    this.#aliases.push(canonicalAddress(address));
    this.network.updateOwners();
  }

  transmit(packet: Packet, nextHop: string): void {
    if (!this.isUp) return;
    this.#observe(this, packet, 'out');
    this.up.send({ packet, nextHop });
  }
}
