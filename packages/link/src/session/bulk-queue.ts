/**
 * Who may send next on a bulk lane. Senders take turns, one frame each, while
 * the engine holds less than the high-water mark and the link has credit; so a
 * small transfer beside a large one gets its share, and control frames on their
 * own lane overtake whatever waits here.
 */

import type { Lane } from './lane.ts';
import type { SendWindow } from './receive-window.ts';

export interface BulkFrame {
  readonly head: Buffer;
  readonly parts: readonly Uint8Array[];
  readonly length: number;
  /** What the frame takes of the link's credit. The first part of a long message pays for all of it. */
  readonly charged: number;
  /** There is another to pull after it. */
  readonly more: boolean;
}

export interface BulkSender {
  /**
   * The next frame; `undefined` when there is none to send now, `later` when there
   * is one that wants more than `linkRoom` and keeps its place in the line.
   */
  pull(linkRoom: number, lane: number): BulkFrame | 'later' | undefined;
}

export class BulkQueue {
  readonly #lane: Lane;
  readonly #linkWindow: SendWindow;
  readonly #highWater: number;
  /** Insertion order is turn order. */
  #senders = new Set<BulkSender>();
  #pumping = false;
  /** What the engine holds at the most, but for a few life-cycle frames: spares asking it for every frame. */
  #bufferedAtMost = 0;

  constructor(lane: Lane, linkWindow: SendWindow, highWater: number) {
    this.#lane = lane;
    this.#linkWindow = linkWindow;
    this.#highWater = highWater;
    lane.channel.bufferedAmountLowThreshold = Math.floor(highWater / 2);
  }

  add(sender: BulkSender): void {
    this.#senders.add(sender);
    this.pump();
  }

  remove(sender: BulkSender): void {
    this.#senders.delete(sender);
  }

  pump(): void {
    if (this.#pumping) return; // a sender's callback added to the queue; the loop below sees it
    this.#pumping = true;
    const later: BulkSender[] = [];
    try {
      for (const sender of this.#senders) {
        if (this.#isFull()) break;
        this.#senders.delete(sender); // before it is asked: it may add itself again while it answers
        const frame = sender.pull(this.#linkWindow.room, this.#lane.id);
        if (frame === 'later') later.push(sender);
        if (!frame || frame === 'later') continue;
        this.#linkWindow.spend(frame.charged);
        this.#lane.send(frame.head, frame.parts, frame.length);
        this.#bufferedAtMost += frame.head.length + frame.length;
        if (frame.more) this.#senders.add(sender); // to the end of the line
      }
    } finally {
      if (later.length > 0) this.#senders = new Set([...later, ...this.#senders]);
      this.#pumping = false;
    }
  }

  #isFull(): boolean {
    if (this.#bufferedAtMost < this.#highWater) return false;
    this.#bufferedAtMost = this.#lane.channel.bufferedAmount;
    return this.#bufferedAtMost >= this.#highWater;
  }
}
