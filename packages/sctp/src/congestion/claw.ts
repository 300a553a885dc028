/**
 * Our congestion control: a model of the path in the line of BBR
 * (draft-ietf-ccwg-bbr). It knows the greatest delivery rate and the least round
 * trip of late, paces at that rate, and bounds what is in flight by their product.
 *
 * Beyond BBR: it watches the queue and drains it whenever it is its own. A queue
 * that it cannot drain belongs to somebody who fills it; then it takes its share
 * as CUBIC does, and tries every few seconds whether the other has gone. Loss
 * alone says little (`path-loss.ts`), and neither does delay that merely scatters
 * (`queue-delay.ts`).
 */

import type { Random } from '@claw/base';
import { AckBunches } from './ack-bunches.ts';
import type { AckSample, CongestionControl } from './congestion-control.ts';
import { CubicCongestion } from './cubic.ts';
import { PathLoss } from './path-loss.ts';
import { QueueDelay } from './queue-delay.ts';
import { initialWindow } from './rfc.ts';
import { WindowedFilter } from './windowed-filter.ts';

type Phase = 'startup' | 'drain' | 'cruise' | 'pulse' | 'settle' | 'up' | 'down' | 'probeRtt';

const PACE_GAIN: Readonly<Record<Phase, number>> = {
  startup: 2.77,
  drain: 1 / 2.77,
  cruise: 1,
  pulse: 1,
  settle: 0.94,
  up: 1.2,
  down: 0.75,
  probeRtt: 1,
};
const WINDOW_GAIN: Readonly<Record<Phase, number>> = {
  startup: 2,
  drain: 2,
  cruise: 1.12,
  pulse: 1.25,
  settle: 1.12,
  up: 1.4,
  down: 1.12,
  probeRtt: 0.5,
};
/** Pace in cruise while a queue of our own stands. */
const EASE_GAIN = 0.92;
const RATE_WINDOW_ROUNDS = 10;
const MIN_RTT_STALE_MS = 10_000;
const PROBE_RTT_MS = 100;
/** A jump of the round trip is probed for so long, and unmoved when so much of it is left. */
const JUMP_PROBE_ROUNDS = 2;
const UNMOVED_SHARE = 0.9;
const DOWN_MAX_ROUNDS = 3;
/** What a pulse leaves in the queue of a path that is full; at least some packets. */
const PULSE_QUEUE_MS = 4;
const PULSE_PACKETS = 3;
const PULSE_SEEN_SHARE = 0.3;
const PULSE_NOISES = 3;
/** Drains in a row that leave a queue before it is taken for somebody else's. */
const STUCK_DRAINS = 3;
const RIVAL_QUEUE_MS = 3;
const RIVAL_QUEUE_SHARE = 0.15;
const RIVAL_QUEUE_NOISES = 10;
/** While competing: how long until the next try whether the queue is ours after all. */
const COMPETE_MS = 2000;
const COMPETE_ROUNDS = 12;
/** Rounds without a quarter more rate that end startup. */
const PLATEAU_ROUNDS = 3;
const PLATEAU_GROWTH = 1.25;
/** Timers and delayed acknowledgements hold packets back this long. */
const MIN_SLACK_MS = 1;
const MAX_SLACK_MS = 2;
const SLACK_PACKETS = 3;
const MIN_WINDOW_PACKETS = 4;
const LOSS_REDUCTION = 0.85;
const RATE_REDUCTION = 0.7;
/** How much of the path's own loss is made up for by sending more; less than all, so that an error dies out. */
const LOSS_COMPENSATION = 0.5;
const MAX_COMPENSATED_LOSS = 0.16;

export class ClawCongestion implements CongestionControl {
  windowBytes: number;
  paceBytesPerMs = Number.POSITIVE_INFINITY;
  phase: Phase = 'startup';
  /** Somebody else keeps a queue: the window is this one's. */
  #rival: CubicCongestion | undefined = undefined;
  readonly #random: Random;
  #packetBytes: number;
  #rate = new WindowedFilter(RATE_WINDOW_ROUNDS, Math.max, 0);
  readonly #queue = new QueueDelay();
  readonly #loss = new PathLoss();
  readonly #bunches = new AckBunches(RATE_WINDOW_ROUNDS);
  #smoothedRttMs = 0;
  /** Short-lived bounds after congestive loss; lifted by the next probe. */
  #rateCeiling = Number.POSITIVE_INFINITY;
  #inFlightCeiling = Number.POSITIVE_INFINITY;
  #windowBeforeTimeoutBytes = 0;
  #round = 0;
  #roundEndsBytes = 0;
  #roundRate = 0;
  #roundIsAppLimited = false;
  #plateauRate = 0;
  #plateauRounds = 0;
  #phaseStartMs = 0;
  #phaseStartRound = 0;
  #phaseStartRate = 0;
  #phaseStartRttMs = 0;
  #cruiseRounds = 6;
  #stuckDrains = 0;
  /** The last drain left a queue that is too short for a rival's: not ours, and no reason not to probe. */
  #hasDrained = false;

  constructor(packetBytes: number, random: Random) {
    this.#packetBytes = packetBytes;
    this.#random = random;
    this.windowBytes = initialWindow(packetBytes);
  }

  onAck(sample: AckSample): void {
    this.#smoothedRttMs = sample.smoothedRttMs;
    this.#loss.add(sample.ackedBytes, sample.lostBytes);
    if (!Number.isNaN(sample.rttMs)) this.#queue.add(sample.rttMs);
    this.#noteRate(sample);
    if (this.phase !== 'startup' && sample.ackedBytes > 0) {
      this.#bunches.add(sample.ackedBytes, this.#rate.value, this.#round, sample.nowMs);
    }
    if (sample.ackedBytes > 0 && sample.priorDeliveredBytes >= this.#roundEndsBytes) this.#endRound(sample);
    if (this.#rival && this.phase !== 'down') this.#compete(this.#rival, sample);
    this.#changePhase(sample);
    this.#setOutputs(sample);
  }
  /** Somebody else keeps a queue. */
  get isCompeting(): boolean {
    return this.#rival !== undefined;
  }

  get minRttMs(): number | undefined {
    const { minRttMs } = this.#queue;
    return minRttMs === Number.POSITIVE_INFINITY ? undefined : minRttMs;
  }

  onTimeout(): void {
    this.#rival?.onTimeout();
    this.#windowBeforeTimeoutBytes = Math.max(this.#windowBeforeTimeoutBytes, this.windowBytes);
    this.windowBytes = MIN_WINDOW_PACKETS * this.#packetBytes;
  }

  setPacketBytes(packetBytes: number): void {
    this.#packetBytes = packetBytes;
    const leastBytes = this.phase === 'startup' ? initialWindow(packetBytes) : MIN_WINDOW_PACKETS * packetBytes;
    this.windowBytes = Math.max(this.windowBytes, leastBytes);
    this.#rival?.setPacketBytes(packetBytes);
  }

  // The model

  #noteRate(sample: AckSample): void {
    const { rateBytesPerMs } = sample;
    if (rateBytesPerMs <= 0) return;
    if (sample.isAppLimited) this.#roundIsAppLimited = true;
    if (sample.isAppLimited && rateBytesPerMs < this.#rate.value) return;
    this.#rate.update(rateBytesPerMs, this.#round);
    if (rateBytesPerMs > this.#roundRate) this.#roundRate = rateBytesPerMs;
  }

  #endRound(sample: AckSample): void {
    this.#round++;
    this.#roundEndsBytes = sample.deliveredBytes;
    // The path is alive: what the timeout took is given back, and paced.
    this.windowBytes = Math.max(this.windowBytes, this.#windowBeforeTimeoutBytes);
    this.#windowBeforeTimeoutBytes = 0;
    this.#queue.endRound(this.#rate.value > 0 ? this.#packetBytes / this.#rate.value : 0, sample.nowMs);
    if (!this.#queue.isStanding) this.#stuckDrains = 0;
    this.#judgeLoss(sample);
    if (this.phase === 'startup') this.#judgePlateau();
    else if (this.#queue.roundsSinceJump === 1 && !this.#rival) this.#enter('probeRtt', sample);
    this.#roundRate = 0;
    this.#roundIsAppLimited = false;
  }

  #judgeLoss(sample: AckSample): void {
    const isOverdriven = this.phase === 'startup' && this.#plateauRounds > 0;
    const verdict = this.#loss.endRound(this.#queue.isFull, isOverdriven, this.#packetBytes);
    if (verdict === 'none') return;
    const carriedBytes = Math.min(this.#inFlightCeiling, sample.priorInFlightBytes);
    this.#inFlightCeiling = Math.max(this.#bdpBytes, carriedBytes * LOSS_REDUCTION);
    if (verdict === 'heavy' && this.phase !== 'startup' && !this.#roundIsAppLimited) {
      const leastRate = RATE_REDUCTION * Math.min(this.#rateCeiling, this.#rate.value);
      this.#rateCeiling = Math.min(this.#rateCeiling, Math.max(this.#roundRate, leastRate));
    }
    if (this.#rival) return;
    if (this.phase === 'up') this.#enter('down', sample);
    else if (isOverdriven) this.#enter('drain', sample);
  }

  #compete(rival: CubicCongestion, sample: AckSample): void {
    const { startsEpisode } = sample;
    // What is lost while the queue is short is the path's own doing.
    sample.startsEpisode = startsEpisode && this.#queue.isFull;
    rival.onAck(sample);
    sample.startsEpisode = startsEpisode;
  }

  #judgePlateau(): void {
    // A queue says that the path is full, whoever paused.
    if ((this.#roundIsAppLimited && !this.#queue.isStanding) || this.#roundRate === 0) return;
    if (this.#rate.value >= this.#plateauRate * PLATEAU_GROWTH) {
      this.#plateauRate = this.#rate.value;
      this.#plateauRounds = 0;
    } else this.#plateauRounds++;
  }

  get #rateBytesPerMs(): number {
    const loss = Math.min(this.#loss.share, MAX_COMPENSATED_LOSS) * LOSS_COMPENSATION;
    return Math.min(this.#rate.value, this.#rateCeiling) / (1 - loss);
  }

  get #bdpBytes(): number {
    const { pathRttMs } = this.#queue;
    return pathRttMs === Number.POSITIVE_INFINITY ? 0 : this.#rateBytesPerMs * pathRttMs;
  }

  // Phases

  #changePhase(sample: AckSample): void {
    const rounds = this.#round - this.#phaseStartRound;
    const phaseMs = sample.nowMs - this.#phaseStartMs;
    const isOverlong = this.#queue.queueMs > 2 * this.#queue.thresholdMs;
    switch (this.phase) {
      case 'startup':
        if (this.#plateauRounds >= (isOverlong ? 1 : PLATEAU_ROUNDS)) this.#enter('drain', sample);
        return;
      case 'drain':
        if (sample.inFlightBytes <= this.#bdpBytes || rounds > DOWN_MAX_ROUNDS) this.#enter('cruise', sample);
        return;
      case 'cruise':
        if (this.#rival) {
          if (rounds >= COMPETE_ROUNDS && phaseMs >= COMPETE_MS) this.#enter('down', sample);
        } else if (sample.nowMs - this.#queue.minRttSeenMs > MIN_RTT_STALE_MS && !sample.isAppLimited) {
          this.#enter('probeRtt', sample);
        } else if (rounds >= this.#cruiseRounds) {
          // A queue of our own is drained before more is tried.
          if (this.#queue.isStanding && !this.#hasDrained) this.#enter('down', sample);
          else this.#enter(this.#canPulse ? 'pulse' : 'up', sample);
        }
        return;
      case 'pulse':
        if (rounds >= 2) this.#enter(this.#pulseIsSeen ? 'settle' : 'up', sample);
        return;
      case 'settle':
        if (rounds >= 1) this.#enter('cruise', sample);
        return;
      case 'up': {
        const isFull = isOverlong || sample.inFlightBytes >= PACE_GAIN.up * this.#bdpBytes;
        const isLongEnough = rounds >= 1 && phaseMs >= this.#queue.minRttMs;
        if (isLongEnough && (isFull || rounds >= 3 || sample.isAppLimited)) this.#enter('down', sample);
        return;
      }
      case 'down':
        if (rounds >= 1) this.#continueDown(sample, rounds);
        return;
      case 'probeRtt':
        if (this.#queue.roundsSinceJump > 0) {
          if (rounds >= JUMP_PROBE_ROUNDS) this.#judgeJump(sample);
        } else if (rounds >= 1 && phaseMs > Math.max(PROBE_RTT_MS, this.#smoothedRttMs)) {
          this.#queue.minRttSeenMs = sample.nowMs;
          this.#enter('cruise', sample);
        }
    }
  }

  /** On a long path the queue of a full probe is long too: whether there is room, a short one tells first. */
  get #canPulse(): boolean {
    const { minRttMs, noiseMs } = this.#queue;
    const pulseMs = this.#pulseQueueMs;
    return pulseMs < (PACE_GAIN.up - 1) * minRttMs && PULSE_NOISES * noiseMs < pulseMs;
  }

  get #pulseQueueMs(): number {
    return Math.max(PULSE_QUEUE_MS, (PULSE_PACKETS * this.#packetBytes) / this.#rate.value);
  }

  get #pulseIsSeen(): boolean {
    const riseMs = this.#smoothedRttMs - this.#phaseStartRttMs;
    return riseMs > Math.max(PULSE_SEEN_SHARE * this.#pulseQueueMs, PULSE_NOISES * this.#queue.noiseMs);
  }

  #continueDown(sample: AckSample, rounds: number): void {
    if (!this.#queue.isStanding) {
      // The probe found more rate and left no queue: look on at once.
      if (this.#rate.value > this.#phaseStartRate * 1.1) this.#enter('up', sample);
      else if (sample.inFlightBytes <= this.#bdpBytes || rounds >= DOWN_MAX_ROUNDS) this.#cruiseAlone(sample);
    } else if (rounds >= DOWN_MAX_ROUNDS) {
      const { queueMs, minRttMs, noiseMs } = this.#queue;
      // Others of our kind leave a short queue, which is no reason to fill it.
      if (queueMs <= Math.max(RIVAL_QUEUE_MS, RIVAL_QUEUE_SHARE * minRttMs, RIVAL_QUEUE_NOISES * noiseMs)) {
        this.#cruiseAlone(sample);
        this.#hasDrained = true;
      } else if (this.#queue.isFlat) {
        // It neither answers to a drain nor to anything else: the path has become longer, and more is wanted in flight.
        this.#restart(sample);
      } else {
        if (++this.#stuckDrains >= STUCK_DRAINS && !this.#rival) {
          this.#rival = new CubicCongestion(this.#packetBytes, Math.max(this.windowBytes, sample.priorInFlightBytes));
        }
        this.#enter('cruise', sample);
      }
    }
  }

  /** Half in flight would have made a queue of our own half as long; a path that is longer does not care. */
  #judgeJump(sample: AckSample): void {
    const isUnmoved = this.#queue.isFlat && this.#smoothedRttMs > UNMOVED_SHARE * this.#phaseStartRttMs;
    if (isUnmoved) this.#restart(sample);
    else this.#enter('cruise', sample);
  }

  /** The path has become longer, or is another one: what it carries is found out anew. */
  #restart(sample: AckSample): void {
    this.#queue.rebase(sample.nowMs);
    this.#rate = new WindowedFilter(RATE_WINDOW_ROUNDS, Math.max, 0);
    this.#rateCeiling = Number.POSITIVE_INFINITY;
    this.#inFlightCeiling = Number.POSITIVE_INFINITY;
    this.#plateauRate = 0;
    this.#plateauRounds = 0;
    this.#stuckDrains = 0;
    this.#rival = undefined;
    this.windowBytes = Math.max(this.windowBytes, initialWindow(this.#packetBytes));
    this.#enter('startup', sample);
  }

  #cruiseAlone(sample: AckSample): void {
    this.#stuckDrains = 0;
    this.#rival = undefined;
    this.#enter('cruise', sample);
  }

  #enter(phase: Phase, sample: AckSample): void {
    if (phase === 'up') {
      this.#hasDrained = false;
      this.#rateCeiling = Number.POSITIVE_INFINITY;
      this.#inFlightCeiling *= 1.25;
    }
    // In `down` the growth is measured against the rate before the probe.
    if (phase !== 'down' || this.phase !== 'up') this.#phaseStartRate = this.#rate.value;
    this.phase = phase;
    this.#phaseStartMs = sample.nowMs;
    this.#phaseStartRttMs = this.#smoothedRttMs;
    this.#phaseStartRound = this.#round;
    // Flows that share a path must not probe in step.
    if (phase === 'cruise')
      this.#cruiseRounds = this.#stuckDrains > 0 ? 1 : 4 + Math.floor(this.#random.fraction() * 4);
  }

  // Outputs

  #setOutputs(sample: AckSample): void {
    const { phase } = this;
    if (this.#rival && phase !== 'down') {
      this.windowBytes = this.#rival.windowBytes;
      this.paceBytesPerMs = this.#rival.paceBytesPerMs;
      return;
    }
    const rate = this.#rateBytesPerMs;
    const grownBytes = this.windowBytes + sample.ackedBytes;
    if (rate === 0 || this.#smoothedRttMs === 0) {
      this.windowBytes = grownBytes;
      return;
    }
    // The first samples, of a message or two, must not slow a start.
    const leastRate = phase === 'startup' ? initialWindow(this.#packetBytes) / this.#smoothedRttMs : 0;
    this.paceBytesPerMs = this.#paceGain(sample) * Math.max(rate, leastRate);
    const targetBytes = this.#targetBytes(rate);
    // After a timeout the window grows again as data is acknowledged.
    this.windowBytes = Math.min(
      grownBytes,
      phase === 'startup' ? Math.max(targetBytes, this.windowBytes) : targetBytes,
    );
  }

  #paceGain(sample: AckSample): number {
    const { phase } = this;
    if (phase === 'cruise' && this.#queue.isStanding) return EASE_GAIN;
    const isPulsing = phase === 'pulse' && sample.nowMs - this.#phaseStartMs < this.#pulseQueueMs / (PACE_GAIN.up - 1);
    return PACE_GAIN[isPulsing ? 'up' : phase];
  }

  #targetBytes(rate: number): number {
    const { phase } = this;
    const leastBytes = MIN_WINDOW_PACKETS * this.#packetBytes;
    let bytes = WINDOW_GAIN[phase] * this.#bdpBytes;
    if (phase === 'probeRtt') return Math.max(bytes, leastBytes);
    if (phase !== 'startup') bytes = Math.min(bytes, this.#inFlightCeiling);
    const slackMs = Math.min(MAX_SLACK_MS, Math.max(MIN_SLACK_MS, this.#queue.minRttMs));
    return Math.max(bytes + slackMs * rate + SLACK_PACKETS * this.#packetBytes + this.#bunches.extraBytes, leastBytes);
  }
}
