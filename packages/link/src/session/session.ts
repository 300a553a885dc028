/**
 * The multiplexer of an operational link: seals and opens records, hands frames
 * to the channel they belong to, keeps both sides' memory bounded by credits and
 * ends the link with a named error when the peer breaks a rule. It knows nothing
 * of how the keys were agreed or how the data channels came up.
 */

import { ClawError, type Clock, errorText, isClawError } from '@claw/base';
import type { RtcDataChannel } from '@claw/contracts';
import { fromWireCode, type LinkErrorCode, linkError, toWireCode } from '../errors.ts';
import { BulkQueue, type BulkSender } from './bulk-queue.ts';
import { type ChannelKind, decodeFrame, encodeFrame, type Frame, MAX_FRAME_BYTES, MAX_META_BYTES, MAX_SERVICE_BYTES } from './frames.ts';
import { IncomingChannel } from './incoming-channel.ts';
import { Lane, type SessionSecrets } from './lane.ts';
import { BULK_LANE, CONTROL_LANE, LANE_IDS, laneReliability, type Reliability } from './lanes.ts';
import type { SessionLimits } from './limits.ts';
import { LinkStream } from './link-stream.ts';
import { Liveness } from './liveness.ts';
import { LossyGate } from './lossy-gate.ts';
import { MessageChannel, type MessageHost } from './message-channel.ts';
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

type Channel = LinkStream | MessageChannel;

/** Head of a data or message frame: type byte and a channel number of up to eight bytes. */
const MAX_HEAD_BYTES = 9;
const MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - MAX_HEAD_BYTES;

export class Session implements MessageHost {
  readonly #options: SessionOptions;
  readonly #limits: SessionLimits;
  readonly #lanes: readonly Lane[];
  readonly #queues = new Map<number, BulkQueue>();
  readonly #gates = new Map<number, LossyGate>();
  readonly #channels = new Map<number, Channel>();
  readonly #linkSendWindow: SendWindow;
  readonly #linkReceiveWindow: ReceiveWindow;
  readonly #liveness: Liveness;
  #nextChannel: number;
  #highestIncoming = 0;
  #incomingOpen = 0;
  #refusedOpens = 0;
  #peerOperational = false;
  #closed = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#nextChannel = options.role === 'client' ? 1 : 2;
    this.#linkSendWindow = new SendWindow(options.limits.linkWindowBytes);
    this.#linkReceiveWindow = new ReceiveWindow(options.limits.linkWindowBytes);
    this.#lanes = LANE_IDS.map((id) => new Lane(id, this.#channelOf(id), options.secrets));
    for (const lane of this.#lanes) this.#attach(lane);
    this.#liveness = new Liveness({
      clock: options.clock,
      intervalMs: options.limits.probeIntervalMs,
      sendPing: (id) => this.#sendControl({ type: 'ping', id }),
      onDead: (silentMs) => this.#end(linkError('LINK_LOST', `the peer has been silent for ${Math.round(silentMs)} ms`)),
    });
  }

  // --- for the link

  /** Tells the peer that this side is operational. */
  announceOperational(): void {
    this.#sendControl({ type: 'operational' });
  }

  openStream(service: string, meta: Uint8Array = Buffer.alloc(0)): LinkStream {
    const channel = this.#open('stream', service, meta);
    const stream = this.#newStream(channel, service);
    this.#channels.set(channel, stream);
    return stream;
  }

  openMessages(service: string, reliability: Reliability, meta: Uint8Array = Buffer.alloc(0)): MessageChannel {
    const channel = this.#open('message', service, meta);
    const messages = this.#newMessages(channel, service, reliability);
    this.#channels.set(channel, messages);
    return messages;
  }

  /** Takes in a record that arrived before the session existed. */
  receive(lane: number, data: Uint8Array): void {
    this.#onRecord(this.#lane(lane), data);
  }

  /** Measures one round trip on the control lane, in milliseconds. */
  ping(): Promise<number> {
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
    if (!this.#closed) this.#guard(() => this.#queue(lane).add(sender));
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

  released(channel: number): void {
    const released = this.#channels.get(channel);
    if (!released) return;
    this.#channels.delete(channel);
    for (const queue of this.#queues.values()) queue.remove(released);
    if (!this.#isOwn(channel)) this.#incomingOpen -= 1;
  }

  sendLossy(laneId: number, head: Buffer, payload: Uint8Array): boolean {
    if (this.#closed) return false;
    const gate = this.#gates.get(laneId) as LossyGate;
    return this.#guard(() => gate.send(head, payload)) ?? false;
  }

  failed(error: ClawError): void {
    this.#tell(error.code as LinkErrorCode, error.message);
    this.#end(error);
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
      this.#gates.set(lane.id, new LossyGate({ lane, clock, windowBytes: limits.lossyWindowBytes, sendMark, sendReport }));
    } else if (lane.id !== CONTROL_LANE) {
      const queue = new BulkQueue(lane, this.#linkSendWindow, MAX_PAYLOAD_BYTES, this.#limits.bulkHighWaterBytes);
      this.#queues.set(lane.id, queue);
      lane.channel.onbufferedamountlow = () => this.#guard(() => queue.pump());
    }
  }

  #onRecord(lane: Lane, data: Uint8Array): void {
    if (this.#closed) return;
    if (data[0] === 0 && lane.id === CONTROL_LANE) return this.#options.onCleartext(data);
    this.#guard(() => {
      const plain = lane.open(data);
      if (!plain) return;
      this.#liveness.heard();
      if (!this.#peerOperational) {
        this.#peerOperational = true;
        this.#options.onPeerOperational();
      }
      this.#gates.get(lane.id)?.onRecord(data.length);
      this.#onFrame(lane.id, decodeFrame(plain));
    });
  }

  #onFrame(lane: number, frame: Frame): void {
    switch (frame.type) {
      case 'message':
        return this.#onMessage(lane, frame.channel, frame.last, frame.payload);
      case 'data':
      case 'open':
      case 'accept':
      case 'end':
      case 'reset':
        if (lane !== BULK_LANE) throw violated(`a ${frame.type} frame came on lane ${lane}`);
        return this.#onChannelFrame(frame);
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
        return this.#end(linkError(fromWireCode(frame.code, 'LINK_CLOSED_BY_PEER'), frame.reason || 'the peer closed the link'));
      default:
        return;
    }
  }

  #onChannelFrame(frame: Extract<Frame, { type: 'data' | 'open' | 'accept' | 'end' | 'reset' }>): void {
    if (frame.type === 'open') return this.#onOpen(frame.channel, frame.kind, frame.service, frame.meta);
    const channel = this.#known(frame.channel);
    switch (frame.type) {
      case 'data':
        if (!this.#linkReceiveWindow.receive(frame.payload.length)) throw overrun('the link');
        if (!channel) return this.consumed(frame.payload.length); // reset here, still under way there
        if (!(channel instanceof LinkStream) || !channel.onData(frame.payload)) throw overrun(`stream ${frame.channel}`);
        return;
      case 'accept':
        return channel?.onAccepted(frame.meta);
      case 'end':
        if (channel instanceof LinkStream) channel.onEnd();
        return;
      case 'reset':
        channel?.onReset(frame.code, frame.reason);
        return;
    }
  }

  #onMessage(lane: number, id: number, last: boolean, payload: Buffer): void {
    if (lane === CONTROL_LANE) throw violated('a message came on the control lane');
    const channel = this.#known(id);
    const counted = laneReliability(lane).reliable;
    if (counted && !this.#linkReceiveWindow.receive(payload.length)) throw overrun('the link');
    if (!channel) {
      if (counted) this.consumed(payload.length);
      return;
    }
    if (!(channel instanceof MessageChannel) || !channel.onFrame(lane, last, payload)) throw overrun(`channel ${id}`);
  }

  /** The open channel `id`; `undefined` for one that has ended; an error for one that never was. */
  #known(id: number): Channel | undefined {
    const channel = this.#channels.get(id);
    const opened = this.#isOwn(id) ? id < this.#nextChannel : id <= this.#highestIncoming;
    if (!channel && !(opened && id > 0)) throw violated(`channel ${id} was never opened`);
    return channel;
  }

  #onOpen(id: number, kind: ChannelKind, service: string, meta: Buffer): void {
    if (this.#isOwn(id) || id <= this.#highestIncoming) throw violated(`channel ${id} cannot be opened by the peer now`);
    this.#highestIncoming = id;
    if (this.#incomingOpen >= this.#limits.maxIncomingChannels) {
      this.#refusedOpens += 1;
      if (this.#refusedOpens > this.#limits.maxIncomingChannels) {
        throw linkError('LINK_PEER_ABUSE', `the peer keeps opening channels beyond ${this.#limits.maxIncomingChannels}`);
      }
      return this.sendReset(id, toWireCode('STREAM_LIMIT', 'STREAM_LIMIT'), 'too many channels are open');
    }
    this.#incomingOpen += 1;
    const channel =
      kind === 'stream' ? this.#newStream(id, service) : this.#newMessages(id, service, { ordered: true, reliable: true });
    this.#channels.set(id, channel);
    this.#options.onIncoming(
      new IncomingChannel(channel, meta, (answer) => this.#sendBulk({ type: 'accept', channel: id, meta: answer })),
    );
  }

  // --- sending

  #open(kind: ChannelKind, service: string, meta: Uint8Array): number {
    if (this.#closed) throw linkError('LINK_CLOSED', 'the link has ended');
    if (Buffer.byteLength(service) > MAX_SERVICE_BYTES) throw new RangeError(`a service name has at most ${MAX_SERVICE_BYTES} bytes`);
    if (meta.length > MAX_META_BYTES) throw new RangeError(`metadata has at most ${MAX_META_BYTES} bytes, got ${meta.length}`);
    const channel = this.#nextChannel;
    this.#nextChannel += 2;
    this.#sendBulk({ type: 'open', channel, kind, service, meta: Buffer.from(meta) });
    return channel;
  }

  #newStream(channel: number, service: string): LinkStream {
    return new LinkStream({ host: this, channel, service, lane: BULK_LANE, windowBytes: this.#limits.channelWindowBytes });
  }

  #newMessages(channel: number, service: string, reliability: Reliability): MessageChannel {
    return new MessageChannel({
      host: this,
      channel,
      service,
      windowBytes: this.#limits.channelWindowBytes,
      maxMessageBytes: this.#limits.maxMessageBytes,
      maxFrameBytes: MAX_PAYLOAD_BYTES,
      reliability,
    });
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
      this.failed(asViolation(error));
      return undefined;
    }
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
    this.#liveness.stop();
    for (const gate of this.#gates.values()) gate.stop();
    for (const lane of this.#lanes) {
      lane.channel.onmessage = null;
      lane.channel.onbufferedamountlow = null;
      lane.channel.onclose = null;
    }
    for (const channel of [...this.#channels.values()]) channel.onLinkClosed(error);
    this.#channels.clear();
    this.#options.onClosed(error);
  }

  #isOwn(channel: number): boolean {
    return channel % 2 === (this.#options.role === 'client' ? 1 : 0);
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

function violated(detail: string) {
  return linkError('LINK_PROTOCOL_VIOLATED', detail);
}

function overrun(what: string) {
  return linkError('LINK_FLOW_VIOLATED', `the peer sent more on ${what} than it was granted, or after its end`);
}

function asViolation(error: unknown): ClawError {
  if (isClawError(error)) return error.code.startsWith('WIRE_') ? violated(error.message) : error;
  return new ClawError<LinkErrorCode>('LINK_INTERNAL', `the link failed: ${errorText(error)}`, { cause: error });
}
