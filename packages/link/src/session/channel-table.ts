/**
 * The channels of a session by number: opens, finds and ends them, and hands
 * each frame that names one to it. The client opens odd numbers, the server even
 * ones, each in rising order, so a number says whether it ever was a channel.
 */

import type { ClawError } from '@claw/base';
import { linkError, toWireCode, violated } from '../errors.ts';
import { type ChannelKind, type Frame, MAX_FRAME_BYTES, MAX_META_BYTES, MAX_SERVICE_BYTES } from './frames.ts';
import { IncomingChannel } from './incoming-channel.ts';
import { BULK_LANE, CONTROL_LANE, laneReliability, type Reliability } from './lanes.ts';
import type { SessionLimits } from './limits.ts';
import { LinkStream } from './link-stream.ts';
import { MessageChannel, type MessageHost } from './message-channel.ts';
import { FRAME_COST_BYTES, type ReceiveWindow } from './receive-window.ts';

export type Channel = LinkStream | MessageChannel;
export type ChannelFrame = Extract<Frame, { type: 'open' | 'accept' | 'data' | 'end' | 'reset' | 'message' }>;

export interface ChannelTableOptions {
  readonly role: 'client' | 'server';
  readonly limits: SessionLimits;
  readonly host: MessageHost;
  /** What the peer may send on the link as a whole. */
  readonly linkWindow: ReceiveWindow;
  readonly send: (frame: Extract<Frame, { type: 'open' | 'accept' }>) => void;
  readonly onIncoming: (channel: IncomingChannel) => void;
}

/** Head of a data or message frame: type byte and a channel number of up to eight bytes. */
const MAX_HEAD_BYTES = 9;
const MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - MAX_HEAD_BYTES;
const ORDERED: Reliability = { ordered: true, reliable: true };

export class ChannelTable {
  readonly #options: ChannelTableOptions;
  readonly #channels = new Map<number, Channel>();
  #nextOwn: number;
  #highestIncoming = 0;
  #incomingOpen = 0;
  /** Opens turned down since one was last taken. */
  #refusedOpens = 0;

  constructor(options: ChannelTableOptions) {
    this.#options = options;
    this.#nextOwn = options.role === 'client' ? 1 : 2;
  }

  get size(): number {
    return this.#channels.size;
  }

  get(id: number): Channel | undefined {
    return this.#channels.get(id);
  }

  openStream(service: string, meta: Uint8Array): LinkStream {
    return this.#add(this.#newStream(this.#open('stream', service, meta), service));
  }

  openMessages(service: string, reliability: Reliability, meta: Uint8Array): MessageChannel {
    return this.#add(this.#newMessages(this.#open('message', service, meta), service, reliability));
  }

  /** Forgets a channel that ended and returns it. */
  release(id: number): Channel | undefined {
    const channel = this.#channels.get(id);
    if (channel && this.#channels.delete(id) && !this.#isOwn(id)) this.#incomingOpen -= 1;
    return channel;
  }

  /** Ends every channel without a word to the peer. */
  end(error: ClawError): void {
    for (const channel of [...this.#channels.values()]) channel.onLinkClosed(error);
    this.#channels.clear();
  }

  /** @throws ClawError `LINK_PROTOCOL_VIOLATED`, `LINK_FLOW_VIOLATED` or `LINK_PEER_ABUSE`. */
  onFrame(lane: number, frame: ChannelFrame): void {
    if (frame.type !== 'message' && lane !== BULK_LANE) throw violated(`a ${frame.type} frame came on lane ${lane}`);
    switch (frame.type) {
      case 'open':
        return this.#onOpen(frame.channel, frame.kind, frame.service, frame.meta);
      case 'accept':
        return this.#find(frame.channel)?.onAccepted(frame.meta);
      case 'data':
        return this.#onData(frame.channel, frame.payload);
      case 'message':
        return this.#onMessage(lane, frame.channel, frame.last, frame.payload);
      case 'end': {
        const stream = this.#find(frame.channel);
        if (stream && !(stream instanceof LinkStream))
          throw violated(`an end came for message channel ${frame.channel}`);
        return stream?.onEnd();
      }
      case 'reset':
        return this.#find(frame.channel)?.onReset(frame.code, frame.reason);
    }
  }

  #onData(id: number, payload: Buffer): void {
    const stream = this.#find(id);
    this.#count(payload, stream);
    if (!stream) return;
    if (!(stream instanceof LinkStream)) throw violated(`data came for message channel ${id}`);
    if (!stream.onData(payload)) throw overrun(`stream ${id}`);
  }

  #onMessage(lane: number, id: number, last: boolean, payload: Buffer): void {
    if (lane === CONTROL_LANE) throw violated('a message came on the control lane');
    if (!last && lane !== BULK_LANE) throw violated(`a part of a message came on lane ${lane}`);
    const channel = this.#find(id);
    if (laneReliability(lane).reliable) this.#count(payload, channel);
    if (!channel) return;
    if (!(channel instanceof MessageChannel)) throw violated(`a message came for stream ${id}`);
    if (!channel.onFrame(lane, last, payload)) throw overrun(`channel ${id}`);
  }

  /** Holds the peer to its credit for the link; what comes for a channel that ended here is consumed at once. */
  #count(payload: Buffer, channel: Channel | undefined): void {
    const charged = payload.length + FRAME_COST_BYTES;
    if (!this.#options.linkWindow.receive(charged)) throw overrun('the link');
    if (!channel) this.#options.host.consumed(charged);
  }

  /** The open channel `id`; `undefined` for one that has ended; an error for one that never was. */
  #find(id: number): Channel | undefined {
    const channel = this.#channels.get(id);
    const opened = this.#isOwn(id) ? id < this.#nextOwn : id <= this.#highestIncoming;
    if (!channel && !(opened && id > 0)) throw violated(`channel ${id} was never opened`);
    return channel;
  }

  #onOpen(id: number, kind: ChannelKind, service: string, meta: Buffer): void {
    const { limits, host, send, onIncoming } = this.#options;
    if (this.#isOwn(id) || id <= this.#highestIncoming)
      throw violated(`channel ${id} cannot be opened by the peer now`);
    this.#highestIncoming = id;
    if (this.#incomingOpen >= limits.maxIncomingChannels) {
      this.#refusedOpens += 1;
      if (this.#refusedOpens > limits.maxIncomingChannels) {
        throw linkError('LINK_PEER_ABUSE', `the peer keeps opening channels beyond ${limits.maxIncomingChannels}`);
      }
      return host.sendReset(id, toWireCode('STREAM_LIMIT', 'STREAM_LIMIT'), 'too many channels are open');
    }
    this.#refusedOpens = 0;
    this.#incomingOpen += 1;
    const channel = this.#add(
      kind === 'stream' ? this.#newStream(id, service) : this.#newMessages(id, service, ORDERED),
    );
    onIncoming(new IncomingChannel(channel, meta, (answer) => send({ type: 'accept', channel: id, meta: answer })));
  }

  /** Announces a channel of this side and returns its number. */
  #open(kind: ChannelKind, service: string, meta: Uint8Array): number {
    const { limits, send } = this.#options;
    if (Buffer.byteLength(service) > MAX_SERVICE_BYTES)
      throw new RangeError(`a service name has at most ${MAX_SERVICE_BYTES} bytes`);
    if (meta.length > MAX_META_BYTES)
      throw new RangeError(`metadata has at most ${MAX_META_BYTES} bytes, got ${meta.length}`);
    if (this.#channels.size - this.#incomingOpen >= limits.maxIncomingChannels) {
      throw linkError('STREAM_LIMIT', `${limits.maxIncomingChannels} channels are open on this link already`);
    }
    const channel = this.#nextOwn;
    this.#nextOwn += 2;
    send({ type: 'open', channel, kind, service, meta: Buffer.from(meta) });
    return channel;
  }

  #add<C extends Channel>(channel: C): C {
    this.#channels.set(channel.channel, channel);
    return channel;
  }

  #newStream(channel: number, service: string): LinkStream {
    const { host, limits } = this.#options;
    const windowBytes = limits.channelWindowBytes;
    return new LinkStream({ host, channel, service, lane: BULK_LANE, windowBytes, maxFrameBytes: MAX_PAYLOAD_BYTES });
  }

  #newMessages(channel: number, service: string, reliability: Reliability): MessageChannel {
    const { host, limits } = this.#options;
    return new MessageChannel({
      host,
      channel,
      service,
      windowBytes: limits.channelWindowBytes,
      maxMessageBytes: limits.maxMessageBytes,
      maxFrameBytes: MAX_PAYLOAD_BYTES,
      reliability,
      incoming: !this.#isOwn(channel),
    });
  }

  #isOwn(channel: number): boolean {
    return channel % 2 === (this.#options.role === 'client' ? 1 : 0);
  }
}

function overrun(what: string) {
  return linkError('LINK_FLOW_VIOLATED', `the peer sent more on ${what} than it was granted, or after its end`);
}
