/**
 * Credit for lanes that may lose: how far the peer's reader is behind is known
 * from its reports of the highest record seen. A sender that would put more than
 * a window under way drops instead; a mark on the control lane, which is not
 * lossy, asks for a report when the last records of a burst were lost.
 */

import type { Clock, Timer } from '@claw/base';
import type { Lane } from './lane.ts';

export interface LossyGateOptions {
  readonly lane: Lane;
  readonly clock: Clock;
  readonly windowBytes: number;
  readonly sendMark: (sequence: number) => void;
  readonly sendReport: (sequence: number) => void;
}

/** Records whose sizes are remembered; more than this many under way counts as full. */
const TRACKED_RECORDS = 4096;
const MARK_AFTER_MS = 50;
const REPORT_EVERY_BYTES = 128 * 1024;

export class LossyGate {
  readonly #options: LossyGateOptions;
  /** Total bytes sent up to and including a record, at its number modulo the size. */
  readonly #totals = new Float64Array(TRACKED_RECORDS);
  #total = 0;
  #reported = 0;
  #reportedSequence = -1;
  #unreportedBytes = 0;
  #markTimer: Timer | undefined;

  constructor(options: LossyGateOptions) {
    this.#options = options;
  }

  /** Sends one record, or drops it and returns false. */
  send(head: Buffer, payload: Uint8Array): boolean {
    const { lane, windowBytes } = this.#options;
    const sequence = lane.nextSequence;
    const length = head.length + payload.length;
    const full =
      this.#total - this.#reported + length > windowBytes ||
      sequence - this.#reportedSequence > TRACKED_RECORDS ||
      lane.channel.bufferedAmount > windowBytes;
    if (full) {
      this.#askForReport();
      return false;
    }
    this.#total += length;
    this.#totals[sequence % TRACKED_RECORDS] = this.#total;
    lane.send(head, [payload], payload.length);
    return true;
  }

  /** The peer has seen records up to `sequence`. */
  onReport(sequence: number): void {
    const { lane } = this.#options;
    if (sequence <= this.#reportedSequence || sequence >= lane.nextSequence) return;
    this.#reportedSequence = sequence;
    this.#reported = this.#totals[sequence % TRACKED_RECORDS] as number;
  }

  /** A record of the peer arrived on this lane. */
  onRecord(length: number): void {
    this.#unreportedBytes += length;
    if (this.#unreportedBytes < REPORT_EVERY_BYTES) return;
    this.#unreportedBytes = 0;
    this.#options.sendReport(this.#options.lane.highestReceived);
  }

  /** The peer sent everything below `sequence`; what has not come by now counts as lost. */
  onMark(sequence: number): void {
    this.#unreportedBytes = 0;
    if (sequence > 0) this.#options.sendReport(sequence - 1);
  }

  stop(): void {
    this.#markTimer?.cancel();
  }

  #askForReport(): void {
    this.#markTimer ??= this.#options.clock.setTimer(MARK_AFTER_MS, () => {
      this.#markTimer = undefined;
      this.#options.sendMark(this.#options.lane.nextSequence);
    });
  }
}
