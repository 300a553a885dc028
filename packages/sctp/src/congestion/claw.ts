/**
 * Our congestion control: a model of the path in the line of BBR
 * (draft-ietf-ccwg-bbr). It knows the greatest delivery rate and the least round
 * trip of late, paces at that rate, and bounds what is in flight by their product.
 *
 * Beyond BBR: it watches the queue (the least round trip of each round over the
 * least of all) and drains it whenever it is its own. A queue that it cannot drain
 * belongs to somebody who fills it; then it takes its share as CUBIC does, and
 * tries every few seconds whether the other has gone. Loss alone says little: only loss beyond what the path loses anyway, together with a full
 * queue or in great measure, is taken for congestion.
 */

import type { Random } from '@claw/base';
import type { AckSample, CongestionControl } from './congestion-control.ts';
import { CubicCongestion } from './cubic.ts';
import { initialWindow } from './rfc.ts';
import { WindowedMax, WindowedMin } from './windowed-filter.ts';

type Phase = 'startup' | 'drain' | 'cruise' | 'up' | 'down' | 'probeRtt';

const STARTUP_GAIN = 2.77;
const UP_GAIN = 1.2;
const DOWN_GAIN = 0.75;
/** While a queue of our own stands during cruise. */
const EASE_GAIN = 0.92;
const RATE_WINDOW_ROUNDS = 10;
const MIN_RTT_WINDOW_MS = 30_000;
const MIN_RTT_STALE_MS = 10_000;
const PROBE_RTT_MS = 100;
const CRUISE_WINDOW_GAIN = 1.12;
const PROBE_WINDOW_GAIN = 1.4;
const STARTUP_WINDOW_GAIN = 2;
const DOWN_MAX_ROUNDS = 3;
/** Drains in a row that leave a queue before it is taken for somebody else's. */
const STUCK_DRAINS = 3;
const RIVAL_QUEUE_MS = 3;
const RIVAL_QUEUE_SHARE = 0.15;
/** While competing: how long until the next try whether the queue is ours after all. */
const COMPETE_MS = 2000;
const COMPETE_ROUNDS = 12;
/** Rounds without a quarter more rate that end startup. */
const PLATEAU_ROUNDS = 3;
const PLATEAU_GROWTH = 1.25;
/** Timers and delayed acknowledgements hold packets back this long. */
const MIN_SLACK_MS = 1;
const MAX_SLACK_MS = 2;
const MAX_BUNCH_MS = 20;
const MIN_WINDOW_PACKETS = 4;
const CONGESTIVE_LOSS = 0.12;
const QUEUED_LOSS = 0.02;
const LOSS_REDUCTION = 0.85;
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
  readonly #rate = new WindowedMax(RATE_WINDOW_ROUNDS);
  readonly #minRtt = new WindowedMin(MIN_RTT_WINDOW_MS);
  #minRttSeenMs = 0;
  #smoothedRttMs = 0;
  /** A short-lived bound after congestive loss; lifted by the next probe. */
  #rateCeiling = Number.POSITIVE_INFINITY;
  #inFlightCeiling = Number.POSITIVE_INFINITY;
  #round = 0;
  #roundEndsBytes = 0;
  /** Bytes acknowledged in bunches beyond what the rate explains: late timers, busy machines, radio frames. */
  readonly #bunched = new WindowedMax(RATE_WINDOW_ROUNDS);
  #bunchStartMs = 0;
  #bunchBytes = 0;
  #roundMinRttMs = Number.POSITIVE_INFINITY;
  #roundLostBytes = 0;
  #roundAckedBytes = 0;
  #roundRate = 0;
  #roundIsAppLimited = false;
  /** Least round trip of the last round over the least of all. */
  #queueMs = 0;
  #maxQueueMs = 0;
  /** Share of packets the path loses without a queue. */
  #pathLoss = 0;
  #plateauRate = 0;
  #plateauRounds = 0;
  #phaseStartMs = 0;
  #phaseStartRound = 0;
  #phaseStartRate = 0;
  #cruiseRounds = 6;
  #stuckDrains = 0;
  #beforeProbeRtt: Phase = 'cruise';

  constructor(packetBytes: number, random: Random) {
    this.#packetBytes = packetBytes;
    this.#random = random;
    this.windowBytes = initialWindow(packetBytes);
  }

  onAck(sample: AckSample): void {
    this.#smoothedRttMs = sample.smoothedRttMs;
    this.#roundLostBytes += sample.lostBytes;
    this.#roundAckedBytes += sample.ackedBytes;
    this.#noteRtt(sample);
    this.#noteRate(sample);
    this.#noteBunch(sample);
    if (sample.ackedBytes > 0 && sample.priorDeliveredBytes >= this.#roundEndsBytes) this.#endRound(sample);
    if (this.#rival && this.phase !== 'down') this.#compete(this.#rival, sample);
    this.#changePhase(sample);
    this.#setOutputs(sample);
  }

  /** Somebody else keeps a queue. */
  get isCompeting(): boolean {
    return this.#rival !== undefined;
  }

  onTimeout(): void {
    this.#rival?.onTimeout();
    this.windowBytes = MIN_WINDOW_PACKETS * this.#packetBytes;
  }

  setPacketBytes(packetBytes: number): void {
    this.#packetBytes = packetBytes;
    this.windowBytes = Math.max(this.windowBytes, MIN_WINDOW_PACKETS * packetBytes);
    this.#rival?.setPacketBytes(packetBytes);
  }

  // The model

  #noteRtt(sample: AckSample): void {
    const { rttMs, nowMs } = sample;
    if (Number.isNaN(rttMs)) return;
    const known = this.#minRtt.value;
    if (rttMs <= known + Math.max(0.5, known * 0.03) || known === Number.POSITIVE_INFINITY) this.#minRttSeenMs = nowMs;
    this.#minRtt.update(rttMs, nowMs);
    if (rttMs < this.#roundMinRttMs) this.#roundMinRttMs = rttMs;
  }

  #noteRate(sample: AckSample): void {
    const { rateBytesPerMs } = sample;
    if (rateBytesPerMs <= 0) return;
    if (sample.isAppLimited) this.#roundIsAppLimited = true;
    if (sample.isAppLimited && rateBytesPerMs < this.#rate.value) return;
    this.#rate.update(rateBytesPerMs, this.#round);
    if (rateBytesPerMs > this.#roundRate) this.#roundRate = rateBytesPerMs;
  }

  #noteBunch(sample: AckSample): void {
    if (this.phase === 'startup' || sample.ackedBytes === 0) return;
    let expected = this.#rate.value * (sample.nowMs - this.#bunchStartMs);
    if (this.#bunchBytes <= expected) {
      this.#bunchStartMs = sample.nowMs;
      this.#bunchBytes = 0;
      expected = 0;
    }
    this.#bunchBytes += sample.ackedBytes;
    this.#bunched.update(Math.min(this.#bunchBytes - expected, MAX_BUNCH_MS * this.#rate.value), this.#round);
  }

  #endRound(sample: AckSample): void {
    this.#round++;
    this.#roundEndsBytes = sample.deliveredBytes;
    if (this.#roundMinRttMs !== Number.POSITIVE_INFINITY) {
      this.#queueMs = Math.max(0, this.#roundMinRttMs - this.#minRtt.value);
      this.#maxQueueMs = Math.max(this.#queueMs, this.#maxQueueMs * 0.99);
    }
    this.#judgeLoss(sample);
    if (this.phase === 'startup') this.#judgePlateau();
    this.#roundMinRttMs = Number.POSITIVE_INFINITY;
    this.#roundLostBytes = 0;
    this.#roundAckedBytes = 0;
    this.#roundRate = 0;
    this.#roundIsAppLimited = false;
  }

  #judgeLoss(sample: AckSample): void {
    const total = this.#roundLostBytes + this.#roundAckedBytes;
    if (total < 8 * this.#packetBytes) return;
    const share = this.#roundLostBytes / total;
    const isQueued = this.#isQueueFull;
    const isCongestive =
      this.#roundLostBytes > 2 * this.#packetBytes &&
      (share > this.#pathLoss + CONGESTIVE_LOSS || (isQueued && share > Math.max(QUEUED_LOSS, 2.5 * this.#pathLoss)));
    if (!isCongestive) {
      if (!isQueued && this.phase !== 'startup') this.#pathLoss += (share - this.#pathLoss) / 8;
      return;
    }
    const bdp = this.#bdpBytes;
    this.#inFlightCeiling = Math.max(bdp, Math.min(this.#inFlightCeiling, sample.priorInFlightBytes) * LOSS_REDUCTION);
    if (share > this.#pathLoss + CONGESTIVE_LOSS && this.phase !== 'startup' && !this.#roundIsAppLimited) {
      const roundRate = Math.max(this.#roundRate, 0.7 * Math.min(this.#rateCeiling, this.#rate.value));
      this.#rateCeiling = Math.min(this.#rateCeiling, roundRate);
    }
    if (this.#rival) return;
    if (this.phase === 'up') this.#enter('down', sample);
    else if (this.phase === 'startup' && this.#plateauRounds > 0) this.#enter('drain', sample);
  }

  get #isQueueFull(): boolean {
    return this.#queueMs > this.#queueThresholdMs && this.#queueMs > this.#maxQueueMs / 2;
  }

  #compete(rival: CubicCongestion, sample: AckSample): void {
    const { startsEpisode } = sample;
    // What is lost while the queue is short is the path's own doing.
    sample.startsEpisode = startsEpisode && this.#isQueueFull;
    rival.onAck(sample);
    sample.startsEpisode = startsEpisode;
  }

  #judgePlateau(): void {
    if (this.#roundIsAppLimited) return;
    if (this.#rate.value >= this.#plateauRate * PLATEAU_GROWTH) {
      this.#plateauRate = this.#rate.value;
      this.#plateauRounds = 0;
    } else this.#plateauRounds++;
  }

  get #rateBytesPerMs(): number {
    const loss = Math.min(this.#pathLoss, MAX_COMPENSATED_LOSS) * LOSS_COMPENSATION;
    return Math.min(this.#rate.value, this.#rateCeiling) / (1 - loss);
  }

  get #bdpBytes(): number {
    const minRttMs = this.#minRtt.value;
    return minRttMs === Number.POSITIVE_INFINITY ? 0 : this.#rateBytesPerMs * minRttMs;
  }

  /** What counts as a queue and not as noise. */
  get #queueThresholdMs(): number {
    return Math.max(1.5, this.#minRtt.value * 0.05);
  }

  // Phases

  #changePhase(sample: AckSample): void {
    const rounds = this.#round - this.#phaseStartRound;
    const isQueueOurs = this.#queueMs > this.#queueThresholdMs;
    switch (this.phase) {
      case 'startup':
        if (
          this.#plateauRounds >= PLATEAU_ROUNDS ||
          (this.#plateauRounds >= 1 && this.#queueMs > 2 * this.#queueThresholdMs)
        ) {
          this.#enter('drain', sample);
        }
        return;
      case 'drain':
        if (sample.inFlightBytes <= this.#bdpBytes || rounds > DOWN_MAX_ROUNDS) this.#enter('cruise', sample);
        return;
      case 'cruise':
        if (this.#rival) {
          if (rounds >= COMPETE_ROUNDS && sample.nowMs - this.#phaseStartMs >= COMPETE_MS) this.#enter('down', sample);
        } else if (sample.nowMs - this.#minRttSeenMs > MIN_RTT_STALE_MS && !sample.isAppLimited)
          this.#enterProbeRtt(sample);
        else if (rounds >= this.#cruiseRounds) {
          // A queue of our own is drained before more is tried.
          this.#enter(isQueueOurs ? 'down' : 'up', sample);
        }
        return;
      case 'up': {
        const isLongEnough = sample.nowMs - this.#phaseStartMs >= this.#minRtt.value && rounds >= 1;
        const isFull = sample.inFlightBytes >= UP_GAIN * this.#bdpBytes || this.#queueMs > 2 * this.#queueThresholdMs;
        if (isLongEnough && (isFull || rounds >= 3 || sample.isAppLimited)) this.#enter('down', sample);
        return;
      }
      case 'down':
        this.#continueDown(sample, rounds);
        return;
      case 'probeRtt':
        if (sample.nowMs - this.#phaseStartMs > Math.max(PROBE_RTT_MS, this.#smoothedRttMs) && rounds >= 1) {
          this.#minRttSeenMs = sample.nowMs;
          this.#enter(this.#beforeProbeRtt, sample);
        }
    }
  }

  #continueDown(sample: AckSample, rounds: number): void {
    const isLean = this.#queueMs <= this.#queueThresholdMs;
    if (rounds >= 1 && isLean && this.#rate.value > this.#phaseStartRate * 1.1) {
      // The probe found more rate and left no queue: look on at once.
      this.#enter('up', sample);
    } else if (rounds >= 1 && isLean && sample.inFlightBytes <= this.#bdpBytes) {
      this.#stuckDrains = 0;
      this.#rival = undefined;
      this.#enter('cruise', sample);
    } else if (rounds >= DOWN_MAX_ROUNDS) {
      // Others of our kind leave a short queue, which is no reason to fill it.
      const isFilled = this.#queueMs > Math.max(RIVAL_QUEUE_MS, this.#minRtt.value * RIVAL_QUEUE_SHARE);
      if (!isFilled) {
        this.#stuckDrains = 0;
        this.#rival = undefined;
      } else if (++this.#stuckDrains >= STUCK_DRAINS && !this.#rival) {
        this.#rival = new CubicCongestion(this.#packetBytes, Math.max(this.windowBytes, sample.priorInFlightBytes));
      }
      this.#enter('cruise', sample);
    }
  }

  #enter(phase: Phase, sample: AckSample): void {
    if (phase === 'up') {
      this.#rateCeiling = Number.POSITIVE_INFINITY;
      this.#inFlightCeiling *= 1.25;
    }
    // In `down` the growth is measured against the rate before the probe.
    if (phase !== 'down' || this.phase !== 'up') this.#phaseStartRate = this.#rate.value;
    this.phase = phase;
    this.#phaseStartMs = sample.nowMs;
    this.#phaseStartRound = this.#round;
    // Flows that share a path must not probe in step.
    if (phase === 'cruise')
      this.#cruiseRounds = this.#stuckDrains > 0 ? 1 : 4 + Math.floor(this.#random.fraction() * 4);
  }

  #enterProbeRtt(sample: AckSample): void {
    this.#beforeProbeRtt = 'cruise';
    this.#enter('probeRtt', sample);
  }

  // Outputs

  #setOutputs(sample: AckSample): void {
    const rate = this.#rateBytesPerMs;
    if (this.phase === 'startup' && this.#smoothedRttMs > 0 && !Number.isFinite(this.paceBytesPerMs)) {
      this.paceBytesPerMs = (STARTUP_GAIN * this.windowBytes) / this.#smoothedRttMs;
    }
    if (rate === 0) {
      this.windowBytes += sample.ackedBytes;
      return;
    }
    const pace = this.#paceGain() * rate;
    // The first samples, of a message or two, must not slow a start.
    if (this.#rival && this.phase !== 'down') {
      this.windowBytes = this.#rival.windowBytes;
      this.paceBytesPerMs = this.#rival.paceBytesPerMs;
      return;
    }
    this.paceBytesPerMs =
      this.phase === 'startup' && Number.isFinite(this.paceBytesPerMs) ? Math.max(pace, this.paceBytesPerMs) : pace;
    const slackMs = Math.min(MAX_SLACK_MS, Math.max(MIN_SLACK_MS, this.#minRtt.value));
    const slackBytes = slackMs * rate + 3 * this.#packetBytes + this.#bunched.value;
    let target = this.#windowGain() * this.#bdpBytes + slackBytes;
    if (this.phase !== 'startup') target = Math.min(target, this.#inFlightCeiling + slackBytes);
    if (this.phase === 'probeRtt') target = this.#bdpBytes / 2;
    target = Math.max(target, MIN_WINDOW_PACKETS * this.#packetBytes);
    // After a timeout the window grows again as data is acknowledged.
    this.windowBytes =
      this.phase === 'startup'
        ? Math.max(
            Math.min(this.windowBytes + sample.ackedBytes, Math.max(target, this.windowBytes)),
            MIN_WINDOW_PACKETS * this.#packetBytes,
          )
        : Math.min(this.windowBytes + sample.ackedBytes, target);
  }

  #paceGain(): number {
    switch (this.phase) {
      case 'startup':
        return STARTUP_GAIN;
      case 'drain':
        return 1 / STARTUP_GAIN;
      case 'up':
        return UP_GAIN;
      case 'down':
        return DOWN_GAIN;
      case 'cruise':
        return this.#queueMs > this.#queueThresholdMs ? EASE_GAIN : 1;
      case 'probeRtt':
        return 1;
    }
  }

  #windowGain(): number {
    if (this.phase === 'startup' || this.phase === 'drain') return STARTUP_WINDOW_GAIN;
    return this.phase === 'up' ? PROBE_WINDOW_GAIN : CRUISE_WINDOW_GAIN;
  }
}
