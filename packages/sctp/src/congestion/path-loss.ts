/**
 * What part of the loss is the path's own. Loss while the queue is short is taken
 * for that. Congestion is loss well beyond it together with a full queue; or, where
 * queues are too short to be seen, a great deal for a while, for links that lose in
 * bursts lose much of single rounds.
 */

const QUEUED_SHARE = 0.02;
const QUEUED_FACTOR = 2.5;
const HEAVY_SHARE = 0.12;
const HEAVY_SCATTERS = 3;
const HEAVY_EPOCHS = 2;
/** At once too much for anything but a queue that overflows. */
const OVERFLOW_SHARE = 0.4;
/** Rounds add up to this before they are judged. */
const EPOCH_PACKETS = 40;
const MIN_ROUND_PACKETS = 8;
const LEARNING = 1 / 8;

export type LossVerdict = 'none' | 'queue' | 'heavy';

export class PathLoss {
  /** Of packets, 0 to 1. */
  share = 0;
  #scatter = 0;
  #epochs = 0;
  #heavyEpochs = 0;
  #roundLostBytes = 0;
  #roundAckedBytes = 0;
  #epochLostBytes = 0;
  #epochAckedBytes = 0;

  add(ackedBytes: number, lostBytes: number): void {
    this.#roundAckedBytes += ackedBytes;
    this.#roundLostBytes += lostBytes;
  }

  /** Judges the round that ends. `isOverdriven`: more was sent than the path is thought to carry. */
  endRound(isQueueFull: boolean, isOverdriven: boolean, packetBytes: number): LossVerdict {
    const lostBytes = this.#roundLostBytes;
    const ackedBytes = this.#roundAckedBytes;
    const roundShare = lostBytes / (lostBytes + ackedBytes);
    const isEnough = lostBytes + ackedBytes >= MIN_ROUND_PACKETS * packetBytes && lostBytes > 2 * packetBytes;
    this.#roundLostBytes = 0;
    this.#roundAckedBytes = 0;
    if (isEnough && roundShare > this.share + OVERFLOW_SHARE) return 'heavy';
    if (isQueueFull) {
      return isEnough && roundShare > Math.max(QUEUED_SHARE, QUEUED_FACTOR * this.share) ? 'queue' : 'none';
    }
    this.#epochLostBytes += lostBytes;
    this.#epochAckedBytes += ackedBytes;
    const epochBytes = this.#epochLostBytes + this.#epochAckedBytes;
    return epochBytes >= EPOCH_PACKETS * packetBytes ? this.#endEpoch(isOverdriven) : 'none';
  }

  #endEpoch(isOverdriven: boolean): LossVerdict {
    const excess = this.#epochLostBytes / (this.#epochLostBytes + this.#epochAckedBytes) - this.share;
    this.#epochLostBytes = 0;
    this.#epochAckedBytes = 0;
    this.#heavyEpochs = excess > Math.max(HEAVY_SHARE, HEAVY_SCATTERS * this.#scatter) ? this.#heavyEpochs + 1 : 0;
    if (!isOverdriven) {
      // At first the mean of all, then of the last ones.
      const weight = Math.max(LEARNING, 1 / (++this.#epochs + 1));
      this.share += weight * excess;
      this.#scatter += weight * (Math.abs(excess) - this.#scatter);
    }
    return this.#heavyEpochs >= HEAVY_EPOCHS ? 'heavy' : 'none';
  }
}
