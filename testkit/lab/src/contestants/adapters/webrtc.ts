/**
 * The contestants that have the W3C's API: our own stack, libwebrtc through
 * `@roamhq/wrtc`, and werift. One reliable channel that a opens; candidates trickle. Neither tells
 * reliably when its buffer has drained, so the amount is looked at again and again.
 */

import { errorText, type Timer } from '@claw/base';
import type { Adapter, PathFacts, PeerContext } from '../contract.ts';
import { sharedClock } from '../shared-clock.ts';
import { BaseSession } from './base-session.ts';
import { Gate } from './gate.ts';
import { type IceServer, icePath, iceServersOf, loopbackOf } from './ice.ts';
import { ownEngineOptions } from './own-engine.ts';
import { loadInstalled, packageVersion } from './packages.ts';
import { type StatsReport, selectedPath } from './webrtc-stats.ts';

interface Engine {
  readonly packageName: string;
  /** One of the repository's own packages. */
  readonly isOurs?: boolean;
  /** In the channel, until senders wait. werift's send queue slows down as it grows. */
  readonly highWater: number;
  readonly transports: readonly ('udp' | 'tcp' | 'tls')[];
}

const ENGINES: Readonly<Record<'claw-webrtc' | 'wrtc' | 'werift', Engine>> = {
  'claw-webrtc': {
    packageName: '@claw/webrtc',
    isOurs: true,
    highWater: 1024 * 1024,
    transports: ['udp', 'tcp', 'tls'],
  },
  wrtc: { packageName: '@roamhq/wrtc', highWater: 1024 * 1024, transports: ['udp', 'tcp', 'tls'] },
  werift: { packageName: 'werift', highWater: 256 * 1024, transports: ['udp', 'tcp', 'tls'] },
};
const DRAIN_LOOK_MS = 1;

/** What is used of the W3C's API. */
interface Description {
  readonly type: string;
  readonly sdp: string;
}
interface Channel {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly readyState: string;
  onopen: (() => void) | null;
  onclose: (() => void) | null;
  onerror: ((event: { error?: unknown }) => void) | null;
  onmessage: ((event: { data: ArrayBuffer | Buffer }) => void) | null;
  send(data: Buffer): void;
  close(): void;
}
interface Connection {
  readonly connectionState: string;
  readonly localDescription: Description | null;
  onicecandidate: ((event: { candidate?: { toJSON(): unknown } | null }) => void) | null;
  onconnectionstatechange: (() => void) | null;
  ondatachannel: ((event: { channel: Channel }) => void) | null;
  createDataChannel(label: string): Channel;
  createOffer(): Promise<Description>;
  createAnswer(): Promise<Description>;
  setLocalDescription(description: Description): Promise<unknown>;
  setRemoteDescription(description: Description): Promise<unknown>;
  addIceCandidate(candidate: unknown): Promise<unknown>;
  getStats(): Promise<StatsReport>;
  close(): unknown;
}
interface Module {
  readonly RTCPeerConnection: new (configuration: Record<string, unknown>) => Connection;
}
type Signal = { readonly description: Description } | { readonly candidate: unknown };

export function createWebRtcAdapter(name: keyof typeof ENGINES): Adapter {
  const engine = ENGINES[name];
  let module: Module | undefined;
  return {
    name,
    version: () => packageVersion(engine.packageName, engine.isOurs),
    async prepare() {
      if (engine.isOurs) {
        module = (await import('@claw/webrtc')) as unknown as Module;
        return;
      }
      const loaded = await loadInstalled<Module & { default?: Module }>(engine.packageName);
      module = loaded.default?.RTCPeerConnection ? loaded.default : loaded;
    },
    async open(context) {
      const { RTCPeerConnection } = module as Module;
      const session = new WebRtcSession(context, engine, new RTCPeerConnection(configurationOf(name, context, engine)));
      await session.opened;
      return session;
    },
  };
}

function configurationOf(name: string, context: PeerContext, { transports }: Engine): Record<string, unknown> {
  const iceServers: IceServer[] = iceServersOf(context.services, transports);
  if (name === 'claw-webrtc') return { iceServers, ...ownEngineOptions(context) };
  const loopback = loopbackOf(context);
  return { iceServers, ...(name === 'werift' && loopback && { iceAdditionalHostAddresses: [loopback] }) };
}

class WebRtcSession extends BaseSession {
  readonly opened: Promise<void>;
  readonly #opened = Promise.withResolvers<void>();
  readonly #context: PeerContext;
  readonly #engine: Engine;
  readonly #connection: Connection;
  readonly #gate = new Gate();
  #channel: Channel | undefined;
  /** Set once the peer's description was given to the engine; candidates wait for it. */
  #described: Promise<unknown> | undefined;
  readonly #early: Signal[] = [];
  #look: Timer | undefined;

  constructor(context: PeerContext, engine: Engine, connection: Connection) {
    super();
    this.#context = context;
    this.#engine = engine;
    this.#connection = connection;
    this.opened = this.#opened.promise;
    connection.onicecandidate = ({ candidate }) => {
      if (candidate) context.sendSignal({ candidate: candidate.toJSON() });
    };
    connection.onconnectionstatechange = () => {
      const state = connection.connectionState;
      context.note(`connection state ${state}`);
      if (state === 'failed' || state === 'closed') this.#over(`connection state ${state}`);
    };
    connection.ondatachannel = ({ channel }) => this.#use(channel);
    const begun = context.role === 'a' ? this.#offer() : this.#answer();
    begun.catch((error: unknown) => this.#over(errorText(error)));
  }

  async send(message: Buffer): Promise<void> {
    const channel = this.#channel;
    if (this.endReason !== undefined || !channel) throw new Error(this.endReason ?? 'there is no channel');
    channel.send(message);
    if (channel.bufferedAmount < this.#engine.highWater) return;
    this.#look ??= sharedClock.setTimer(DRAIN_LOOK_MS, () => this.#lookAgain());
    await this.#gate.wait();
  }

  async path(): Promise<PathFacts> {
    const pair = selectedPath(await this.#connection.getStats());
    if (!pair) throw new Error('the statistics name no candidate pair');
    return icePath(pair.local, pair.remote);
  }

  async close(): Promise<void> {
    this.#over('closed here');
    this.#look?.cancel();
    this.#channel?.close();
    await this.#connection.close();
  }

  async #offer(): Promise<void> {
    this.#use(this.#connection.createDataChannel('lab'));
    this.#context.onSignal((signal) => this.#take(signal as Signal));
    await this.#describe(await this.#connection.createOffer());
  }

  async #answer(): Promise<void> {
    this.#context.onSignal((signal) => this.#take(signal as Signal));
  }

  async #describe(description: Description): Promise<void> {
    const { type, sdp } = description;
    // Sent before the candidates, which gathering starts.
    this.#context.sendSignal({ description: { type, sdp } });
    await this.#connection.setLocalDescription(description);
  }

  #take(signal: Signal): void {
    const connection = this.#connection;
    if ('candidate' in signal) {
      if (!this.#described) return void this.#early.push(signal);
      const add = () => connection.addIceCandidate(signal.candidate);
      this.#described.then(add).catch((error: unknown) => this.#context.note(`candidate refused: ${errorText(error)}`));
      return;
    }
    const described = connection.setRemoteDescription(signal.description);
    const answered = described.then(async () => {
      if (signal.description.type === 'offer') await this.#describe(await connection.createAnswer());
    });
    answered.catch((error: unknown) => this.#over(errorText(error)));
    this.#described = answered;
    for (const early of this.#early.splice(0)) this.#take(early);
  }

  #use(channel: Channel): void {
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.onopen = () => this.#opened.resolve();
    channel.onclose = () => this.#over('the channel closed');
    channel.onerror = ({ error }) => this.#over(`channel error: ${errorText(error)}`);
    channel.onmessage = ({ data }) => this.deliver(data instanceof ArrayBuffer ? Buffer.from(data) : data);
    if (channel.readyState === 'open') this.#opened.resolve();
  }

  #lookAgain(): void {
    const low = (this.#channel?.bufferedAmount ?? 0) < this.#engine.highWater / 2;
    this.#look = low ? undefined : sharedClock.setTimer(DRAIN_LOOK_MS, () => this.#lookAgain());
    if (low) this.#gate.open();
  }

  #over(reason: string): void {
    this.#opened.reject(new Error(reason));
    this.end(reason);
    this.#gate.fail(reason);
  }
}
