/** Two associations with their data channels over two links, driven in virtual time. */

import { seededRandom } from '@claw/testkit';
import { type DataChannel, DataChannels, SctpAssociation, type SctpOptions, type SctpState } from '../src/index.ts';
import { Link, type LinkOptions } from './link.ts';
import { Simulation, type VirtualTime } from './simulation.ts';

export interface Message {
  readonly channel: DataChannel;
  readonly data: Buffer;
  readonly isText: boolean;
  readonly atMs: number;
}

export type PairOptions = Partial<Omit<SctpOptions, 'random' | 'send'>>;

/** One end: wakes the association at its deadline, with a timer of `timerGrainMs`. */
export class End {
  readonly association: SctpAssociation;
  readonly channels: DataChannels;
  readonly opened: DataChannel[] = [];
  readonly messages: Message[] = [];
  readonly states: SctpState[] = [];
  error: unknown = undefined;
  /** Instead of keeping messages. */
  onMessage: ((message: Message) => void) | undefined = undefined;
  readonly #simulation: VirtualTime;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  timerGrainMs = 0;

  constructor(simulation: VirtualTime, options: SctpOptions, isDtlsClient: boolean) {
    this.#simulation = simulation;
    this.association = new SctpAssociation(options);
    // Both ends are ours.
    this.association.sparesAcks = true;
    this.channels = new DataChannels(this.association, {
      isDtlsClient,
      maxSendBytes: 0,
      onChannel: (channel) => {
        this.opened.push(channel);
        this.#listen(channel);
      },
      onState: (state, error) => {
        this.states.push(state);
        this.error = error;
      },
    });
  }

  open(init: Parameters<DataChannels['open']>[0] = {}): DataChannel {
    const channel = this.channels.open(init, this.#simulation.nowMs);
    this.#listen(channel);
    this.settle();
    return channel;
  }

  #listen(channel: DataChannel): void {
    channel.onMessage = (data, isText) => {
      const message = { channel, data, isText, atMs: this.#simulation.nowMs };
      if (this.onMessage) this.onMessage(message);
      else this.messages.push(message);
    };
  }

  connect(remoteInit?: Buffer): void {
    this.association.connect(this.#simulation.nowMs, remoteInit);
    this.settle();
  }

  send(channel: DataChannel, data: string | Uint8Array): void {
    channel.send(data, this.#simulation.nowMs);
    this.settle();
  }

  receive(packet: Buffer): void {
    this.association.receive(packet, this.#simulation.nowMs);
    this.settle();
  }

  /** Sends what is due and sets the timer; to be called after every call into the association. */
  settle(): void {
    const simulation = this.#simulation;
    if (this.association.deadlineMs <= simulation.nowMs) this.association.handleTimeout(simulation.nowMs);
    const { deadlineMs } = this.association;
    let wakeAtMs = Math.max(deadlineMs, simulation.nowMs);
    if (this.timerGrainMs > 0) wakeAtMs = Math.max(wakeAtMs, simulation.nowMs + this.timerGrainMs);
    if (wakeAtMs === Number.POSITIVE_INFINITY || this.#wakeAtMs <= wakeAtMs) return;
    this.#wakeAtMs = wakeAtMs;
    simulation.at(wakeAtMs, () => {
      if (this.#wakeAtMs !== wakeAtMs) return;
      this.#wakeAtMs = Number.POSITIVE_INFINITY;
      this.association.handleTimeout(simulation.nowMs);
      this.settle();
    });
  }
}

export class Pair {
  readonly simulation: Simulation;
  readonly a: End;
  readonly b: End;
  /** From a to b. */
  readonly forward: Link;
  readonly backward: Link;

  constructor(
    link: LinkOptions = {},
    options: PairOptions = {},
    shared: Partial<Pick<Pair, 'simulation' | 'forward' | 'backward'>> = {},
  ) {
    const simulation = shared.simulation ?? new Simulation();
    const seed = link.seed ?? 1;
    this.simulation = simulation;
    this.forward = shared.forward ?? new Link(simulation, { ...link, seed: seed * 2 + 1 });
    this.backward = shared.backward ?? new Link(simulation, { ...link, seed: seed * 2 + 2 });
    const { random: randomA } = { random: seededRandom(seed * 100 + 1) };
    this.a = new End(
      simulation,
      { ...options, random: randomA, send: (packet) => this.forward.send(packet, (copy) => this.b.receive(copy)) },
      true,
    );
    this.b = new End(
      simulation,
      {
        ...options,
        random: seededRandom(seed * 100 + 2),
        send: (packet) => this.backward.send(packet, (copy) => this.a.receive(copy)),
      },
      false,
    );
  }

  /** Connects both ends at once, as WebRTC does, and runs until they are. */
  connect(withinMs = 30_000): this {
    this.a.connect();
    this.b.connect();
    const { simulation } = this;
    simulation.run(simulation.nowMs + withinMs, () => this.isConnected);
    if (!this.isConnected) throw new Error(`not connected: ${this.a.association.state}, ${this.b.association.state}`);
    return this;
  }

  get isConnected(): boolean {
    return this.a.association.state === 'connected' && this.b.association.state === 'connected';
  }

  run(ms: number, isDone?: () => boolean): void {
    this.simulation.run(this.simulation.nowMs + ms, isDone);
  }
}
