/**
 * What was sent and is not yet acknowledged: reads SACKs (RFC 9260 §6.2.1), finds
 * losses, feeds congestion control, keeps the retransmission and probe timers and
 * gives messages of limited reliability up (RFC 3758).
 *
 * Invariant: a held chunk is in the flying list, in the lost list, or was
 * acknowledged by a gap block or abandoned; `bytes` is the sum over the first.
 */

import { readU16, readU32 } from './byte-order.ts';
import { type CongestionControl, emptyAckSample } from './congestion/congestion-control.ts';
import { DeliveryRate } from './delivery-rate.ts';
import { Echoes } from './echoes.ts';
import { LossDetection } from './loss-detection.ts';
import type { OutboundMessage } from './outbound-stream.ts';
import { type RetransmissionCause, RetransmissionLog } from './retransmission-log.ts';
import type { RoundTripTime } from './round-trip-time.ts';
import { ChunkList, ChunkState, type SentChunk, SentChunks } from './sent-chunks.ts';
import { isAfter } from './serial.ts';
import { SizeDoubt } from './size-doubt.ts';

const NEVER = Number.POSITIVE_INFINITY;
const SHUT_WINDOW_BYTES = 256;
/** So few in flight make a thin stream. */
const THIN_CHUNKS = 3;

export class InFlight {
  readonly chunks: SentChunks;
  readonly lost = new ChunkList();
  readonly echoes: Echoes;
  readonly rate = new DeliveryRate();
  readonly sizeDoubt = new SizeDoubt();
  congestion: CongestionControl;
  /** What the path may hold at most, whatever congestion control says. */
  maxBytes = Number.POSITIVE_INFINITY;
  /** Of the peer, as of its last SACK, less what was sent since. */
  peerWindowBytes = 0;
  /** Wire bytes on their way. */
  bytes = 0;
  /** Payload bytes neither acknowledged nor abandoned. */
  outstandingBytes = 0;
  /** Everything up to here is acknowledged or abandoned (RFC 3758's Advanced.Peer.Ack.Point). */
  advancedTsn: number;
  isForwardTsnWanted = false;
  /** Set by the sender when the window and nothing else stopped it. */
  isWindowLimited = false;
  retransmitAtMs = NEVER;
  probeAtMs = NEVER;
  isProbeWanted = false;
  /** Timeouts in a row without any acknowledgement. */
  timeouts = 0;
  /** When the first of them was. */
  silentSinceMs = NEVER;
  retransmissions = 0;
  readonly #rtt: RoundTripTime;
  readonly #loss: LossDetection;
  readonly #log = new RetransmissionLog();
  readonly #flying = new ChunkList();
  readonly #onAbandon: (message: OutboundMessage) => void;
  readonly #onLost: (chunk: SentChunk, nowMs: number) => void;
  readonly #sample = emptyAckSample();
  #ackedAbove = 0;
  #isRecovering = false;
  #recoveryTsn = 0;
  #startsEpisode = false;
  #lostBytes = 0;
  #ackedBytes = 0;
  #rttSampleMs = Number.NaN;
  #rttSampleSentMs = Number.NEGATIVE_INFINITY;
  #wasWindowShut = false;
  #forwardSentMs = Number.NEGATIVE_INFINITY;
  /** Gap blocks of the last SACK, as pairs of first and last TSN. */
  #gaps: number[] = [];
  #newGaps: number[] = [];

  constructor(
    initialTsn: number,
    rtt: RoundTripTime,
    congestion: CongestionControl,
    onAbandon: (message: OutboundMessage) => void,
  ) {
    this.chunks = new SentChunks(initialTsn);
    this.echoes = new Echoes(this.chunks);
    this.advancedTsn = (initialTsn - 1) >>> 0;
    this.congestion = congestion;
    this.#rtt = rtt;
    this.#loss = new LossDetection(rtt, initialTsn);
    this.#onAbandon = onAbandon;
    this.#onLost = (chunk, nowMs) => this.#markLost(chunk, 'loss', nowMs);
  }

  /** Bytes that may be in flight now. */
  get windowBytes(): number {
    return Math.min(this.congestion.windowBytes, this.maxBytes);
  }

  get cumulativeTsn(): number {
    return (this.chunks.firstTsn - 1) >>> 0;
  }

  get reorderDeadlineMs(): number {
    return this.#loss.reorderDeadlineMs;
  }

  get tail(): SentChunk | undefined {
    return this.#flying.tail;
  }

  /** Notes that `chunk` leaves now, for the first time or again. */
  onTransmit(chunk: SentChunk, nowMs: number, isEcho = false): void {
    if (chunk.transmissions > 0) {
      if (chunk.state === ChunkState.lost) {
        this.lost.remove(chunk);
        this.echoes.onRetransmit(chunk, this.#rtt.smoothedMs, nowMs);
      } else if (chunk.state === ChunkState.inFlight) {
        this.#flying.remove(chunk);
        this.bytes -= chunk.wireBytes;
        this.#log.note(chunk.tsn, chunk.sentMs, isEcho ? 'echo' : 'timer');
      }
      this.retransmissions++;
    } else {
      this.outstandingBytes += chunk.length;
      this.peerWindowBytes = Math.max(0, this.peerWindowBytes - chunk.length);
    }
    if (!isEcho) this.rate.onSent(chunk, this.bytes, nowMs);
    chunk.state = ChunkState.inFlight;
    chunk.sentMs = nowMs;
    chunk.packetBytes = 0;
    chunk.transmissions++;
    this.#flying.append(chunk);
    this.bytes += chunk.wireBytes;
    if (this.retransmitAtMs === NEVER) this.retransmitAtMs = nowMs + this.#rtt.rtoMs;
    if (this.timeouts === 0 && this.#rtt.hasSample) this.#armProbe(nowMs);
  }

  /** The last `count` chunks to leave are in one packet of so many bytes, at least with their last piece. */
  onPacketFilled(count: number, packetBytes: number): void {
    let chunk = this.#flying.tail;
    for (let left = count; left > 0 && chunk; left--, chunk = chunk.previous) {
      if (chunk.packetBytes < packetBytes) chunk.packetBytes = packetBytes;
    }
  }

  /** Reads a SACK's fields and gap blocks; false when it acknowledges what was never sent. */
  onSack(
    cumulativeTsn: number,
    windowBytes: number,
    body: Uint8Array,
    gapCount: number,
    duplicates: number,
    nowMs: number,
  ): boolean {
    const { chunks } = this;
    if (isAfter(cumulativeTsn, (chunks.nextTsn - 1) >>> 0)) return false;
    if (isAfter(this.cumulativeTsn, cumulativeTsn)) return true;
    const priorBytes = this.bytes;
    this.#beginSample();
    const isAdvance = isAfter(cumulativeTsn, this.cumulativeTsn);
    while (isAfter(cumulativeTsn, this.cumulativeTsn)) {
      const chunk = chunks.get(chunks.firstTsn);
      if (chunk.state === ChunkState.acked) this.#ackedAbove--;
      else this.#acknowledge(chunk, nowMs);
      chunks.releaseFirst();
    }
    if (isAfter(this.cumulativeTsn, this.advancedTsn)) this.advancedTsn = this.cumulativeTsn;
    if (!this.#readGaps(cumulativeTsn, body, gapCount, nowMs)) return false;
    this.#checkReneging();
    this.#advance();
    for (let index = 0; index < duplicates; index++) {
      this.#onDuplicate(readU32(body, 12 + 4 * (gapCount + index)), nowMs);
    }
    if (this.#isRecovering && !isAfter(this.#recoveryTsn, this.cumulativeTsn)) this.#isRecovering = false;
    if (!Number.isNaN(this.#rttSampleMs)) this.#rtt.addSample(this.#rttSampleMs, nowMs);
    this.timeouts = 0;
    if (isAdvance && this.#rtt.hasSample) this.#rtt.clearBackoff();
    this.detectLosses(nowMs);
    this.#report(priorBytes, nowMs);
    this.#noteWindow(windowBytes, nowMs);
    this.peerWindowBytes = Math.max(0, windowBytes - this.outstandingBytes);
    if (isAfter(this.advancedTsn, this.cumulativeTsn) && nowMs - this.#forwardSentMs >= this.#rtt.smoothedMs) {
      this.isForwardTsnWanted = true;
    }
    this.#rearm(isAdvance || this.#ackedBytes > 0, nowMs);
    return true;
  }

  /** The reordering deadline has passed. */
  onReorderTimeout(nowMs: number): void {
    const priorBytes = this.bytes;
    this.#beginSample();
    this.detectLosses(nowMs);
    this.#report(priorBytes, nowMs);
    this.#rearm(false, nowMs);
  }

  onProbeTimeout(): void {
    this.probeAtMs = NEVER;
    if (this.#flying.head) this.isProbeWanted = true;
  }

  /** T3-rtx (RFC 9260 §6.3.3): all that is out is taken for lost. */
  onRetransmitTimeout(nowMs: number): void {
    if (this.timeouts === 0) this.silentSinceMs = nowMs;
    this.timeouts++;
    this.#rtt.backOff(this.#flying.length <= THIN_CHUNKS);
    this.probeAtMs = NEVER;
    this.congestion.onTimeout(this.bytes, nowMs);
    this.#isRecovering = true;
    this.#recoveryTsn = (this.chunks.nextTsn - 1) >>> 0;
    this.#giveUpFlying(nowMs);
    if (isAfter(this.advancedTsn, this.cumulativeTsn)) this.isForwardTsnWanted = true;
    this.#rearm(true, nowMs);
  }

  /**
   * The path is known to work again after timeouts: all that is out is sent again at once. The timeouts still
   * count until something is acknowledged, for a path may carry checks and nothing else.
   */
  onPathAnswers(nowMs: number): void {
    if (this.timeouts === 0) return;
    this.#rtt.clearBackoff();
    this.#giveUpFlying(nowMs);
    this.#rearm(true, nowMs);
  }

  detectLosses(nowMs: number): void {
    this.#loss.detect(this.#flying, this.#ackedAbove, this.#isRecovering, nowMs, this.#onLost);
  }

  /** Gives a message up; its unsent rest is the caller's. */
  abandon(message: OutboundMessage): void {
    if (message.isAbandoned) return;
    message.isAbandoned = true;
    if (message.fragments > 0) {
      if (!message.isFullySent) {
        // A TSN for the end that will not come, so that there is one to forward over even if all fragments have arrived.
        const end = this.chunks.push();
        end.message = message;
        end.length = 0;
        end.state = ChunkState.abandoned;
        message.lastTsn = end.tsn;
      }
      const stop = (message.lastTsn + 1) >>> 0;
      const first = isAfter(this.chunks.firstTsn, message.firstTsn) ? this.chunks.firstTsn : message.firstTsn;
      for (let tsn = first; isAfter(stop, tsn); tsn = (tsn + 1) >>> 0) {
        const chunk = this.chunks.get(tsn);
        if (chunk.message === message) this.#abandonChunk(chunk);
      }
      this.#advance();
    }
    this.#onAbandon(message);
  }

  onForwardTsnSent(nowMs: number): void {
    this.isForwardTsnWanted = false;
    this.#forwardSentMs = nowMs;
    if (this.retransmitAtMs === NEVER) this.retransmitAtMs = nowMs + this.#rtt.rtoMs;
  }

  #beginSample(): void {
    this.rate.begin();
    this.#ackedBytes = 0;
    this.#rttSampleMs = Number.NaN;
    this.#rttSampleSentMs = Number.NEGATIVE_INFINITY;
  }

  #readGaps(cumulativeTsn: number, body: Uint8Array, gapCount: number, nowMs: number): boolean {
    const { chunks } = this;
    const old = this.#gaps;
    const gaps = this.#newGaps;
    gaps.length = 0;
    let at = 0;
    for (let index = 0; index < gapCount; index++) {
      const startOffset = readU16(body, 12 + 4 * index);
      const endOffset = readU16(body, 14 + 4 * index);
      const end = (cumulativeTsn + endOffset) >>> 0;
      if (startOffset < 1 || endOffset < startOffset || !isAfter(chunks.nextTsn, end)) return false;
      let tsn = (cumulativeTsn + startOffset) >>> 0;
      gaps.push(tsn, end);
      // What the last SACK's blocks told already is passed over whole.
      while (!isAfter(tsn, end)) {
        while (at < old.length && isAfter(tsn, old[at + 1] as number)) at += 2;
        if (at < old.length && !isAfter(old[at] as number, tsn)) {
          tsn = ((old[at + 1] as number) + 1) >>> 0;
          continue;
        }
        const oldStart = at < old.length ? (old[at] as number) : 0;
        const stop = at < old.length && !isAfter(oldStart, end) ? oldStart : (end + 1) >>> 0;
        for (; tsn !== stop; tsn = (tsn + 1) >>> 0) {
          const chunk = chunks.get(tsn);
          if (chunk.state === ChunkState.acked) continue;
          this.#acknowledge(chunk, nowMs);
          this.#ackedAbove++;
        }
      }
    }
    this.#gaps = gaps;
    this.#newGaps = old;
    return true;
  }

  #acknowledge(chunk: SentChunk, nowMs: number): void {
    const { state } = chunk;
    chunk.state = ChunkState.acked;
    if (state === ChunkState.abandoned) return;
    this.outstandingBytes -= chunk.length;
    if (state === ChunkState.inFlight) {
      this.#flying.remove(chunk);
      this.bytes -= chunk.wireBytes;
    } else if (state === ChunkState.lost) this.lost.remove(chunk);
    this.#ackedBytes += chunk.wireBytes;
    this.sizeDoubt.onArrived(chunk.packetBytes);
    const minRttMs = this.congestion.minRttMs ?? this.#rtt.minMs;
    const isOfEarlier = chunk.transmissions > 1 && nowMs - chunk.sentMs < minRttMs;
    this.rate.onAcked(chunk, isOfEarlier, nowMs);
    if (!isOfEarlier) this.#loss.onAcked(chunk, nowMs);
    if (chunk.transmissions > 1) this.#log.onAcked(chunk.tsn, nowMs);
    else if (chunk.sentMs > this.#rttSampleSentMs) {
      this.#rttSampleSentMs = chunk.sentMs;
      this.#rttSampleMs = nowMs - chunk.sentMs;
    }
  }

  #onDuplicate(tsn: number, nowMs: number): void {
    const needless = this.#log.onDuplicate(tsn);
    if (!needless) return;
    if (needless.cause === 'loss') this.#loss.onSpuriousRetransmission(nowMs);
    else if (needless.cause === 'timer' && needless.duplicates === needless.times) {
      // The timer was too quick: it was the first sending that was acknowledged, and its round trip is known after all.
      if (!Number.isNaN(needless.roundTripMs)) this.#rtt.addSample(needless.roundTripMs, nowMs);
    }
  }

  /** The peer withdrew a gap block: the chunk after the cumulative TSN cannot have been kept. */
  #checkReneging(): void {
    const { chunks } = this;
    if (chunks.length === 0 || chunks.get(chunks.firstTsn).state !== ChunkState.acked) return;
    for (let tsn = chunks.firstTsn; tsn !== chunks.nextTsn; tsn = (tsn + 1) >>> 0) {
      const chunk = chunks.get(tsn);
      if (chunk.state !== ChunkState.acked) continue;
      chunk.state = ChunkState.lost;
      this.outstandingBytes += chunk.length;
      this.lost.append(chunk);
    }
    this.#ackedAbove = 0;
    this.#gaps.length = 0;
  }

  #markLost(chunk: SentChunk, cause: RetransmissionCause, nowMs: number): void {
    this.#log.note(chunk.tsn, chunk.sentMs, cause);
    // What is sent into a shut window is lost for another reason.
    if (!this.#wasWindowShut) this.sizeDoubt.onLost(chunk.packetBytes, chunk.sentMs, nowMs);
    this.#flying.remove(chunk);
    this.bytes -= chunk.wireBytes;
    this.#lostBytes += chunk.wireBytes;
    chunk.state = ChunkState.lost;
    this.lost.append(chunk);
    if (!this.#isRecovering || isAfter(chunk.tsn, this.#recoveryTsn)) {
      this.#isRecovering = true;
      this.#recoveryTsn = (this.chunks.nextTsn - 1) >>> 0;
      this.#startsEpisode = true;
      this.#loss.onEpisodeStart();
    }
    const { message } = chunk;
    if (message && chunk.transmissions > message.maxRetransmits) this.abandon(message);
  }

  /** All that is out is to be sent again, the lowest TSN first (RFC 9260 §6.3.3 E3). Congestion control hears of it otherwise. */
  #giveUpFlying(nowMs: number): void {
    for (let chunk = this.#flying.head; chunk; chunk = this.#flying.head) this.#markLost(chunk, 'timer', nowMs);
    this.#lostBytes = 0;
    const { chunks, lost } = this;
    for (let tsn = chunks.firstTsn; tsn !== chunks.nextTsn; tsn = (tsn + 1) >>> 0) {
      const chunk = chunks.get(tsn);
      if (chunk.state !== ChunkState.lost) continue;
      lost.remove(chunk);
      lost.append(chunk);
    }
  }

  #abandonChunk(chunk: SentChunk): void {
    if (chunk.state === ChunkState.inFlight) {
      this.#flying.remove(chunk);
      this.bytes -= chunk.wireBytes;
    } else if (chunk.state === ChunkState.lost) this.lost.remove(chunk);
    else return;
    this.outstandingBytes -= chunk.length;
    chunk.state = ChunkState.abandoned;
  }

  #advance(): void {
    const { chunks } = this;
    let tsn = (this.advancedTsn + 1) >>> 0;
    for (; tsn !== chunks.nextTsn; tsn = (tsn + 1) >>> 0) {
      const { state, message } = chunks.get(tsn);
      if (state !== ChunkState.abandoned && state !== ChunkState.acked) break;
      // What arrived of a message that was given up must go at the peer too.
      if (message?.isAbandoned) {
        this.advancedTsn = tsn;
        this.isForwardTsnWanted = true;
      }
    }
  }

  /** A window that opens again: what probed it while it was shut was thrown away, through no fault of the path. */
  #noteWindow(windowBytes: number, nowMs: number): void {
    const isShut = windowBytes < SHUT_WINDOW_BYTES;
    if (this.#wasWindowShut && !isShut) {
      this.#giveUpFlying(nowMs);
      this.#startsEpisode = false;
    }
    this.#wasWindowShut = isShut;
  }

  #report(priorBytes: number, nowMs: number): void {
    const sample = this.#sample;
    sample.nowMs = nowMs;
    sample.ackedBytes = this.#ackedBytes;
    sample.lostBytes = this.#lostBytes;
    sample.inFlightBytes = this.bytes;
    sample.priorInFlightBytes = priorBytes;
    sample.rttMs = this.#rttSampleMs;
    sample.smoothedRttMs = this.#rtt.smoothedMs;
    sample.minRttMs = this.#rtt.minMs;
    sample.rateBytesPerMs = this.rate.end(Number.isFinite(this.#rtt.minMs) ? this.#rtt.minMs : 0);
    sample.deliveredBytes = this.rate.deliveredBytes;
    sample.priorDeliveredBytes = this.rate.priorDeliveredBytes;
    sample.isAppLimited = this.rate.isAppLimited;
    sample.isWindowLimited = this.isWindowLimited;
    sample.startsEpisode = this.#startsEpisode;
    this.#startsEpisode = false;
    this.#lostBytes = 0;
    if (sample.ackedBytes > 0 || sample.lostBytes > 0) this.congestion.onAck(sample);
  }

  #rearm(isProgress: boolean, nowMs: number): void {
    if (this.chunks.length === 0) {
      this.retransmitAtMs = NEVER;
      this.probeAtMs = NEVER;
    } else if (isProgress) {
      this.retransmitAtMs = nowMs + this.#rtt.rtoMs;
      if (this.timeouts === 0 && this.#flying.length > 0) this.#armProbe(nowMs);
    }
  }

  #armProbe(nowMs: number): void {
    const timeoutMs = this.#loss.probeTimeoutMs(this.#flying.length);
    this.probeAtMs = nowMs + timeoutMs < this.retransmitAtMs ? nowMs + timeoutMs : NEVER;
  }
}
