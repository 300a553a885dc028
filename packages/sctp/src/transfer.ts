/**
 * What two ends exchange once they know each other: messages both ways with their
 * acknowledgements, and the ends of streams. Messages may be handed in before; an
 * association whose peer began anew goes on with a fresh one.
 */

import { readU16, readU32 } from './byte-order.ts';
import { ChunkType } from './chunk-types.ts';
import { createCongestion } from './congestion/create-congestion.ts';
import type { InitOffer, InitParameters } from './init-chunk.ts';
import type { SctpListener, SctpStatistics } from './listener.ts';
import type { ResolvedOptions } from './options.ts';
import { Receiver } from './receiver.ts';
import type { RoundTripTime } from './round-trip-time.ts';
import { Sender } from './sender.ts';
import { isAfter } from './serial.ts';
import { StreamReset } from './stream-reset.ts';

export interface TransferHost {
  /** Adds a control chunk to the next packet. */
  sendNext(chunk: Buffer): void;
  listener(): SctpListener;
}

const NEVER = Number.POSITIVE_INFINITY;
/** Before a peer is given up: as long as ICE's consent lasts. */
const MIN_SILENCE_MS = 30_000;

export class Transfer {
  readonly sender: Sender;
  readonly rtt: RoundTripTime;
  /** From `start` to `stop`. */
  receiver: Receiver | undefined;
  readonly #options: ResolvedOptions;
  readonly #host: TransferHost;
  readonly #initialTsn: number;
  #reset: StreamReset | undefined;
  #isInterleaved = false;
  /** Streams that are to be reset, and have nothing more to send. */
  readonly #ended = new Set<number>();

  constructor(
    options: ResolvedOptions,
    host: TransferHost,
    rtt: RoundTripTime,
    initialTsn: number,
    packetBytes: number,
  ) {
    const { congestion, random, scheduler } = options;
    this.#options = options;
    this.#host = host;
    this.#initialTsn = initialTsn;
    this.rtt = rtt;
    this.sender = new Sender({
      initialTsn,
      scheduler,
      congestion: createCongestion(congestion, packetBytes, random),
      rtt,
      onDrained: (stream) => {
        if (stream.isEnding && stream.queue.length === 0) this.#ended.add(stream.id);
        host.listener().onDrained?.(stream.id);
      },
    });
  }

  /** The peer's parameters are known. */
  start(local: InitOffer, peer: InitParameters, sparesAcks: boolean): void {
    const { receiveWindowBytes, maxMessageBytes, delayedAckMs } = this.#options;
    this.#isInterleaved = peer.hasInterleaving && local.hasInterleaving;
    this.sender.start(peer.receiveWindowBytes, this.#isInterleaved, peer.hasPieces);
    this.receiver = new Receiver({
      initialTsn: peer.initialTsn,
      isInterleaved: this.#isInterleaved,
      windowBytes: receiveWindowBytes,
      maxMessageBytes,
      delayedAckMs,
      sparesAcks,
      deliver: (streamId, ppid, data) => this.#host.listener().onMessage(streamId, ppid, data),
    });
    this.#reset = this.#makeReset(this.receiver, peer.initialTsn);
  }

  /** Takes and acknowledges nothing more; what was not sent can still be asked for. */
  stop(): void {
    this.receiver = undefined;
    this.#reset = undefined;
    this.#ended.clear();
  }

  get statistics(): SctpStatistics {
    const { inFlight, bufferedBytes } = this.sender;
    return {
      windowBytes: inFlight.windowBytes,
      paceBytesPerMs: inFlight.congestion.paceBytesPerMs,
      inFlightBytes: inFlight.bytes,
      peerWindowBytes: inFlight.peerWindowBytes,
      retransmissions: inFlight.retransmissions,
      minRttMs: this.rtt.minMs,
      smoothedRttMs: this.rtt.smoothedMs,
      bufferedBytes,
      heldBytes: this.receiver?.heldBytes ?? 0,
    };
  }

  get deadlineMs(): number {
    const { retransmitAtMs, probeAtMs, reorderDeadlineMs } = this.sender.inFlight;
    const sackAtMs = this.receiver?.sackAtMs ?? NEVER;
    const resetAtMs = this.#reset?.timeoutAtMs ?? NEVER;
    return Math.min(retransmitAtMs, probeAtMs, reorderDeadlineMs, sackAtMs, resetAtMs);
  }

  /** Ends a stream of ours once its messages are acknowledged. */
  resetStream(streamId: number): void {
    const stream = this.sender.stream(streamId);
    if (stream.isEnding) return;
    stream.isEnding = true;
    if (stream.queue.length === 0) this.#ended.add(streamId);
  }

  /** Streams whose messages are all acknowledged: older libwebrtc, asked before that, forgets those still out of order. */
  resetEnded(nowMs: number): void {
    const { inFlight } = this.sender;
    for (const id of this.#ended) {
      const { lastTsn } = this.sender.stream(id);
      if (lastTsn !== undefined && isAfter(lastTsn, inFlight.cumulativeTsn)) continue;
      this.#ended.delete(id);
      this.#reset?.add(id);
    }
    this.#reset?.pump(this.rtt.rtoMs, nowMs);
  }

  /** Another path carries the packets from now on. */
  pathChanged(packetBytes: number, maxInFlightBytes: number, nowMs: number): void {
    const { congestion, random } = this.#options;
    const { inFlight } = this.sender;
    inFlight.maxBytes = maxInFlightBytes;
    inFlight.congestion = createCongestion(congestion, packetBytes, random);
    inFlight.onPathAnswers(nowMs);
  }

  onPathAnswers(nowMs: number): void {
    this.sender.inFlight.onPathAnswers(nowMs);
    this.#reset?.onPathAnswers(nowMs);
  }

  // Incoming: each chunk's reader returns what the peer did wrong, or undefined.

  onData(type: number, flags: number, body: Buffer, packetBytes: number): string | undefined {
    const { receiver } = this;
    if (!receiver) return undefined;
    if (type === ChunkType.piece) return receiver.onPiece(flags, body) ? undefined : 'malformed piece of a data chunk';
    if ((type === ChunkType.iData) === this.#isInterleaved && receiver.onData(flags, body, packetBytes))
      return undefined;
    return body.length <= 12 ? 'data chunk without data' : 'data chunk of the wrong kind or size';
  }

  onSack(body: Buffer, nowMs: number): string | undefined {
    if (body.length < 12) return 'short SACK';
    const gapCount = readU16(body, 8);
    const duplicates = readU16(body, 10);
    if (body.length < 12 + 4 * (gapCount + duplicates)) return 'SACK shorter than its blocks';
    const { inFlight } = this.sender;
    const isSound = inFlight.onSack(readU32(body, 0), readU32(body, 4), body, gapCount, duplicates, nowMs);
    return isSound ? undefined : 'SACK for what was never sent';
  }

  /** The acknowledgement in a SHUTDOWN chunk. */
  onShutdown(body: Buffer, nowMs: number): string | undefined {
    if (body.length < 4) return 'short SHUTDOWN';
    const { inFlight } = this.sender;
    const windowBytes = inFlight.peerWindowBytes + inFlight.outstandingBytes;
    const isSound = inFlight.onSack(readU32(body, 0), windowBytes, body, 0, 0, nowMs);
    return isSound ? undefined : 'SHUTDOWN for what was never sent';
  }

  onForwardTsn(type: number, body: Buffer): string | undefined {
    if (!this.receiver) return undefined;
    const isOfOurKind = (type === ChunkType.iForwardTsn) === this.#isInterleaved;
    return isOfOurKind && this.receiver.onForwardTsn(body) ? undefined : 'malformed FORWARD TSN';
  }

  onReconfig(body: Buffer, nowMs: number): string | undefined {
    if (!this.#reset || this.#reset.onReconfig(body, this.rtt.rtoMs, nowMs)) return undefined;
    return 'malformed RE-CONFIG';
  }

  onPacketEnd(packetBytes: number, nowMs: number): void {
    this.receiver?.onPacketEnd(packetBytes, nowMs);
    this.#reset?.onProgress();
  }

  /** Does what is due; returns why the peer is to be given up, if it is. */
  onTime(nowMs: number): string | undefined {
    const { maxTimeouts } = this.#options;
    const { inFlight } = this.sender;
    if (nowMs >= inFlight.reorderDeadlineMs) inFlight.onReorderTimeout(nowMs);
    if (nowMs >= inFlight.retransmitAtMs) {
      inFlight.onRetransmitTimeout(nowMs);
      // Timeouts that a path cut short, by answering or by changing, say little.
      const isLong = nowMs - inFlight.silentSinceMs >= MIN_SILENCE_MS;
      if (inFlight.timeouts > maxTimeouts && isLong) return 'data is not acknowledged';
    } else if (nowMs >= inFlight.probeAtMs) inFlight.onProbeTimeout();
    if (this.#reset && nowMs >= this.#reset.timeoutAtMs) {
      this.#reset.onTimeout(this.rtt.rtoMs, nowMs);
      if (this.#reset.timeouts > maxTimeouts) return 'stream resets are not answered';
    }
    return undefined;
  }

  #makeReset(receiver: Receiver, peerInitialTsn: number): StreamReset {
    const { sender } = this;
    const listener = () => this.#host.listener();
    return new StreamReset(
      {
        sendNext: (chunk) => this.#host.sendNext(chunk),
        lastSentTsn: () => (sender.inFlight.chunks.nextTsn - 1) >>> 0,
        hasAllThrough: (tsn) => receiver.hasAllThrough(tsn),
        peerReset: (streamIds) => {
          receiver.resetStreams(streamIds);
          listener().onPeerReset?.(streamIds);
        },
        resetAsked: (streamIds) => {
          for (const id of streamIds) this.resetStream(id);
        },
        resetDone: (streamIds, isAccepted) => {
          for (const id of streamIds) {
            if (isAccepted) sender.stream(id).restart();
            if (isAccepted && sender.stream(id).queue.length === 0) sender.forget(id);
          }
          listener().onResetDone?.(streamIds, isAccepted);
        },
      },
      this.#initialTsn,
      peerInitialTsn,
    );
  }
}
