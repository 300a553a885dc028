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
  /** Bytes of it that count against flow control; an `end` frame counts none. */
  readonly charged: number;
}

export interface BulkSender {
  /** The next frame with at most `maxPayload` bytes, or `undefined` when there is none to send now. */
  pull(maxPayload: number, lane: number): BulkFrame | undefined;
}

export class BulkQueue {
  readonly #lane: Lane;
  readonly #linkWindow: SendWindow;
  readonly #maxPayload: number;
  readonly #highWater: number;
  /** Insertion order is turn order. */
  readonly #senders = new Set<BulkSender>();
  #pumping = false;

  constructor(lane: Lane, linkWindow: SendWindow, maxPayload: number, highWater: number) {
    this.#lane = lane;
    this.#linkWindow = linkWindow;
    this.#maxPayload = maxPayload;
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
    try {
      for (const sender of this.#senders) {
        if (this.#linkWindow.room <= 0 || this.#lane.channel.bufferedAmount >= this.#highWater) return;
        const frame = sender.pull(Math.min(this.#maxPayload, this.#linkWindow.room), this.#lane.id);
        this.#senders.delete(sender);
        if (!frame) continue;
        this.#linkWindow.spend(frame.charged);
        this.#lane.send(frame.head, frame.parts, frame.length);
        this.#senders.add(sender); // to the end of the line
      }
    } finally {
      this.#pumping = false;
    }
  }
}
