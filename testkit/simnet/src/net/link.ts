/**
 * One direction of one attachment. A packet meets, in this order: the silent
 * size limit, loss, corruption, duplication, the queue before the rate or the
 * token bucket, then delay, jitter (order is kept) and the hold that reorders.
 */

import type { Random } from '@claw/base';
import type { LinkSpec } from '@claw/scenarios';
import type { Scheduler } from '../core/scheduler.ts';
import { largestPieceBytes, pieceCount } from './fragments.ts';
import { lossModel } from './loss.ts';
import { type Frame, ipHeaderBytes, type Packet } from './packet.ts';
import { Shaper } from './shaper.ts';

export interface LinkCounts {
  sent: number;
  delivered: number;
  lost: number;
  queueDrops: number;
}

export class Link {
  readonly counts: LinkCounts = { sent: 0, delivered: 0, lost: 0, queueDrops: 0 };
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #deliver: (frame: Frame) => void;
  #spec: LinkSpec;
  #isLost: () => boolean;
  #shaper: Shaper;
  #lastArrivalMs = 0;

  constructor(spec: LinkSpec, scheduler: Scheduler, random: Random, deliver: (frame: Frame) => void) {
    this.#spec = spec;
    this.#scheduler = scheduler;
    this.#random = random;
    this.#deliver = deliver;
    this.#isLost = lossModel(spec.loss, random);
    this.#shaper = new Shaper(spec, scheduler, (frame) => this.#depart(frame));
  }

  /** From now on. What waits in the queue goes at the new rate; what has left it arrives as it would have. */
  change(spec: LinkSpec): void {
    this.#spec = spec;
    this.#isLost = lossModel(spec.loss, this.#random);
    this.#shaper.change(spec);
  }

  send(frame: Frame): void {
    const { dropAboveBytes, corruptShare, duplicateShare } = this.#spec;
    this.counts.sent += 1;
    const isTooBig = dropAboveBytes !== undefined && largestPieceBytes(frame.packet) > dropAboveBytes;
    if (isTooBig || this.#losesOneOf(pieceCount(frame.packet))) {
      this.counts.lost += 1;
      return;
    }
    const isCorrupt = corruptShare !== undefined && this.#random.fraction() < corruptShare;
    const passing = isCorrupt ? { ...frame, packet: this.#corrupted(frame.packet) } : frame;
    this.#enqueue(passing);
    if (duplicateShare !== undefined && this.#random.fraction() < duplicateShare) this.#enqueue(passing);
  }

  #losesOneOf(pieces: number): boolean {
    let isLost = false;
    for (let piece = 0; piece < pieces; piece += 1) isLost = this.#isLost() || isLost;
    return isLost;
  }

  #enqueue(frame: Frame): void {
    if (!this.#shaper.enqueue(frame)) this.counts.queueDrops += 1;
  }

  #depart(frame: Frame): void {
    const { delayMs = 0, jitterMs = 0, reorder } = this.#spec;
    const jittered = delayMs + (jitterMs > 0 ? jitterMs * (2 * this.#random.fraction() - 1) : 0);
    const inOrderMs = Math.max(this.#scheduler.nowMs + Math.max(0, jittered), this.#lastArrivalMs);
    const isHeld = reorder !== undefined && this.#random.fraction() < reorder.share;
    if (!isHeld) this.#lastArrivalMs = inOrderMs;
    const arrivalMs = isHeld ? inOrderMs + reorder.holdMs : inOrderMs;
    if (arrivalMs <= this.#scheduler.nowMs) return this.#arrive(frame);
    this.#scheduler.at(arrivalMs, () => this.#arrive(frame));
  }

  #arrive(frame: Frame): void {
    this.counts.delivered += 1;
    this.#deliver(frame);
  }

  #corrupted(packet: Packet): Packet {
    const bits = 8 * (packet.bytes - ipHeaderBytes(packet.family));
    return { ...packet, corruptBits: [...packet.corruptBits, Math.floor(this.#random.fraction() * bits)] };
  }
}
