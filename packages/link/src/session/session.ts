/**
 * The multiplexer of an operational link: seals and opens records, answers the
 * control frames, passes the others to the {@link ChannelTable}, keeps both sides'
 * memory bounded by credits and ends the link with a named error when the peer
 * breaks a rule. It knows nothing of how the keys were agreed or how the data
 * channels came up.
 */

import { ClawError, type Clock, errorText, isClawError } from '@claw/base';
import type { RtcDataChannel } from '@claw/contracts';
import { fromWireCode, type LinkErrorCode, linkError, toWireCode, violated } from '../errors.ts';
import { BulkQueue, type BulkSender } from './bulk-queue.ts';
import { ChannelTable } from './channel-table.ts';
import { decodeFrame, encodeFrame, type Frame } from './frames.ts';
import type { IncomingChannel } from './incoming-channel.ts';
import { Lane, type SessionSecrets } from './lane.ts';
import { BULK_LANE, CONTROL_LANE, LANE_IDS, laneReliability, type Reliability } from './lanes.ts';
import { checkLimits, type SessionLimits } from './limits.ts';
import type { LinkStream } from './link-stream.ts';
import { Liveness } from './liveness.ts';
import { LossyGate } from './lossy-gate.ts';
import type { MessageChannel, MessageHost } from './message-channel.ts';
import { ReceiveWindow, SendWindow } from './receive-window.ts';

export interface SessionOptions {
  /** The client made the offer; it opens odd channels, the server even ones. */
  readonly role: 'client' | 'server';
  readonly channels: ReadonlyMap<number, RtcDataChannel>;
  readonly secrets: SessionSecrets;
  readonly limits: SessionLimits;
  readonly clock: Clock;
  /** A message of the handshake, repeated late or a refusal; no key seals it. */
  readonly onCleartext: (data: Uint8Array) => void;
  /** The peer's first sealed record arrived: it holds the keys and is operational. */
  readonly onPeerOperational: () => void;
  /** The peer opens a channel; accept or refuse it, at once or later. */
  readonly onIncoming: (channel: IncomingChannel) => void;
  /** Told once. After it, nothing is sent or received. */
  readonly onClosed: (error: ClawError) => void;
}

export interface SessionStats {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Smoothed, in milliseconds; undefined before the first answer. */
  readonly roundTripMs: number | undefined;
  readonly openChannels: number;
}

export class Session implements MessageHost {
  readonly #options: SessionOptions;
  readonly #limits: SessionLimits;
  readonly #lanes: readonly Lane[];
  readonly #queues = new Map<number, BulkQueue>();
  readonly #gates = new Map<number, LossyGate>();
  readonly #channels: ChannelTable;
  readonly #linkSendWindow: SendWindow;
  readonly #linkReceiveWindow: ReceiveWindow;
  readonly #liveness: Liveness;
  /** Bytes of lossy messages whose handlers are at work. */
  #lossyHeld = 0;
  #peerOperational = false;
  #closed = false;

  /** @throws RangeError for limits that do not fit together. */
  constructor(options: SessionOptions) {
    const { role, limits, onIncoming } = options;
    checkLimits(limits);
    this.#options = options;
    this.#limits = limits;
    this.#linkSendWindow = new SendWindow(limits.linkWindowBytes);
    this.#linkReceiveWindow = new ReceiveWindow(limits.linkWindowBytes);
    const linkWindow = this.#linkReceiveWindow;
    this.#channels = new ChannelTable({
      role,
      limits,
      host: this,
      linkWindow,
      onIncoming,
      send: (frame) => this.#sendBulk(frame),
    });
    this.#lanes = LANE_IDS.map((id) => new Lane(id, this.#channelOf(id), options.secrets));
    for (const lane of this.#lanes) this.#attach(lane);
    this.#liveness = new Liveness({
      clock: options.clock,
      intervalMs: options.limits.probeIntervalMs,
      sendPing: (id) => this.#sendControl({ type: 'ping', id }),
      onDead: (silentMs) =>
        this.#end(linkError('LINK_LOST', `the peer has been silent for ${Math.round(silentMs)} ms`)),
    });
  }

  // --- for the link

  /** Tells the peer that this side is operational. */
  announceOperational(): void {
    this.#sendControl({ type: 'operational' });
  }

  /** @throws ClawError `STREAM_LIMIT`, or `LINK_CLOSED` when the link has ended. */
  openStream(service: string, meta: Uint8Array = Buffer.alloc(0)): LinkStream {
    this.#mustBeOpen();
    return this.#channels.openStream(service, meta);
  }

  /** @throws ClawError as {@link openStream}. */
  openMessages(service: string, reliability: Reliability, meta: Uint8Array = Buffer.alloc(0)): MessageChannel {
    this.#mustBeOpen();
    return this.#channels.openMessages(service, reliability, meta);
  }

  /** Takes in a record that arrived before the session existed. */
  receive(lane: number, data: Uint8Array): void {
    this.#onRecord(this.#lane(lane), data);
  }

  /** Measures one round trip on the control lane, in milliseconds; rejects when the link ends first. */
  async ping(): Promise<number> {
    this.#mustBeOpen();
    return this.#liveness.ping();
  }

  stats(): SessionStats {
    return {
      bytesSent: this.#lanes.reduce((sum, lane) => sum + lane.bytesSent, 0),
      bytesReceived: this.#lanes.reduce((sum, lane) => sum + lane.bytesReceived, 0),
      roundTripMs: this.#liveness.roundTripMs,
      openChannels: this.#channels.size,
    };
  }

  /** Tells the peer why and ends the session. Idempotent. */
  close(code: LinkErrorCode, reason: string): void {
    if (this.#closed) return;
    this.#tell(code, reason);
    this.#end(linkError(code, reason));
  }

  /** Ends the session because the path is gone: nobody can be told. */
  lost(reason: string): void {
    this.#end(linkError('LINK_LOST', reason));
  }

  // --- ChannelHost and MessageHost

  ready(sender: BulkSender, lane: number): void {
    if (this.#closed) return;
    try {
      this.#queue(lane).add(sender);
    } catch (error) {
      this.failed(asLinkError(error));
    }
  }

  grant(channel: number, limit: number): void {
    this.#sendControl({ type: 'credit', channel, limit });
  }

  consumed(count: number): void {
    const limit = this.#linkReceiveWindow.consume(count);
    if (limit !== undefined) this.grant(0, limit);
  }

  sendReset(channel: number, code: number, reason: string): void {
    this.#sendBulk({ type: 'reset', channel, code, reason });
  }

  refund(count: number): void {
    this.#linkSendWindow.refund(count);
    if (this.#closed) return;
    for (const queue of this.#queues.values()) this.#guard(() => queue.pump());
  }

  released(channel: number): void {
    const released = this.#channels.release(channel);
    if (released) for (const queue of this.#queues.values()) queue.remove(released);
  }

  holdLossy(count: number): boolean {
    if (this.#lossyHeld + count > this.#limits.lossyWindowBytes) return false;
    this.#lossyHeld += count;
    return true;
  }

  lossyHandled(count: number): void {
    this.#lossyHeld -= count;
  }

  sendLossy(laneId: number, head: Buffer, payload: Uint8Array): boolean {
    if (this.#closed) return false;
    const gate = this.#gates.get(laneId) as LossyGate;
    return this.#guard(() => gate.send(head, payload)) ?? false;
  }

  // --- receiving

  #attach(lane: Lane): void {
    lane.channel.onmessage = (data) => this.#onRecord(lane, data);
    lane.channel.onclose = () => this.lost('the peer connection closed');
    const { reliable } = laneReliability(lane.id);
    if (!reliable) {
      const sendMark = (sequence: number) => this.#sendControl({ type: 'mark', lane: lane.id, sequence });
      const sendReport = (sequence: number) => this.#sendControl({ type: 'report', lane: lane.id, sequence });
      const { clock, limits } = this.#options;
      this.#gates.set(
        lane.id,
        new LossyGate({ lane, clock, windowBytes: limits.lossyWindowBytes, sendMark, sendReport }),
      );
    } else if (lane.id !== CONTROL_LANE) {
      const queue = new BulkQueue(lane, this.#linkSendWindow, this.#limits.bulkHighWaterBytes);
      this.#queues.set(lane.id, queue);
      lane.channel.onbufferedamountlow = () => this.#guard(() => queue.pump());
    }
  }

  #onRecord(lane: Lane, data: Uint8Array): void {
    if (this.#closed) return;
    if (data[0] === 0 && lane.id === CONTROL_LANE) return this.#options.onCleartext(data);
    // As #guard does, without its closure: this runs for every record.
    try {
      const plain = lane.open(data);
      if (!plain) return;
      this.#liveness.heard();
      if (!this.#peerOperational) {
        this.#peerOperational = true;
        this.#options.onPeerOperational();
      }
      this.#gates.get(lane.id)?.onRecord(data.length);
      this.#onFrame(lane.id, decodeFrame(plain));
    } catch (error) {
      this.failed(asLinkError(error));
    }
  }

  #onFrame(lane: number, frame: Frame): void {
    switch (frame.type) {
      case 'open':
      case 'accept':
      case 'data':
      case 'end':
      case 'reset':
      case 'message':
        return this.#channels.onFrame(lane, frame);
      default:
        if (lane !== CONTROL_LANE) throw violated(`a ${frame.type} frame came on lane ${lane}`);
        return this.#onControl(frame);
    }
  }

  #onControl(frame: Frame): void {
    switch (frame.type) {
      case 'ping':
        return this.#sendControl({ type: 'pong', id: frame.id });
      case 'pong':
        return this.#liveness.onPong(frame.id);
      case 'credit':
        if (frame.channel !== 0) return this.#channels.get(frame.channel)?.onCredit(frame.limit);
        this.#linkSendWindow.raise(frame.limit);
        for (const queue of this.#queues.values()) queue.pump();
        return;
      case 'mark':
        return this.#gates.get(frame.lane)?.onMark(frame.sequence);
      case 'report':
        return this.#gates.get(frame.lane)?.onReport(frame.sequence);
      case 'close':
        return this.#end(
          linkError(fromWireCode(frame.code, 'LINK_CLOSED_BY_PEER'), frame.reason || 'the peer closed the link'),
        );
      default:
        return;
    }
  }

  // --- sending

  #mustBeOpen(): void {
    if (this.#closed) throw linkError('LINK_CLOSED', 'the link has ended');
  }

  #sendControl(frame: Exclude<Frame, { type: 'data' | 'message' }>): void {
    if (this.#closed) return;
    this.#guard(() => {
      const lane = this.#lane(CONTROL_LANE);
      if (lane.channel.bufferedAmount > this.#limits.maxControlBacklogBytes) {
        throw linkError('LINK_PEER_ABUSE', 'the peer does not read its control lane');
      }
      lane.send(encodeFrame(frame));
    });
  }

  /** Channel life-cycle frames share the lane of the data, so they keep their place among it. */
  #sendBulk(frame: Exclude<Frame, { type: 'data' | 'message' }>): void {
    if (this.#closed) return;
    this.#guard(() => {
      const lane = this.#lane(BULK_LANE);
      if (lane.channel.bufferedAmount > this.#limits.bulkHighWaterBytes + this.#limits.maxControlBacklogBytes) {
        throw linkError('LINK_PEER_ABUSE', 'the peer does not read while it opens or resets channels');
      }
      lane.send(encodeFrame(frame));
    });
  }

  // --- ending

  /** Runs `work`; whatever it throws ends the session, with the peer told. */
  #guard<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.failed(asLinkError(error));
      return undefined;
    }
  }

  /** Ends the session for a fault, and tells the peer. */
  failed(error: ClawError): void {
    this.#tell(error.code as LinkErrorCode, error.message);
    this.#end(error);
  }

  #tell(code: LinkErrorCode, reason: string): void {
    if (this.#closed) return;
    try {
      this.#lane(CONTROL_LANE).send(encodeFrame({ type: 'close', code: toWireCode(code, 'LINK_CLOSED'), reason }));
    } catch {
      // the lane is gone, and with it the way to say so
    }
  }

  #end(error: ClawError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#liveness.stop(error);
    for (const gate of this.#gates.values()) gate.stop();
    for (const lane of this.#lanes) {
      lane.channel.onmessage = null;
      lane.channel.onbufferedamountlow = null;
      lane.channel.onclose = null;
      lane.close();
    }
    this.#options.secrets.send.fill(0);
    this.#options.secrets.receive.fill(0);
    this.#channels.end(error);
    this.#options.onClosed(error);
  }

  #lane(id: number): Lane {
    return this.#lanes[id] as Lane;
  }

  #queue(lane: number): BulkQueue {
    return this.#queues.get(lane) as BulkQueue;
  }

  #channelOf(lane: number): RtcDataChannel {
    const channel = this.#options.channels.get(lane);
    if (!channel) throw new TypeError(`lane ${lane} has no data channel`);
    return channel;
  }
}

/** What the peer sent wrongly, what the engine could not carry any more, and the rest. */
function asLinkError(error: unknown): ClawError {
  if (isClawError(error)) {
    if (error.code.startsWith('WIRE_')) return violated(error.message);
    if (error.code.startsWith('LINK_')) return error;
    if (error.code.startsWith('ENGINE_'))
      return linkError('LINK_LOST', `a data channel failed: ${error.message}`, { cause: error });
  }
  return new ClawError<LinkErrorCode>('LINK_INTERNAL', `the link failed: ${errorText(error)}`, { cause: error });
}
