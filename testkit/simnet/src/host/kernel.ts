/** What the protocols of a host have in common: its way out, its clock, its dice. */

import type { Random } from '@claw/base';
import type { HostClock } from '../core/host-clock.ts';
import type { Scheduler } from '../core/scheduler.ts';
import { simnetError } from '../errors.ts';
import { familyOf } from '../net/address.ts';
import type { Attachments } from '../net/attachments.ts';
import type { Packet } from '../net/packet.ts';

export const LOOPBACK_MTU_BYTES = 65_535;
/** As Linux does. */
const PATH_MTU_LIFETIME_MS = 600_000;
const FIRST_EPHEMERAL_PORT = 32_768;
const EPHEMERAL_PORTS = 28_232;

export interface Path {
  readonly source: string;
  readonly mtuBytes: number;
}

export class Kernel {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly clock: HostClock;
  readonly random: Random;
  readonly attachments: Attachments;
  readonly #loopback: (packet: Packet) => void;
  readonly #pathMtus = new Map<string, { readonly bytes: number; readonly untilMs: number }>();

  constructor(options: {
    readonly name: string;
    readonly scheduler: Scheduler;
    readonly clock: HostClock;
    readonly random: Random;
    readonly attachments: Attachments;
    readonly loopback: (packet: Packet) => void;
  }) {
    this.name = options.name;
    this.scheduler = options.scheduler;
    this.clock = options.clock;
    this.random = options.random;
    this.attachments = options.attachments;
    this.#loopback = options.loopback;
  }

  /** The source address and the size limit of what goes to `destination`. Throws SIMNET_NO_ROUTE, SIMNET_NO_ADDRESS. */
  path(destination: string, boundAddress?: string): Path {
    if (boundAddress !== undefined && !this.attachments.owns(boundAddress)) {
      throw simnetError('SIMNET_NO_ADDRESS', `${this.name} does not have the address ${boundAddress} now`);
    }
    if (this.attachments.owns(destination))
      return { source: boundAddress ?? destination, mtuBytes: LOOPBACK_MTU_BYTES };
    const family = familyOf(destination);
    const route = this.attachments.route(destination, boundAddress);
    const source = boundAddress ?? route?.via.addressOf(family);
    if (!route || source === undefined || familyOf(source) !== family) {
      throw simnetError('SIMNET_NO_ROUTE', `${this.name} has no route to ${destination}`);
    }
    return { source, mtuBytes: route.via.mtuBytes };
  }

  /** What a router said; infinite when none did, or long ago. */
  pathMtuBytes(destination: string): number {
    const known = this.#pathMtus.get(destination);
    if (!known) return Number.POSITIVE_INFINITY;
    if (this.clock.monotonicMs() < known.untilMs) return known.bytes;
    this.#pathMtus.delete(destination);
    return Number.POSITIVE_INFINITY;
  }

  learnPathMtu(destination: string, bytes: number): void {
    const untilMs = this.clock.monotonicMs() + PATH_MTU_LIFETIME_MS;
    this.#pathMtus.set(destination, { bytes: Math.min(bytes, this.pathMtuBytes(destination)), untilMs });
  }

  /** Sends as soon as what runs now is done, so that nobody is called back from within a call. */
  send(packet: Packet): void {
    this.scheduler.after(0, () => {
      if (this.attachments.owns(packet.destination)) return this.#loopback(packet);
      const route = this.attachments.route(packet.destination, packet.source);
      if (route && this.attachments.owns(packet.source)) route.via.transmit(packet, route.nextHop);
    });
  }

  /** A port that `isTaken` does not have. Throws SIMNET_ADDRESS_IN_USE when all are taken. */
  ephemeralPort(isTaken: (port: number) => boolean): number {
    const start = Math.floor(this.random.fraction() * EPHEMERAL_PORTS);
    for (let step = 0; step < EPHEMERAL_PORTS; step += 1) {
      const port = FIRST_EPHEMERAL_PORT + ((start + step) % EPHEMERAL_PORTS);
      if (!isTaken(port)) return port;
    }
    throw simnetError('SIMNET_ADDRESS_IN_USE', `${this.name} has no free port`);
  }
}
