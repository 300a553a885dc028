/**
 * The data channels of an association: opened in band (DCEP, RFC 8832) or agreed on
 * outside, closed by stream reset from either end (RFC 8831 §6). Becomes the
 * association's listener.
 */

import type { ClawError } from '@claw/base';
import type { SctpAssociation } from './association.ts';
import { Ppid } from './chunk-types.ts';
import { DataChannel } from './data-channel.ts';
import { ACK_MESSAGE, decodeDcep, encodeOpen, type OpenMessage } from './dcep.ts';
import { type SctpErrorCode, sctpError } from './errors.ts';
import type { SctpState } from './listener.ts';
import { MAX_MESSAGE_BYTES, MAX_STREAMS } from './options.ts';

export interface DataChannelInit {
  /** At most 65,535 bytes of UTF-8. Default empty. */
  readonly label?: string;
  /** Default empty. */
  readonly protocol?: string;
  /** Default true. */
  readonly isOrdered?: boolean;
  /** At most one of this and `maxPacketLifeTimeMs`. Default: reliable. */
  readonly maxRetransmits?: number;
  readonly maxPacketLifeTimeMs?: number;
  /** RFC 8831 §6.4: 128 below normal, 256 normal, 512 high, 1024 extra high. Default 256. */
  readonly priority?: number;
  /** Both ends make the channel with the same id, and no OPEN is sent. Default false. */
  readonly isNegotiated?: boolean;
  /** Required when negotiated. */
  readonly id?: number;
}

export interface DataChannelsOptions {
  /** The DTLS client takes even ids (RFC 8832 §6). May be set later, before the association is up. */
  readonly isDtlsClient?: boolean;
  /** The peer's `max-message-size` in bytes, 0 for any. Default 65,536 (RFC 8841 §6.1). */
  readonly maxSendBytes?: number;
  /** The peer opened a channel. */
  readonly onChannel?: (channel: DataChannel) => void;
  /** The association's state changed. */
  readonly onState?: (state: SctpState, error: ClawError<SctpErrorCode> | undefined) => void;
}

export class DataChannels {
  isDtlsClient: boolean | undefined;
  readonly #association: SctpAssociation;
  readonly #options: DataChannelsOptions;
  readonly #channels = new Map<number, DataChannel>();
  /** What the peer did with channels to come, by the id that the one before still has. Messages fill the receive window. */
  readonly #held = new Map<number, (() => void)[]>();
  /** Opened before ids could be given. */
  #waiting: DataChannel[] = [];
  #maxSendBytes: number;
  /** Below twice this all of our ids are taken. */
  #searchFrom = 0;

  constructor(association: SctpAssociation, options: DataChannelsOptions = {}) {
    this.#association = association;
    this.#options = options;
    this.isDtlsClient = options.isDtlsClient;
    this.#maxSendBytes = 0;
    this.maxSendBytes = options.maxSendBytes ?? 65_536;
    association.listener = {
      onState: (state, error) => this.#onState(state, error),
      onMessage: (streamId, ppid, data) => this.#onMessage(streamId, ppid, data),
      onDrained: (streamId) => this.#channels.get(streamId)?.noteDrained(),
      onPeerReset: (streamIds) => this.#onPeerReset(streamIds),
      onResetDone: (streamIds) => {
        for (const id of streamIds) this.#onResetDone(id);
      },
      onRestart: () => this.#finishAll(),
    };
  }

  /** The peer's `max-message-size`; 0 stands for any. */
  get maxSendBytes(): number {
    return this.#maxSendBytes;
  }

  set maxSendBytes(bytes: number) {
    this.#maxSendBytes = bytes === 0 ? MAX_MESSAGE_BYTES : Math.min(bytes, MAX_MESSAGE_BYTES);
  }

  get size(): number {
    return this.#channels.size + this.#waiting.length;
  }

  /**
   * Opens a channel; it can send once `onOpen` was called, which for an association
   * that is up is at once, before `open` returns: look at `state`.
   * @throws SCTP_NO_STREAM_ID, SCTP_CLOSED
   */
  open(init: DataChannelInit, nowMs: number): DataChannel {
    const open = checkInit(init);
    const { state } = this.#association;
    if (state === 'closing' || state === 'closed') throw sctpError('SCTP_CLOSED', `open: the association is ${state}`);
    if (init.id !== undefined && this.#channels.get(init.id)?.isFinished === false) {
      throw sctpError('SCTP_NO_STREAM_ID', `open: stream ${init.id} is taken`);
    }
    if (init.id !== undefined && init.id >= this.#association.maxStreams) {
      throw sctpError('SCTP_NO_STREAM_ID', `open: stream ${init.id} is none of the peer's`);
    }
    const id = init.id ?? (state === 'connected' ? this.#freeId() : undefined);
    const channel = this.#make(open, id, init.isNegotiated ?? false, init.isNegotiated ?? false);
    if (id !== undefined) this.#channels.set(id, channel);
    else this.#waiting.push(channel);
    if (state === 'connected') this.#start(channel, nowMs);
    return channel;
  }

  #make(open: OpenMessage, id: number | undefined, isNegotiated: boolean, isAcknowledged: boolean): DataChannel {
    return new DataChannel(this.#association, open, id, isNegotiated, isAcknowledged, () => this.#maxSendBytes);
  }

  /** The association is up, and the channel has its id. */
  #start(channel: DataChannel, nowMs: number): void {
    if (channel.state !== 'connecting' || channel.id === undefined) return;
    this.#association.setPriority(channel.id, channel.priority);
    if (!channel.isNegotiated) {
      this.#association.sendMessage(channel.id, Ppid.dcep, encodeOpen(channel), nowMs, { isCounted: false });
    }
    channel.markOpen();
  }

  /** The lowest, as in libwebrtc, of which many have no streams above 1,023 whatever their INIT says. */
  #freeId(): number {
    const parity = this.isDtlsClient ? 0 : 1;
    let id = this.#searchFrom * 2 + parity;
    while (this.#channels.has(id)) id += 2;
    if (id >= this.#association.maxStreams) throw sctpError('SCTP_NO_STREAM_ID', 'open: all stream ids are taken');
    this.#searchFrom = id >> 1;
    return id;
  }

  #forget(id: number): void {
    this.#channels.delete(id);
    this.#searchFrom = Math.min(this.#searchFrom, id >> 1);
  }

  /** Channels that were opened before there were ids. One that gets none, or has one that the peer has not, ends. */
  #startAll(nowMs: number): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const agreed = [...this.#channels];
    for (const [id, channel] of agreed) {
      if (id >= this.#association.maxStreams) channel.finish();
      if (channel.isFinished) this.#forget(id);
      else this.#start(channel, nowMs);
    }
    for (const channel of waiting) {
      if (channel.isFinished) continue;
      try {
        channel.id = this.#freeId();
      } catch {
        channel.finish();
        continue;
      }
      this.#channels.set(channel.id, channel);
      this.#start(channel, nowMs);
    }
  }

  #onState(state: SctpState, error: ClawError<SctpErrorCode> | undefined): void {
    if (state === 'connected') this.#startAll(this.#association.nowMs);
    this.#options.onState?.(state, error);
    if (state === 'closed') this.#finishAll(error);
  }

  #onMessage(streamId: number, ppid: number, data: Buffer): void {
    const channel = this.#channels.get(streamId);
    const { nowMs } = this.#association;
    if (channel?.isPeerReset) this.#hold(streamId, () => this.#onMessage(streamId, ppid, data));
    else if (ppid === Ppid.dcep) {
      this.#association.release(data.length, nowMs);
      this.#onDcep(streamId, data, channel, nowMs);
    } else if (channel) channel.deliver(ppid, data, nowMs);
    else this.#association.release(data.length, nowMs);
  }

  /** The peer has done with the channel and begun the next one, for its answer to our reset was lost: we wait for that. */
  #hold(streamId: number, act: () => void): void {
    const held = this.#held.get(streamId);
    if (held) held.push(act);
    else this.#held.set(streamId, [act]);
  }

  #onDcep(streamId: number, data: Buffer, channel: DataChannel | undefined, nowMs: number): void {
    const message = decodeDcep(data);
    if (message === 'ack') {
      if (channel) channel.isAcknowledged = true;
    } else if (message && !channel && streamId < MAX_STREAMS && this.#association.state === 'connected') {
      const opened = this.#make(message, streamId, false, true);
      this.#channels.set(streamId, opened);
      this.#association.setPriority(streamId, message.priority);
      this.#association.sendMessage(streamId, Ppid.dcep, ACK_MESSAGE, nowMs, { isCounted: false });
      opened.state = 'open';
      this.#options.onChannel?.(opened);
      opened.onOpen?.();
    } else if (!message && !channel) {
      // Not to be understood: the stream is closed (RFC 8832 §6).
      this.#association.resetStream(streamId);
    }
  }

  #onPeerReset(streamIds: readonly number[]): void {
    for (const id of streamIds.length > 0 ? streamIds : [...this.#channels.keys()]) {
      const channel = this.#channels.get(id);
      if (!channel) continue;
      if (this.#held.has(id)) {
        this.#hold(id, () => this.#onPeerReset([id]));
        continue;
      }
      channel.isPeerReset = true;
      channel.markClosing();
      // Once each: a second reset of ours could hit the next channel of this id, and libwebrtc stumbles over it.
      if (!channel.isResetDone) this.#association.resetStream(id);
      this.#finishIfDone(channel, id);
    }
  }

  #onResetDone(id: number): void {
    const channel = this.#channels.get(id);
    if (!channel) return;
    channel.isResetDone = true;
    this.#finishIfDone(channel, id);
  }

  #finishIfDone(channel: DataChannel, id: number): void {
    if (!channel.isPeerReset || !channel.isResetDone) return;
    this.#forget(id);
    channel.finish();
    const held = this.#held.get(id) ?? [];
    this.#held.delete(id);
    for (const act of held) act();
  }

  #finishAll(error?: Error): void {
    const channels = [...this.#channels.values(), ...this.#waiting];
    this.#channels.clear();
    this.#held.clear();
    this.#searchFrom = 0;
    this.#waiting = [];
    for (const channel of channels) channel.finish(error);
  }
}

function checkInit(init: DataChannelInit): OpenMessage {
  const { id, maxRetransmits, maxPacketLifeTimeMs } = init;
  if (maxRetransmits !== undefined && maxPacketLifeTimeMs !== undefined) {
    throw new TypeError('open: give maxRetransmits or maxPacketLifeTimeMs, not both');
  }
  if (init.isNegotiated && id === undefined) throw new TypeError('open: a negotiated channel needs an id');
  if (id !== undefined && !(Number.isInteger(id) && id >= 0 && id < MAX_STREAMS)) {
    throw new RangeError(`open: id is ${id}; it must be a whole number from 0 to ${MAX_STREAMS - 1}`);
  }
  const open = {
    label: init.label ?? '',
    protocol: init.protocol ?? '',
    isOrdered: init.isOrdered ?? true,
    maxRetransmits,
    maxPacketLifeTimeMs,
    priority: init.priority ?? 256,
  };
  for (const text of [open.label, open.protocol]) {
    if (Buffer.byteLength(text) > 65_535) throw new TypeError('open: label and protocol hold 65,535 bytes at most');
  }
  return open;
}
