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
import { RoundTripTime } from './round-trip-time.ts';
import { Shutdown } from './shutdown.ts';
import { Transfer } from './transfer.ts';

const NEVER = Number.POSITIVE_INFINITY;

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
  #transfer: Transfer;
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
        isDrained: () => this.#transfer.sender.isDrained,
        cumulativeTsn: () => this.#transfer.receiver?.cumulativeTsn ?? 0,
        rtoMs: () => this.#transfer.rtt.rtoMs,
        finished: () => this.#close(undefined),
      },
      this.#options.maxTimeouts,
    );
    this.#path = new PathProbes(this.#options, {
      sendNext: (chunk) => this.#sendNext(chunk),
      sendAlone: (chunk) => {
        const { peerTag } = this.#handshake;
        if (peerTag) this.#output.sendAlone(peerTag, chunk, !this.#mayOmitChecksum);
      },
    });
    this.#transfer = this.#makeTransfer(new RoundTripTime(this.#options), local.initialTsn);
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
    return Math.min(
      this.#handshake.timeoutAtMs,
      this.#shutdown.timeoutAtMs,
      this.#path.deadlineMs,
      this.#transfer.deadlineMs,
      this.#pacedUntilMs,
    );
  }
  #pacedUntilMs = NEVER;

  /** Retransmission time-outs in a row: the path may be dead. */
  get timeouts(): number {
    return this.#transfer.sender.inFlight.timeouts;
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
    return this.#transfer.rtt.smoothedMs;
  }

  /** Greatest packet the path is known to carry. */
  get packetBytes(): number {
    return this.#path.packetBytes;
  }

  /** What is known of the path and the traffic, for logs and tests. */
  get statistics(): SctpStatistics {
    return this.#transfer.statistics;
  }

  /** Bytes handed to `sendMessage` for this stream and not yet sent once. */
  bufferedBytes(streamId: number): number {
    return this.#transfer.sender.stream(streamId).bufferedBytes;
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
    this.#transfer.sender.enqueue(streamId, ppid, data, options, nowMs);
    this.#hasWork = this.#state === 'connected';
  }

  /** Weight, or rank with the strict scheduler, of an outbound stream. */
  setPriority(streamId: number, priority: number): void {
    this.#transfer.sender.setPriority(streamId, priority);
  }

  /** Closes our end of a stream once its messages have arrived (RFC 6525). */
  resetStream(streamId: number): void {
    this.#transfer.resetStream(streamId);
    this.#hasWork = this.#state === 'connected';
  }

  /** The application took `bytes` of what `onMessage` brought. */
  release(bytes: number, nowMs: number): void {
    this.#transfer.receiver?.release(bytes, nowMs);
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
      this.#path.restart(maxPacketBytes);
      this.#transfer.pathChanged(this.#path.packetBytes, maxInFlightBytes, nowMs);
    });
  }

  /** The path was silent and is not any more: nothing waits for a timeout that has grown meanwhile. */
  pathAnswers(nowMs: number): void {
    this.#run(nowMs, () => this.#transfer.onPathAnswers(nowMs));
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
    this.#transfer.onPacketEnd(packet.length, nowMs);
  }

  /** False: the rest of the packet is not read. */
  #readChunk(type: number, flags: number, body: Buffer, tag: number, packetBytes: number, nowMs: number): boolean {
    const transfer = this.#transfer;
    const isUp = this.#handshake.state === 'established';
    switch (type) {
      case ChunkType.data:
      case ChunkType.iData:
      case ChunkType.piece: {
        if (!transfer.receiver || this.#shutdown.isPeerSilent) return true;
        const isSound = this.#mayGoOn(transfer.onData(type, flags, body, packetBytes));
        if (isSound) this.#shutdown.onData(nowMs);
        return isSound;
      }
      case ChunkType.sack:
        return !isUp || this.#mayGoOn(transfer.onSack(body, nowMs));
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
        this.#path.onHeartbeat(body);
        return true;
      case ChunkType.heartbeatAck:
        this.#onHeartbeatAck(body, nowMs);
        return true;
      case ChunkType.forwardTsn:
      case ChunkType.iForwardTsn:
        return this.#mayGoOn(transfer.onForwardTsn(type, body));
      case ChunkType.reconfig:
        return this.#mayGoOn(transfer.onReconfig(body, nowMs));
      case ChunkType.abort:
        this.#close(sctpError('SCTP_ABORTED', `the peer aborted the association${describeAbort(body)}`));
        return false;
      case ChunkType.error:
        if (readErrorCauses(body).includes(ErrorCause.staleCookie)) this.#handshake.onStaleCookie(nowMs);
        return true;
      case ChunkType.shutdown:
        return !isUp || this.#onShutdown(body, nowMs);
      case ChunkType.shutdownAck:
        if (isUp) this.#shutdown.onAck();
        return this.#state !== 'closed';
      case ChunkType.shutdownComplete:
        if (isUp) this.#shutdown.onComplete();
        return this.#state !== 'closed';
      case ChunkType.pad:
        return true;
      default:
        return this.#onUnknownChunk(type, flags, body);
    }
  }

  #onHeartbeatAck(body: Buffer, nowMs: number): void {
    const answer = this.#path.onHeartbeatAck(body, nowMs);
    if (!answer) return;
    this.#transfer.rtt.addSample(answer.rttMs, nowMs);
    if (answer.hasGrown) this.#transfer.sender.inFlight.congestion.setPacketBytes(this.#path.packetBytes);
  }

  /** RFC 9260 §3.2: the two highest bits say whether to go on and whether to report. */
  #onUnknownChunk(type: number, flags: number, body: Buffer): boolean {
    if (type & 0x40 && this.#handshake.state === 'established') {
      const chunk = encodeChunk(type, flags, body.subarray(0, 256));
      this.#sendNext(encodeChunk(ChunkType.error, 0, encodeParameter(ErrorCause.unrecognizedChunk, chunk)));
    }
    return (type & 0x80) !== 0;
  }

  #onShutdown(body: Buffer, nowMs: number): boolean {
    if (!this.#mayGoOn(this.#transfer.onShutdown(body, nowMs))) return false;
    this.#shutdown.onShutdown(nowMs);
    this.#setState('closing');
    return this.#state !== 'closed';
  }

  /** Ends the association over what the peer did wrong; false when it has ended. */
  #mayGoOn(breach: string | undefined): boolean {
    if (breach !== undefined) {
      this.#output.sendAlone(this.#handshake.peerTag, abortFor(breach), true);
      this.#close(sctpError('SCTP_PROTOCOL_VIOLATION', `the peer broke the protocol: ${breach}`));
    }
    return this.#state !== 'closed';
  }

  // Life

  #onEstablished(peer: InitParameters, isRestart: boolean, nowMs: number): void {
    const { local, rttMs } = this.#handshake;
    this.#mayOmitChecksum = peer.acceptsZeroChecksum && this.#options.zeroChecksum;
    this.#maxStreams = Math.min(MAX_STREAMS, peer.inboundStreams, peer.outboundStreams);
    if (isRestart) {
      this.#output.clear();
      this.#transfer = this.#makeTransfer(new RoundTripTime(this.#options), local.initialTsn);
      this.#shutdown.reset();
    }
    if (rttMs > 0) this.#transfer.rtt.addSample(rttMs, nowMs);
    this.#transfer.start(local, peer, this.sparesAcks);
    this.#path.start(nowMs);
    this.#setState('connected');
    if (isRestart) this.listener.onRestart?.();
  }

  #makeTransfer(rtt: RoundTripTime, initialTsn: number): Transfer {
    const host = { sendNext: (chunk: Buffer) => this.#sendNext(chunk), listener: () => this.listener };
    return new Transfer(this.#options, host, rtt, initialTsn, this.#path.packetBytes);
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
    this.#transfer.stop();
    this.#output.clear();
    // Whoever is told may still ask how much was not sent.
    this.#setState('closed', error);
    this.#transfer = this.#makeTransfer(this.#transfer.rtt, 0);
  }

  // Time

  #onTime(nowMs: number): void {
    const transfer = this.#transfer;
    if (nowMs >= this.#handshake.timeoutAtMs) this.#handshake.onTimeout(nowMs);
    if (nowMs >= this.#path.heartbeatAtMs && transfer.sender.isDrained) transfer.sender.inFlight.chunks.trim();
    const reason = transfer.onTime(nowMs) ?? this.#path.onTime(nowMs);
    if (reason) this.#close(sctpError('SCTP_TIMEOUT', reason));
    if (nowMs >= this.#shutdown.timeoutAtMs) this.#shutdown.onTimeout(nowMs);
  }

  // Outgoing

  #transmit(nowMs: number): void {
    this.#hasWork = false;
    const isUp = this.#handshake.state === 'established' && this.#state !== 'closed';
    if (!isUp) return;
    const transfer = this.#transfer;
    const { sender } = transfer;
    transfer.resetEnded(nowMs);
    if (this.#path.judgeSize(sender.inFlight.sizeDoubt, sender.inFlight.timeouts, nowMs))
      sender.inFlight.congestion.setPacketBytes(this.#path.packetBytes);
    for (;;) {
      this.#shutdown.proceed(nowMs);
      const { receiver } = this.#transfer;
      const hasData = transfer === this.#transfer && sender.maySend(nowMs);
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
      this.#transfer.resetEnded(nowMs);
    }
    this.#path.probeMtu(sender.inFlight.bytes, transfer.rtt.rtoMs, nowMs);
    this.#pacedUntilMs = sender.hasWork && !sender.inFlight.isWindowLimited ? sender.pacedUntilMs : NEVER;
  }

  /** Of packets that arrived together each second one is answered: libwebrtc sends four packets for an answer, and no more. */
  #acknowledge(nowMs: number): void {
    const { receiver } = this.#transfer;
    if (!receiver || receiver.sackAtMs > nowMs) return;
    const { peerTag } = this.#handshake;
    this.#output.sendPacket(peerTag, this.#path.packetBytes, !this.#mayOmitChecksum, (writer) =>
      receiver.writeSack(writer, nowMs),
    );
  }

  #sendNext(chunk: Buffer): void {
    this.#output.add(chunk);
    this.#hasWork = true;
  }
}
