/**
 * One SCTP association over one path, without socket, clock or timer (RFC 9260 as
 * profiled by RFC 8831). Packets come in by `receive`, leave by `options.send`;
 * the owner calls `handleTimeout` no later than `deadlineMs`.
 *
 * Invariant: the listener is called only between chunks, with the state consistent;
 * what it asks for is sent when the outermost call ends.
 */

import type { ClawError } from '@claw/base';
import { readU16, readU32 } from './byte-order.ts';
import { encodeChunk, encodeParameter } from './chunk-codec.ts';
import { ChunkType, COMMON_HEADER_BYTES, ErrorCause, TAG_REFLECTED } from './chunk-types.ts';
import { createCongestion } from './congestion/create-congestion.ts';
import { type SctpErrorCode, sctpError } from './errors.ts';
import { abortFor, Handshake } from './handshake.ts';
import { decodeInitChunk, encodeInit, type InitParameters } from './init-chunk.ts';
import type { SctpListener, SctpState, SctpStatistics } from './listener.ts';
import { makeOffer, readOwnInit } from './local-init.ts';
import { checkRange, MAX_STREAMS, type ResolvedOptions, resolveOptions, type SctpOptions } from './options.ts';
import type { MessageOptions } from './outbound-stream.ts';
import { describeAbort, hasRightTag, isForUs, readErrorCauses } from './packet-input.ts';
import { PacketOutput } from './packet-output.ts';
import { PathProbes } from './path-probes.ts';
import { Receiver } from './receiver.ts';
import { RoundTripTime } from './round-trip-time.ts';
import { Sender } from './sender.ts';
import { isAfter } from './serial.ts';
import { Shutdown } from './shutdown.ts';
import { StreamReset } from './stream-reset.ts';

const NEVER = Number.POSITIVE_INFINITY;
const SMALL_HEARTBEAT_BYTES = 128;
/** Before a peer is given up: as long as ICE's consent lasts. */
const MIN_SILENCE_MS = 30_000;

export interface PathLimits {
  /** Default: the option of the same name. */
  readonly maxPacketBytes?: number;
  /** In flight at once, for a path whose queue is known to be nobody's but ours. Default: no limit but the window. */
  readonly maxInFlightBytes?: number;
}

export class SctpAssociation {
  /**
   * The peer's sender neither counts acknowledgements nor waits for a third, as ours: it gets fewer. To be set before
   * the association is up. Default false.
   */
  sparesAcks = false;
  listener: SctpListener = { onMessage: (_, __, data) => this.release(data.length, this.#nowMs) };
  readonly #options: ResolvedOptions;
  readonly #output: PacketOutput;
  readonly #handshake: Handshake;
  readonly #path: PathProbes;
  #rtt: RoundTripTime;
  #sender: Sender;
  #receiver: Receiver | undefined;
  #reset: StreamReset | undefined;
  /** Streams that are to be reset, and have nothing more to send. */
  readonly #ended = new Set<number>();
  #state: SctpState = 'new';
  readonly #shutdown: Shutdown;
  #mayOmitChecksum = false;
  #nowMs = 0;
  #isBusy = false;
  #hasWork = false;

  constructor(options: SctpOptions) {
    this.#options = resolveOptions(options);
    const { random, initialRtoMs, maxRtoMs, localInit } = this.#options;
    const local = localInit ? readOwnInit(localInit) : makeOffer(this.#options);
    this.#handshake = new Handshake(
      {
        sendAlone: (chunk, tag) => this.#output.sendAlone(tag, chunk, true),
        sendNext: (chunk) => this.#sendNext(chunk),
        established: (peer, isRestart, nowMs) => this.#onEstablished(peer, isRestart, nowMs),
        failed: (message) => this.#close(sctpError('SCTP_TIMEOUT', message)),
      },
      local,
      () => makeOffer(this.#options),
      random.bytes(32),
      initialRtoMs,
      maxRtoMs,
    );
    this.#output = new PacketOutput(this.#options);
    this.#shutdown = new Shutdown(
      {
        sendNext: (chunk) => this.#sendNext(chunk),
        sendAlone: (chunk) => this.#output.sendAlone(this.#handshake.peerTag, chunk, true),
        isDrained: () => this.#sender.isDrained,
        cumulativeTsn: () => this.#receiver?.cumulativeTsn ?? 0,
        rtoMs: () => this.#rtt.rtoMs,
        finished: () => this.#close(undefined),
      },
      this.#options.maxTimeouts,
    );
    this.#path = new PathProbes(this.#options);
    this.#rtt = new RoundTripTime(this.#options);
    this.#sender = this.#makeSender(local.initialTsn);
  }

  get state(): SctpState {
    return this.#state;
  }

  /** Our INIT chunk, for the session description (SNAP). */
  get localInit(): Buffer {
    return encodeInit(ChunkType.init, this.#handshake.local);
  }

  /** The port that the peer's description names; to be set before `connect`. */
  set remotePort(port: number) {
    checkRange('remotePort', port, 1, 65_535);
    this.#options.remotePort = port;
  }

  /** When to call `handleTimeout`; the past when at once, infinite when never. */
  get deadlineMs(): number {
    if (this.#hasWork) return Number.NEGATIVE_INFINITY;
    const { inFlight } = this.#sender;
    let deadlineMs = Math.min(this.#handshake.timeoutAtMs, this.#shutdown.timeoutAtMs, this.#path.deadlineMs);
    if (this.#receiver) deadlineMs = Math.min(deadlineMs, this.#receiver.sackAtMs);
    if (this.#reset) deadlineMs = Math.min(deadlineMs, this.#reset.timeoutAtMs);
    return Math.min(
      deadlineMs,
      inFlight.retransmitAtMs,
      inFlight.probeAtMs,
      inFlight.reorderDeadlineMs,
      this.#pacedUntilMs,
    );
  }
  #pacedUntilMs = NEVER;

  /** Retransmission time-outs in a row: the path may be dead. */
  get timeouts(): number {
    return this.#sender.inFlight.timeouts;
  }

  /** The time of the last call that brought one. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Streams that both ends have, from id 0; all there can be until the peer has told. */
  get maxStreams(): number {
    return this.#maxStreams;
  }
  #maxStreams = MAX_STREAMS;

  get smoothedRttMs(): number {
    return this.#rtt.smoothedMs;
  }

  /** Greatest packet the path is known to carry. */
  get packetBytes(): number {
    return this.#path.packetBytes;
  }

  /** What is known of the path and the traffic, for logs and tests. */
  get statistics(): SctpStatistics {
    const { inFlight } = this.#sender;
    return {
      windowBytes: inFlight.windowBytes,
      paceBytesPerMs: inFlight.congestion.paceBytesPerMs,
      inFlightBytes: inFlight.bytes,
      peerWindowBytes: inFlight.peerWindowBytes,
      retransmissions: inFlight.retransmissions,
      minRttMs: this.#rtt.minMs,
      smoothedRttMs: this.#rtt.smoothedMs,
      bufferedBytes: this.#sender.bufferedBytes,
      heldBytes: this.#receiver?.heldBytes ?? 0,
    };
  }

  /** Bytes handed to `sendMessage` for this stream and not yet sent once. */
  bufferedBytes(streamId: number): number {
    return this.#sender.stream(streamId).bufferedBytes;
  }

  /**
   * Starts the association; both ends may. With the peer's INIT chunk from its
   * session description there is no handshake: both ends must have both (SNAP).
   * @throws SCTP_CLOSED, SCTP_MALFORMED
   */
  connect(nowMs: number, remoteInit?: Buffer): void {
    if (this.#state !== 'new') {
      if (this.#state === 'connecting' || this.#state === 'connected') return;
      throw sctpError('SCTP_CLOSED', `connect: the association is ${this.#state}`);
    }
    const peer = remoteInit && decodeInitChunk(remoteInit);
    if (remoteInit && !peer) throw sctpError('SCTP_MALFORMED', 'connect: the remote INIT chunk is malformed');
    this.#run(nowMs, () => {
      this.#setState('connecting');
      if (peer) this.#handshake.startEstablished(peer, nowMs);
      else this.#handshake.start(nowMs);
    });
  }

  /**
   * Queues a message; `data` is the association's until it is acknowledged. Before
   * the association is up messages wait. Sent by `flush` or the next call from the driver.
   * @throws SCTP_CLOSED
   */
  sendMessage(streamId: number, ppid: number, data: Buffer, nowMs: number, options: MessageOptions = {}): void {
    if (this.#state === 'closed' || this.#shutdown.isUnderWay) {
      throw sctpError('SCTP_CLOSED', `send: the association is ${this.#state}`);
    }
    this.#sender.enqueue(streamId, ppid, data, options, nowMs);
    this.#hasWork = this.#state === 'connected';
  }

  /** Weight, or rank with the strict scheduler, of an outbound stream. */
  setPriority(streamId: number, priority: number): void {
    this.#sender.setPriority(streamId, priority);
  }

  /** Closes our end of a stream once its messages have arrived (RFC 6525). */
  resetStream(streamId: number): void {
    const stream = this.#sender.stream(streamId);
    if (stream.isEnding) return;
    stream.isEnding = true;
    if (stream.queue.length === 0) this.#ended.add(streamId);
    this.#hasWork = this.#state === 'connected';
  }

  /** The application took `bytes` of what `onMessage` brought. */
  release(bytes: number, nowMs: number): void {
    this.#receiver?.release(bytes, nowMs);
  }

  /** Sends what may be sent now. */
  flush(nowMs: number): void {
    this.#run(nowMs, () => {});
  }

  /** Takes one packet from the path; its memory is the association's from now on. Never throws. */
  receive(packet: Buffer, nowMs: number): void {
    const isOneOfMany = this.#isBusy;
    this.#run(nowMs, () => {
      this.#readPacket(packet, nowMs);
      if (isOneOfMany && !this.sparesAcks) this.#acknowledge(nowMs);
    });
  }

  handleTimeout(nowMs: number): void {
    this.#run(nowMs, () => this.#onTime(nowMs));
  }

  /** Another path carries the packets from now on: what was learnt of the old one is forgotten. */
  pathChanged(nowMs: number, path: PathLimits = {}): void {
    const { maxPacketBytes = this.#options.maxPacketBytes, maxInFlightBytes = Number.POSITIVE_INFINITY } = path;
    this.#run(nowMs, () => {
      this.#sender.inFlight.maxBytes = maxInFlightBytes;
      this.#path.restart(maxPacketBytes);
      const { congestion, random } = this.#options;
      this.#sender.inFlight.congestion = createCongestion(congestion, this.#path.packetBytes, random);
      this.#sender.inFlight.onPathAnswers(nowMs);
    });
  }

  /** The path was silent and is not any more: nothing waits for a timeout that has grown meanwhile. */
  pathAnswers(nowMs: number): void {
    this.#run(nowMs, () => {
      this.#sender.inFlight.onPathAnswers(nowMs);
      this.#reset?.onPathAnswers(nowMs);
    });
  }

  /** Closes after all that was handed in has been acknowledged (RFC 9260 §9.2). */
  shutdown(nowMs: number): void {
    this.#run(nowMs, () => {
      if (this.#state === 'new' || this.#state === 'connecting') this.#close(undefined);
      else if (this.#state === 'connected') {
        this.#shutdown.begin();
        this.#setState('closing');
      }
    });
  }

  /** Closes at once and tells the peer (RFC 9260 §9.1). */
  abort(nowMs: number, reason = ''): void {
    this.#run(nowMs, () => {
      if (this.#state === 'closed') return;
      if (this.#handshake.peerTag) {
        this.#output.sendAlone(this.#handshake.peerTag, abortFor(reason, ErrorCause.userInitiated), true);
      }
      this.#close(undefined);
    });
  }

  /** Packets that arrived together: what they ask for is sent once, at the end; but see {@link sparesAcks}. */
  together(nowMs: number, receive: () => void): void {
    this.#run(nowMs, receive);
  }

  #run(nowMs: number, work: () => void): void {
    this.#nowMs = nowMs;
    if (this.#isBusy) {
      work();
      this.#hasWork = true;
      return;
    }
    this.#isBusy = true;
    try {
      work();
      // Time may have passed meanwhile: what became due in it is due.
      this.#transmit(this.#nowMs);
    } finally {
      this.#isBusy = false;
    }
  }

  // Incoming

  #readPacket(packet: Buffer, nowMs: number): void {
    if (!isForUs(packet, this.#options)) return;
    if (!hasRightTag(packet, this.#handshake.local.tag, this.#handshake.peerTag)) return;
    const tag = readU32(packet, 4);
    if (this.#state === 'closed') {
      // Our SHUTDOWN COMPLETE was lost (RFC 9260 §8.4 (5)).
      if (packet[COMMON_HEADER_BYTES] === ChunkType.shutdownAck) {
        this.#output.sendAlone(tag, encodeChunk(ChunkType.shutdownComplete, TAG_REFLECTED), true);
      }
      return;
    }
    for (let at = COMMON_HEADER_BYTES; at + 4 <= packet.length; ) {
      const length = readU16(packet, at + 2);
      if (length < 4 || at + length > packet.length) break;
      const type = packet[at] as number;
      const flags = packet[at + 1] as number;
      if (!this.#readChunk(type, flags, packet.subarray(at + 4, at + length), tag, packet.length, nowMs)) break;
      at += (length + 3) & ~3;
    }
    this.#receiver?.onPacketEnd(packet.length, nowMs);
    this.#reset?.onProgress();
  }

  /** False: the rest of the packet is not read. */
  #readChunk(type: number, flags: number, body: Buffer, tag: number, packetBytes: number, nowMs: number): boolean {
    const receiver = this.#receiver;
    switch (type) {
      case ChunkType.data:
      case ChunkType.iData:
        if (!receiver || this.#shutdown.isPeerSilent) return true;
        if ((type === ChunkType.iData) !== this.#isInterleaved || !receiver.onData(flags, body, packetBytes)) {
          return this.#breach(body.length <= 12 ? 'data chunk without data' : 'data chunk of the wrong kind or size');
        }
        this.#shutdown.onData(nowMs);
        return this.#state !== 'closed';
      case ChunkType.piece:
        if (!receiver || this.#shutdown.isPeerSilent) return true;
        if (!receiver.onPiece(flags, body)) return this.#breach('malformed piece of a data chunk');
        this.#shutdown.onData(nowMs);
        return this.#state !== 'closed';
      case ChunkType.sack:
        return this.#onSack(body, nowMs);
      case ChunkType.init:
        this.#handshake.onInit(body, nowMs);
        return false;
      case ChunkType.initAck:
        this.#handshake.onInitAck(body, nowMs);
        return false;
      case ChunkType.cookieEcho:
        return this.#handshake.onCookieEcho(body, tag, nowMs);
      case ChunkType.cookieAck:
        this.#handshake.onCookieAck(nowMs);
        return true;
      case ChunkType.heartbeat:
        this.#onHeartbeat(body);
        return true;
      case ChunkType.heartbeatAck:
        this.#onHeartbeatAck(body, nowMs);
        return true;
      case ChunkType.forwardTsn:
      case ChunkType.iForwardTsn:
        if (!receiver) return true;
        if ((type === ChunkType.iForwardTsn) !== this.#isInterleaved || !receiver.onForwardTsn(body)) {
          return this.#breach('malformed FORWARD TSN');
        }
        return this.#state !== 'closed';
      case ChunkType.reconfig:
        if (this.#reset && !this.#reset.onReconfig(body, this.#rtt.rtoMs, nowMs))
          return this.#breach('malformed RE-CONFIG');
        return this.#state !== 'closed';
      case ChunkType.abort:
        this.#close(sctpError('SCTP_ABORTED', `the peer aborted the association${describeAbort(body)}`));
        return false;
      case ChunkType.error:
        if (readErrorCauses(body).includes(ErrorCause.staleCookie)) this.#handshake.onStaleCookie(nowMs);
        return true;
      case ChunkType.shutdown:
      case ChunkType.shutdownAck:
      case ChunkType.shutdownComplete:
        return this.#onShutdownChunk(type, body, nowMs);
      case ChunkType.pad:
        return true;
      default:
        return this.#onUnknownChunk(type, flags, body);
    }
  }

  get #isInterleaved(): boolean {
    return this.#interleaved;
  }
  #interleaved = false;

  #onSack(body: Buffer, nowMs: number): boolean {
    if (this.#handshake.state !== 'established') return true;
    if (body.length < 12) return this.#breach('short SACK');
    const gapCount = readU16(body, 8);
    const duplicates = readU16(body, 10);
    if (body.length < 12 + 4 * (gapCount + duplicates)) return this.#breach('SACK shorter than its blocks');
    if (!this.#sender.inFlight.onSack(readU32(body, 0), readU32(body, 4), body, gapCount, duplicates, nowMs)) {
      return this.#breach('SACK for what was never sent');
    }
    return true;
  }

  /** A probe of the path's MTU is answered alone, for with company it would be larger than what was probed. */
  #onHeartbeat(body: Buffer): void {
    const answer = encodeChunk(ChunkType.heartbeatAck, 0, body);
    if (body.length <= SMALL_HEARTBEAT_BYTES) this.#sendNext(answer);
    else if (this.#handshake.peerTag) this.#output.sendAlone(this.#handshake.peerTag, answer, !this.#mayOmitChecksum);
  }

  #onHeartbeatAck(body: Buffer, nowMs: number): void {
    const answer = this.#path.onHeartbeatAck(body, nowMs);
    if (!answer) return;
    this.#rtt.addSample(answer.rttMs, nowMs);
    if (answer.hasGrown) this.#sender.inFlight.congestion.setPacketBytes(this.#path.packetBytes);
  }

  /** RFC 9260 §3.2: the two highest bits say whether to go on and whether to report. */
  #onUnknownChunk(type: number, flags: number, body: Buffer): boolean {
    if (type & 0x40 && this.#handshake.state === 'established') {
      const chunk = encodeChunk(type, flags, body.subarray(0, 256));
      this.#sendNext(encodeChunk(ChunkType.error, 0, encodeParameter(ErrorCause.unrecognizedChunk, chunk)));
    }
    return (type & 0x80) !== 0;
  }

  #breach(reason: string): false {
    this.#output.sendAlone(this.#handshake.peerTag, abortFor(reason), true);
    this.#close(sctpError('SCTP_PROTOCOL_VIOLATION', `the peer broke the protocol: ${reason}`));
    return false;
  }

  #onShutdownChunk(type: number, body: Buffer, nowMs: number): boolean {
    if (this.#handshake.state !== 'established') return true;
    if (type === ChunkType.shutdownComplete) this.#shutdown.onComplete();
    else if (type === ChunkType.shutdownAck) this.#shutdown.onAck();
    else {
      if (body.length < 4) return this.#breach('short SHUTDOWN');
      const { inFlight } = this.#sender;
      const windowBytes = inFlight.peerWindowBytes + inFlight.outstandingBytes;
      if (!inFlight.onSack(readU32(body, 0), windowBytes, body, 0, 0, nowMs)) {
        return this.#breach('SHUTDOWN for what was never sent');
      }
      this.#shutdown.onShutdown(nowMs);
      this.#setState('closing');
    }
    return this.#state !== 'closed';
  }

  // Life

  #onEstablished(peer: InitParameters, isRestart: boolean, nowMs: number): void {
    const options = this.#options;
    const { local, rttMs } = this.#handshake;
    this.#interleaved = peer.hasInterleaving && local.hasInterleaving;
    this.#mayOmitChecksum = peer.acceptsZeroChecksum && options.zeroChecksum;
    this.#maxStreams = Math.min(MAX_STREAMS, peer.inboundStreams, peer.outboundStreams);
    if (isRestart) {
      this.#ended.clear();
      this.#output.clear();
      this.#rtt = new RoundTripTime(options);
      this.#sender = this.#makeSender(local.initialTsn);
      this.#shutdown.reset();
    }
    if (rttMs > 0) this.#rtt.addSample(rttMs, nowMs);
    this.#sender.start(peer.receiveWindowBytes, this.#interleaved, peer.hasPieces);
    this.#receiver = new Receiver({
      initialTsn: peer.initialTsn,
      isInterleaved: this.#interleaved,
      windowBytes: options.receiveWindowBytes,
      maxMessageBytes: options.maxMessageBytes,
      delayedAckMs: options.delayedAckMs,
      sparesAcks: this.sparesAcks,
      deliver: (streamId, ppid, data) => this.listener.onMessage(streamId, ppid, data),
    });
    this.#reset = new StreamReset(
      {
        sendNext: (chunk) => this.#sendNext(chunk),
        lastSentTsn: () => (this.#sender.inFlight.chunks.nextTsn - 1) >>> 0,
        hasAllThrough: (tsn) => this.#receiver?.hasAllThrough(tsn) ?? false,
        peerReset: (streamIds) => {
          this.#receiver?.resetStreams(streamIds);
          this.listener.onPeerReset?.(streamIds);
        },
        resetAsked: (streamIds) => {
          for (const id of streamIds) this.resetStream(id);
        },
        resetDone: (streamIds, isAccepted) => {
          for (const id of streamIds) {
            if (isAccepted) this.#sender.stream(id).restart();
            if (isAccepted && this.#sender.stream(id).queue.length === 0) this.#sender.forget(id);
          }
          this.listener.onResetDone?.(streamIds, isAccepted);
        },
      },
      local.initialTsn,
      peer.initialTsn,
    );
    this.#path.start(nowMs);
    this.#setState('connected');
    if (isRestart) this.listener.onRestart?.();
  }

  #makeSender(initialTsn: number): Sender {
    const { congestion, random, scheduler } = this.#options;
    return new Sender({
      initialTsn,
      scheduler,
      congestion: createCongestion(congestion, this.#path.packetBytes, random),
      rtt: this.#rtt,
      onDrained: (stream) => {
        if (stream.isEnding && stream.queue.length === 0) this.#ended.add(stream.id);
        this.listener.onDrained?.(stream.id);
      },
    });
  }

  #setState(state: SctpState, error?: ClawError<SctpErrorCode>): void {
    if (this.#state === state || this.#state === 'closed') return;
    this.#state = state;
    this.listener.onState?.(state, error);
  }

  #close(error: ClawError<SctpErrorCode> | undefined): void {
    this.#handshake.stop();
    this.#shutdown.stop();
    this.#pacedUntilMs = NEVER;
    this.#path.stop();
    this.#receiver = undefined;
    this.#reset = undefined;
    this.#ended.clear();
    this.#output.clear();
    // Whoever is told may still ask how much was not sent.
    this.#setState('closed', error);
    this.#sender = this.#makeSender(0);
  }

  // Time

  #onTime(nowMs: number): void {
    const { inFlight } = this.#sender;
    if (nowMs >= this.#handshake.timeoutAtMs) this.#handshake.onTimeout(nowMs);
    if (nowMs >= inFlight.reorderDeadlineMs) inFlight.onReorderTimeout(nowMs);
    if (nowMs >= inFlight.retransmitAtMs) this.#onRetransmitTimeout(nowMs);
    else if (nowMs >= inFlight.probeAtMs) inFlight.onProbeTimeout();
    if (nowMs >= this.#path.probeTimeoutAtMs) this.#path.onProbeTimeout();
    if (this.#reset && nowMs >= this.#reset.timeoutAtMs) {
      this.#reset.onTimeout(this.#rtt.rtoMs, nowMs);
      if (this.#reset.timeouts > this.#options.maxTimeouts) this.#giveUp('stream resets are not answered');
    }
    if (nowMs >= this.#path.heartbeatAtMs) this.#onHeartbeatTime(nowMs);
    if (nowMs >= this.#shutdown.timeoutAtMs) this.#shutdown.onTimeout(nowMs);
  }

  #onRetransmitTimeout(nowMs: number): void {
    const { inFlight } = this.#sender;
    inFlight.onRetransmitTimeout(nowMs);
    // Timeouts that a path cut short, by answering or by changing, say little.
    const isLong = nowMs - inFlight.silentSinceMs >= MIN_SILENCE_MS;
    if (inFlight.timeouts > this.#options.maxTimeouts && isLong) this.#giveUp('data is not acknowledged');
  }

  #onHeartbeatTime(nowMs: number): void {
    if (this.#path.missedHeartbeats > this.#options.maxTimeouts) {
      this.#giveUp('heartbeats are not answered');
      return;
    }
    if (this.#sender.isDrained) this.#sender.inFlight.chunks.trim();
    this.#sendNext(this.#path.heartbeat(nowMs));
  }

  #giveUp(message: string): void {
    this.#close(sctpError('SCTP_TIMEOUT', message));
  }

  // Outgoing

  #transmit(nowMs: number): void {
    this.#hasWork = false;
    const isUp = this.#handshake.state === 'established' && this.#state !== 'closed';
    if (!isUp) return;
    this.#resetEnded(nowMs);
    this.#judgePacketSize(nowMs);
    if (this.#path.isProbeDue) this.#sendMtuProbe(nowMs);
    const sender = this.#sender;
    for (;;) {
      this.#shutdown.proceed(nowMs);
      const receiver = this.#receiver;
      const hasData = sender === this.#sender && sender.maySend(nowMs);
      const isSackDue = receiver !== undefined && receiver.sackAtMs <= nowMs;
      if (!receiver || (!hasData && !isSackDue && !this.#output.hasWaiting)) break;
      const isSent = this.#output.sendPacket(
        this.#handshake.peerTag,
        this.#path.packetBytes,
        !this.#mayOmitChecksum,
        (writer) => {
          if (isSackDue || (hasData && receiver.hasUnacked)) receiver.writeSack(writer, nowMs);
          if (hasData) sender.fill(writer, nowMs);
        },
      );
      if (!isSent) break;
      if (hasData) this.#path.touch(nowMs);
      // Streams whose last message has just left may end now.
      this.#resetEnded(nowMs);
    }
    this.#pacedUntilMs = sender.hasWork && !sender.inFlight.isWindowLimited ? sender.pacedUntilMs : NEVER;
  }

  /** Of packets that arrived together each second one is answered: libwebrtc sends four packets for an answer, and no more. */
  #acknowledge(nowMs: number): void {
    const receiver = this.#receiver;
    if (!receiver || receiver.sackAtMs > nowMs) return;
    const { peerTag } = this.#handshake;
    this.#output.sendPacket(peerTag, this.#path.packetBytes, !this.#mayOmitChecksum, (writer) =>
      receiver.writeSack(writer, nowMs),
    );
  }

  /** Streams whose messages are all acknowledged: older libwebrtc, asked before that, forgets those still out of order. */
  #resetEnded(nowMs: number): void {
    const { inFlight } = this.#sender;
    for (const id of this.#ended) {
      const { lastTsn } = this.#sender.stream(id);
      if (lastTsn !== undefined && isAfter(lastTsn, inFlight.cumulativeTsn)) continue;
      this.#ended.delete(id);
      this.#reset?.add(id);
    }
    this.#reset?.pump(this.#rtt.rtoMs, nowMs);
  }

  #sendNext(chunk: Buffer): void {
    this.#output.add(chunk);
    this.#hasWork = true;
  }

  /** After losses that make the size of packets doubtful: asks whether small ones pass, and shrinks all when they do. */
  #judgePacketSize(nowMs: number): void {
    const { sizeDoubt, congestion, timeouts } = this.#sender.inFlight;
    if (!sizeDoubt.isNews) return;
    sizeDoubt.isNews = false;
    // One loss says nothing, unless nothing else has arrived either. What an older size was cut for may vanish for ever.
    if ((sizeDoubt.losses < 2 && timeouts === 0) || sizeDoubt.smallestBytes > this.#path.packetBytes) return;
    if (sizeDoubt.losses >= 2 && this.#path.shrink(sizeDoubt.sinceMs)) {
      sizeDoubt.clear();
      congestion.setPacketBytes(this.#path.packetBytes);
    } else this.#output.sendAlone(this.#handshake.peerTag, this.#path.smallProbe(nowMs), !this.#mayOmitChecksum);
  }

  #sendMtuProbe(nowMs: number): void {
    const probe = this.#path.mtuProbe(this.#rtt.rtoMs, nowMs);
    this.#output.sendAlone(this.#handshake.peerTag, probe, !this.#mayOmitChecksum);
  }
}
