/** One direction of a path: rate, queue, delay and everything that can befall a packet, from a seed. */

import { seededRandom } from '@claw/testkit';
import type { Simulation } from './simulation.ts';

export interface LinkOptions {
  /** Unlimited by default. */
  readonly rateMbps?: number;
  /** Default 0. */
  readonly delayMs?: number;
  /** Default: one bandwidth-delay product of the round trip, taking both directions alike. */
  readonly queueBytes?: number;
  /** Share of packets lost at random, 0 to 1. */
  readonly loss?: number;
  /** Gilbert–Elliott: chance to enter and to leave the bad state a packet, in which half are lost. */
  readonly burst?: { readonly enter: number; readonly leave: number };
  /** Each packet is late by up to this; packets overtake each other. */
  readonly jitterMs?: number;
  readonly duplicate?: number;
  readonly corrupt?: number;
  readonly seed?: number;
  /** Headers of the layers below: IP, UDP and DTLS. Default 65. */
  readonly overheadBytes?: number;
  /** Packets greater than this vanish. */
  readonly maxPacketBytes?: number;
}

export class Link {
  readonly #simulation: Simulation;
  readonly #options: LinkOptions;
  readonly #fraction: () => number;
  #freeAtMs = 0;
  #isBad = false;
  /** Milliseconds each packet waited in the queue, while recording. */
  readonly queueDelaysMs: number[] = [];
  isRecording = false;
  packets = 0;
  dropped = 0;
  /** Set to see or to drop packets: false drops. */
  filter: ((packet: Buffer) => boolean) | undefined = undefined;

  constructor(simulation: Simulation, options: LinkOptions) {
    this.#simulation = simulation;
    this.#options = options;
    this.#fraction = seededRandom(options.seed ?? 1).fraction;
  }

  send(packet: Buffer, deliver: (packet: Buffer) => void): void {
    const { rateMbps = 0, delayMs = 0, loss = 0, jitterMs = 0, duplicate = 0, corrupt = 0 } = this.#options;
    const { overheadBytes = 65, maxPacketBytes = 65_535 } = this.#options;
    const { nowMs } = this.#simulation;
    this.packets++;
    if (packet.length > maxPacketBytes || this.filter?.(packet) === false) return;
    let departsMs = nowMs;
    if (rateMbps > 0) {
      const bytesPerMs = rateMbps * 125;
      const queueBytes = this.#options.queueBytes ?? Math.max(30_000, 2 * delayMs * bytesPerMs);
      const bytes = packet.length + overheadBytes;
      const waitMs = Math.max(0, this.#freeAtMs - nowMs);
      if (waitMs * bytesPerMs + bytes > queueBytes) {
        this.dropped++;
        return;
      }
      if (this.isRecording) this.queueDelaysMs.push(waitMs);
      departsMs = Math.max(nowMs, this.#freeAtMs) + bytes / bytesPerMs;
      this.#freeAtMs = departsMs;
    }
    if (this.#isLost(loss)) return;
    const copy = Buffer.from(packet);
    if (corrupt > 0 && this.#fraction() < corrupt) {
      const at = Math.floor(this.#fraction() * copy.length);
      copy[at] = copy[at]! ^ (1 + Math.floor(this.#fraction() * 255));
    }
    const copies = duplicate > 0 && this.#fraction() < duplicate ? 2 : 1;
    for (let sent = 0; sent < copies; sent++) {
      const arrivesMs = departsMs + delayMs + (jitterMs > 0 ? this.#fraction() * jitterMs : 0);
      this.#simulation.at(arrivesMs, () => deliver(sent === 0 ? copy : Buffer.from(copy)));
    }
  }

  #isLost(loss: number): boolean {
    const { burst } = this.#options;
    if (burst) {
      this.#isBad = this.#isBad ? this.#fraction() >= burst.leave : this.#fraction() < burst.enter;
      if (this.#isBad && this.#fraction() < 0.5) return true;
    }
    return loss > 0 && this.#fraction() < loss;
  }
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
