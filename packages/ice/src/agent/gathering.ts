/**
 * The gatherer of the configuration in force, and those before it: another configuration
 * takes effect with a restart, and what was connected under the former one goes on until
 * the path of the new generation takes over.
 */

import type { TransportAddress } from '../address.ts';
import type { LocalCandidate } from '../candidate/candidate.ts';
import type { Relay } from '../turn/relay.ts';
import type { UdpBase } from './base.ts';
import { Gatherer, type GathererOptions, type GatheringPlan } from './gatherer.ts';
import type { LocalAddress } from './host-gatherer.ts';

export class Gathering {
  readonly #options: Omit<GathererOptions, 'plan'>;
  /** The newest first. */
  #gatherers: Gatherer[];
  /** The one that a restart goes back to when it is taken back. */
  #settled: Gatherer;
  #nextPlan: GatheringPlan | undefined;
  /** Of the machine; undefined before gathering began. */
  #addresses: readonly LocalAddress[] | undefined;
  #hasEnded = false;

  constructor(options: Omit<GathererOptions, 'plan'>, plan: GatheringPlan) {
    this.#options = options;
    this.#settled = this.#make(plan);
    this.#gatherers = [this.#settled];
  }

  get current(): Gatherer {
    return this.#gatherers[0] as Gatherer;
  }

  get hasBegun(): boolean {
    return this.#addresses !== undefined;
  }

  /** Nothing more will come, unless addresses do. */
  get isComplete(): boolean {
    return this.hasBegun && this.current.isComplete;
  }

  /** {@link end} said so, and nothing has begun since. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get deadlineMs(): number {
    let deadlineMs = Number.POSITIVE_INFINITY;
    for (const each of this.#gatherers) deadlineMs = Math.min(deadlineMs, each.deadlineMs);
    return deadlineMs;
  }

  /** For the gathering that comes next: the first one, or that of a restart. */
  configure(plan: GatheringPlan): void {
    if (this.hasBegun) {
      this.#nextPlan = plan;
      return;
    }
    this.#settled = this.#make(plan);
    this.#gatherers = [this.#settled];
  }

  /** What was configured is in force from now on. */
  adopt(): void {
    const plan = this.#nextPlan;
    this.#nextPlan = undefined;
    if (plan) this.#gatherers.unshift(this.#make(plan));
  }

  gather(addresses: readonly LocalAddress[], nowMs: number): void {
    const isFirst = !this.hasBegun;
    this.#addresses = addresses;
    this.current.gather(addresses, nowMs);
    if (isFirst || !this.current.isComplete) this.#hasEnded = false;
  }

  /** For a restart. */
  renew(nowMs: number): void {
    this.#hasEnded = false;
    if (this.#addresses) this.current.renew(this.#addresses, nowMs);
  }

  /** True once, when it is complete. */
  end(): boolean {
    if (this.#hasEnded || !this.isComplete) return false;
    this.#hasEnded = true;
    return true;
  }

  /** Takes back what was adopted since the last {@link settle}. */
  rollback(): void {
    if (this.current === this.#settled) return;
    this.#nextPlan ??= this.current.plan;
    for (const each of this.#gatherers.splice(0, this.#gatherers.indexOf(this.#settled))) each.close();
  }

  /** There is no way back any more; `isAlone`: nothing goes by the former ones either. */
  settle(isAlone: boolean): void {
    this.#settled = this.current;
    if (isAlone) for (const former of this.#gatherers.splice(1)) former.close();
  }

  /** True when the id was one of ours. */
  transportOpened(id: number, local: TransportAddress, nowMs: number): boolean {
    return this.#gatherers.some((each) => each.transportOpened(id, local, nowMs));
  }

  transportFailed(id: number, nowMs: number): void {
    this.#gatherers.some((each) => each.transportFailed(id, nowMs));
  }

  udpBase(id: number): UdpBase | undefined {
    for (const each of this.#gatherers) {
      const base = each.udpBase(id);
      if (base) return base;
    }
    return undefined;
  }

  relayFrom(transportId: number, remote: TransportAddress): Relay | undefined {
    for (const each of this.#gatherers) {
      const relay = each.relayFrom(transportId, remote);
      if (relay) return relay;
    }
    return undefined;
  }

  listener(id: number): LocalCandidate | undefined {
    return this.#gatherers.find((each) => each.listener(id))?.listener(id);
  }

  isServerStream(id: number): boolean {
    return this.#gatherers.some((each) => each.isServerStream(id));
  }

  streamServer(id: number): TransportAddress | undefined {
    return this.#gatherers.find((each) => each.isServerStream(id))?.streamServer(id);
  }

  permit(address: string): void {
    for (const each of this.#gatherers) each.permit(address);
  }

  handleTimeout(isWaiting: boolean, nowMs: number): void {
    for (const each of [...this.#gatherers]) each.handleTimeout(isWaiting, nowMs);
  }

  close(): void {
    for (const each of this.#gatherers) each.close();
  }

  /** What a former one still finds, such as a relay in place of one that was lost, is not for the present generation. */
  #make(plan: GatheringPlan): Gatherer {
    const { events } = this.#options;
    const isCurrent = () => this.current === gatherer;
    const gatherer: Gatherer = new Gatherer({
      ...this.#options,
      plan,
      events: {
        ...events,
        onBase: (base, nowMs) => isCurrent() && events.onBase(base, nowMs),
        onCandidate: (candidate, nowMs) => isCurrent() && events.onCandidate(candidate, nowMs),
      },
    });
    return gatherer;
  }
}
