/**
 * An engine without a network: both ends live in one process and messages pass
 * through a queue with a delay, a rate, and, on channels that allow it, seeded
 * loss and reordering. Times come from the clock alone, so a test with a
 * virtual clock is exact. Offer and answer carry a name, not a description.
 */

import { ClawError, type Clock, type Random, systemClock, type Timer } from '@claw/base';
import type {
  RtcDataChannel,
  RtcDataChannelInit,
  RtcDataChannelState,
  RtcEngine,
  RtcIceCandidate,
  RtcPathStats,
  RtcPeerConnection,
  RtcPeerConnectionState,
  RtcSessionDescription,
} from '@claw/contracts';
import { seededRandom } from './seeded-random.ts';

export interface MemoryRtcOptions {
  readonly clock?: Clock;
  /** Seed of loss and reordering. Default 1. */
  readonly seed?: number;
  /** One way, in milliseconds. Default 0. */
  readonly delayMs?: number;
  /** Bytes a millisecond that leave a channel's buffer. Default unlimited. */
  readonly bytesPerMs?: number;
  /** Share of messages lost on channels that may lose (maxRetransmits or maxPacketLifeTime). Default 0. */
  readonly loss?: number;
  /** Share of messages held back by one more delay on unordered channels. Default 0. */
  readonly reorder?: number;
  /** From the cut of the path to `disconnected`. Default 100 ms. */
  readonly disconnectedAfterMs?: number;
  /** From the cut of the path to `failed`. Default 400 ms. */
  readonly failedAfterMs?: number;
  /** Told of what the owner's event handlers throw. Default: nobody is. */
  readonly onHandlerError?: (error: unknown) => void;
}

const MAX_MESSAGE_BYTES = 256 * 1024;

/** The engine, and the hand that cuts and mends every path of its connections. */
export class MemoryRtcNetwork {
  readonly clock: Clock;
  readonly random: Random;
  readonly options: MemoryRtcOptions;
  readonly engine: RtcEngine;
  readonly #connections = new Map<string, MemoryPeerConnection>();
  #names = 0;
  #cut = false;

  constructor(options: MemoryRtcOptions = {}) {
    this.options = options;
    this.clock = options.clock ?? systemClock;
    this.random = seededRandom(options.seed ?? 1);
    this.engine = { name: 'memory', createPeerConnection: () => this.#create() };
  }

  get isCut(): boolean {
    return this.#cut;
  }

  /** Connections that were not closed. */
  get openConnections(): number {
    return this.#connections.size;
  }

  /** From now on nothing arrives; connections turn `disconnected`, then `failed`. */
  cut(): void {
    this.#cut = true;
    for (const connection of this.#connections.values()) connection.pathCut();
  }

  /** Undoes {@link cut}: what was held up arrives, and connections that have not failed recover. */
  mend(): void {
    this.#cut = false;
    for (const connection of this.#connections.values()) connection.pathMended();
  }

  find(name: string): MemoryPeerConnection | undefined {
    return this.#connections.get(name);
  }

  forget(name: string): void {
    this.#connections.delete(name);
  }

  #create(): MemoryPeerConnection {
    this.#names += 1;
    const name = `memory-${this.#names}`;
    const connection = new MemoryPeerConnection(this, name);
    this.#connections.set(name, connection);
    return connection;
  }
}

class MemoryPeerConnection implements RtcPeerConnection {
  onconnectionstatechange: (() => void) | null = null;
  onicecandidate: ((candidate: RtcIceCandidate | null) => void) | null = null;
  readonly channels = new Map<number, MemoryDataChannel>();
  readonly network: MemoryRtcNetwork;
  peer: MemoryPeerConnection | undefined;
  bytesSent = 0;
  bytesReceived = 0;
  readonly #name: string;
  readonly #timers = new Set<Timer>();
  #outage: Timer[] = [];
  #state: RtcPeerConnectionState = 'new';
  #local: RtcSessionDescription | null = null;
  #remote: RtcSessionDescription | null = null;
  /** What arrived while the path was cut. */
  #heldUp: (() => void)[] = [];

  constructor(network: MemoryRtcNetwork, name: string) {
    this.network = network;
    this.#name = name;
  }

  get connectionState(): RtcPeerConnectionState {
    return this.#state;
  }

  get localDescription(): RtcSessionDescription | null {
    return this.#local;
  }

  get remoteDescription(): RtcSessionDescription | null {
    return this.#remote;
  }

  createDataChannel(label: string, init: RtcDataChannelInit): RtcDataChannel {
    this.#mustBeOpen('create a channel');
    if (this.channels.has(init.id)) throw new RangeError(`channel ${init.id} exists`);
    const channel = new MemoryDataChannel(this, label, init);
    this.channels.set(init.id, channel);
    return channel;
  }

  async setLocalDescription(): Promise<RtcSessionDescription> {
    this.#mustBeOpen('set the local description');
    if (this.#local) throw new ClawError('ENGINE_FAILED', 'the local description is set already');
    const type = this.#remote ? 'answer' : 'offer';
    const local: RtcSessionDescription = { type, sdp: `v=0\r\ns=${this.#name}\r\n` };
    this.#local = local;
    this.later(0, () => {
      const candidate = `candidate:1 1 UDP 1 127.0.0.1 ${this.#name.slice(7)} typ host`;
      this.run(() => this.onicecandidate?.({ candidate, sdpMid: '0' }));
      this.run(() => this.onicecandidate?.(null));
    });
    return Promise.resolve(local);
  }

  async setRemoteDescription(description: RtcSessionDescription): Promise<void> {
    this.#mustBeOpen('set the remote description');
    if (this.#remote) throw new ClawError('ENGINE_FAILED', 'the remote description is set already');
    const expected = this.#local?.type === 'offer' ? 'answer' : 'offer';
    const name = /^v=0\r\ns=(memory-\d+)\r\n$/.exec(description.sdp)?.[1];
    if (description.type !== expected || name === undefined) {
      throw new ClawError('ENGINE_DESCRIPTION_INVALID', `an ${expected} is due and this is none`);
    }
    this.#remote = description;
    const other = this.network.find(name);
    if (expected === 'answer' && other) this.#join(other);
    return Promise.resolve();
  }

  async addIceCandidate(candidate: RtcIceCandidate): Promise<void> {
    this.#mustBeOpen('add a candidate');
    if (candidate.candidate !== '' && !/^candidate:\S+ 1 UDP \d+ \S+ \d{1,5} typ host$/.test(candidate.candidate)) {
      throw new ClawError('ENGINE_DESCRIPTION_INVALID', 'a candidate is malformed');
    }
    return Promise.resolve();
  }

  getPathStats(): Promise<RtcPathStats | undefined> {
    if (this.#state !== 'connected') return Promise.resolve(undefined);
    const end = { candidateType: 'host', protocol: 'udp', address: '127.0.0.1', port: 1 } as const;
    const { bytesSent, bytesReceived } = this;
    const roundTripMs = 2 * (this.network.options.delayMs ?? 0);
    return Promise.resolve({ local: end, remote: end, bytesSent, bytesReceived, roundTripMs });
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#end();
    const peer = this.peer;
    if (peer) this.deliver(this.network.options.delayMs ?? 0, () => peer.#closedByPeer());
  }

  /** Does `arrive` on the peer's side after `delayMs`, unless it has closed; a cut path holds it up. */
  deliver(delayMs: number, arrive: () => void): void {
    const peer = this.peer;
    peer?.later(delayMs, () => {
      if (this.network.isCut) peer.#heldUp.push(arrive);
      else arrive();
    });
  }

  /** A timer that ends with the connection. */
  later(delayMs: number, fire: () => void): void {
    if (this.#state === 'closed') return;
    const timer = this.network.clock.setTimer(delayMs, () => {
      this.#timers.delete(timer);
      fire();
    });
    this.#timers.add(timer);
  }

  run(handler: () => void): void {
    if (this.#state === 'closed') return;
    this.runToTheEnd(handler);
  }

  runToTheEnd(handler: () => void): void {
    try {
      handler();
    } catch (error) {
      this.network.options.onHandlerError?.(error);
    }
  }

  pathCut(): void {
    if (this.#state !== 'connected') return;
    const { disconnectedAfterMs = 100, failedAfterMs = 400 } = this.network.options;
    this.#outage = [
      this.network.clock.setTimer(disconnectedAfterMs, () => this.#change('disconnected')),
      this.network.clock.setTimer(failedAfterMs, () => this.#change('failed')),
    ];
  }

  pathMended(): void {
    this.#endOutage();
    if (this.#state === 'disconnected') this.#change('connected');
    for (const arrive of this.#heldUp.splice(0)) this.later(0, arrive);
  }

  #join(offered: MemoryPeerConnection): void {
    this.peer = offered;
    offered.peer = this;
    for (const end of [this, offered]) {
      end.later(0, () => end.#change('connecting'));
      end.later(2 * (this.network.options.delayMs ?? 0), () => {
        if (this.network.isCut) return end.#change('failed');
        end.#change('connected');
        for (const channel of end.channels.values()) channel.opened();
      });
    }
  }

  #change(state: RtcPeerConnectionState): void {
    if (this.#state === 'closed' || this.#state === 'failed' || this.#state === state) return;
    this.#state = state;
    this.run(() => this.onconnectionstatechange?.());
  }

  #closedByPeer(): void {
    if (this.#state === 'closed') return;
    for (const channel of this.channels.values()) channel.closed();
    this.#end();
    this.runToTheEnd(() => this.onconnectionstatechange?.());
  }

  #end(): void {
    this.#state = 'closed';
    for (const channel of this.channels.values()) channel.dispose();
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#endOutage();
    this.#heldUp = [];
    this.network.forget(this.#name);
  }

  #endOutage(): void {
    for (const timer of this.#outage) timer.cancel();
    this.#outage = [];
  }

  #mustBeOpen(what: string): void {
    if (this.#state === 'closed') throw new ClawError('ENGINE_CLOSED', `cannot ${what}: it is closed`);
  }
}

class MemoryDataChannel implements RtcDataChannel {
  readonly id: number;
  readonly label: string;
  bufferedAmountLowThreshold = 0;
  onopen: (() => void) | null = null;
  onmessage: ((data: Uint8Array) => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: ((error: Error) => void) | null = null;
  readonly #connection: MemoryPeerConnection;
  readonly #mayLose: boolean;
  readonly #mayReorder: boolean;
  #state: RtcDataChannelState = 'connecting';
  #buffered = 0;
  readonly #leaving: Buffer[] = [];
  /** When the last byte that was sent will have left. */
  #freeAtMs = 0;

  constructor(connection: MemoryPeerConnection, label: string, init: RtcDataChannelInit) {
    this.#connection = connection;
    this.id = init.id;
    this.label = label;
    this.#mayLose = init.maxRetransmits !== undefined || init.maxPacketLifeTime !== undefined;
    this.#mayReorder = init.ordered === false;
  }

  get readyState(): RtcDataChannelState {
    return this.#state;
  }

  get bufferedAmount(): number {
    return this.#buffered;
  }

  send(data: Uint8Array): void {
    if (this.#state === 'connecting') throw new ClawError('ENGINE_FAILED', `channel ${this.label} is not open yet`);
    if (this.#state !== 'open') throw new ClawError('ENGINE_CLOSED', `channel ${this.label} is closed`);
    if (data.byteLength > MAX_MESSAGE_BYTES)
      throw new ClawError('ENGINE_FAILED', `${data.byteLength} bytes are too many`);
    this.#leaving.push(Buffer.from(data));
    const { clock, options } = this.#connection.network;
    const startMs = Math.max(this.#freeAtMs, clock.monotonicMs());
    this.#freeAtMs = startMs + data.length / (options.bytesPerMs ?? Number.POSITIVE_INFINITY);
    this.#buffered += data.length;
    this.#connection.later(this.#freeAtMs - clock.monotonicMs(), () => this.#leave());
  }

  close(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#state = 'closing';
    const other = this.#connection.peer?.channels.get(this.id);
    if (other) this.#connection.deliver(this.#connection.network.options.delayMs ?? 0, () => other.closed());
    this.#connection.later(0, () => this.closed());
  }

  opened(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'open';
    this.#connection.run(() => this.onopen?.());
  }

  closed(): void {
    if (this.#state === 'closed') return;
    this.dispose();
    this.#connection.run(() => this.onclose?.());
  }

  dispose(): void {
    this.#state = 'closed';
    this.#buffered = 0;
  }

  receive(data: Buffer): void {
    this.#connection.bytesReceived += data.length;
    if (this.#state === 'connecting') this.opened();
    if (this.#state === 'open') this.#connection.run(() => this.onmessage?.(data));
  }

  #leave(): void {
    // The oldest: of timers that are due within a millisecond the system's may fire in any order.
    const data = this.#leaving.shift();
    if (this.#state !== 'open' || !data) return;
    const before = this.#buffered;
    this.#buffered -= data.length;
    this.#connection.bytesSent += data.length;
    const { random, options } = this.#connection.network;
    const lost = this.#mayLose && random.fraction() < (options.loss ?? 0);
    const late = this.#mayReorder && random.fraction() < (options.reorder ?? 0);
    const delayMs = options.delayMs ?? 0;
    const other = this.#connection.peer?.channels.get(this.id);
    if (!lost) this.#connection.deliver(late ? 2 * delayMs + 1 : delayMs, () => other?.receive(data));
    if (before > this.bufferedAmountLowThreshold && this.#buffered <= this.bufferedAmountLowThreshold) {
      this.#connection.run(() => this.onbufferedamountlow?.());
    }
  }
}
