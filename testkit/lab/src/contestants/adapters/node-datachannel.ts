/**
 * libdatachannel as it is: one negotiated reliable channel, the offerer as DTLS
 * client, which avoids its race of one second at the set-up. No exception may
 * leave a callback: it would abort the process.
 */

import { cleanup, type IceServer, initLogger, PeerConnection } from 'node-datachannel';
import type { Adapter, PathFacts, PeerContext } from '../contract.ts';
import { BaseSession } from './base-session.ts';
import { Gate } from './gate.ts';
import { icePath, loopbackOf } from './ice.ts';
import { packageVersion } from './packages.ts';

const HIGH_WATER = 1024 * 1024;
const CANDIDATES = /^a=candidate:.*\r\n/gm;

type Signal =
  | { readonly type: 'offer' | 'answer'; readonly sdp: string }
  | { readonly candidate: string; readonly mid: string };

export function createNodeDataChannelAdapter(): Adapter {
  return {
    name: 'node-datachannel',
    version: () => packageVersion('node-datachannel', true),
    async open(context) {
      const session = new NativeSession(context);
      await session.opened;
      return session;
    },
  };
}

class NativeSession extends BaseSession {
  readonly opened: Promise<void>;
  readonly #opened = Promise.withResolvers<void>();
  readonly #connection: PeerConnection;
  readonly #channel: ReturnType<PeerConnection['createDataChannel']>;
  readonly #gate = new Gate();
  readonly #early: { candidate: string; mid: string }[] = [];
  readonly #context: PeerContext;
  #described = false;
  /** What the library logged last: the only place that tells why a handshake failed. */
  #complaint = '';

  constructor(context: PeerContext) {
    super();
    this.#context = context;
    this.opened = this.#opened.promise;
    const bindAddress = loopbackOf(context);
    this.#connection = new PeerConnection(context.role, {
      iceServers: nativeServers(context),
      ...(bindAddress !== undefined && { bindAddress }),
      disableAutoNegotiation: true,
      mtu: 1400,
      maxMessageSize: 262_144,
    });
    process.once('exit', cleanup);
    initLogger('Error', (_level, message) => this.#guard(() => this.#complain(message)));
    const connection = this.#connection;
    this.#channel = connection.createDataChannel('lab', { negotiated: true, id: 0 });
    this.#listen();
    context.onSignal((signal) => this.#guard(() => this.#take(signal as Signal)));
    if (context.role === 'a') connection.setLocalDescription('offer');
  }

  async send(message: Buffer): Promise<void> {
    if (this.endReason !== undefined) throw new Error(this.endReason);
    this.#channel.sendMessageBinary(message);
    if (this.#channel.bufferedAmount() >= HIGH_WATER) await this.#gate.wait();
  }

  async path(): Promise<PathFacts> {
    const pair = this.#connection.getSelectedCandidatePair();
    if (!pair) throw new Error('no candidate pair is selected');
    const [local, remote] = [pair.local, pair.remote].map(({ type, address, transportType }) => ({
      ...{ type, address, protocol: transportType.toLowerCase() },
    }));
    return icePath(local as never, remote as never);
  }

  async close(): Promise<void> {
    this.#over('closed here');
    this.#guard(() => this.#channel.close());
    this.#guard(() => this.#connection.close());
  }

  #listen(): void {
    const channel = this.#channel;
    const connection = this.#connection;
    const { sendSignal, note } = this.#context;
    channel.setBufferedAmountLowThreshold(HIGH_WATER / 2);
    channel.onBufferedAmountLow(() => this.#guard(() => this.#gate.open()));
    channel.onOpen(() => this.#guard(() => this.#opened.resolve()));
    channel.onMessage((message) => this.#guard(() => this.deliver(message as Buffer)));
    channel.onError((error) => this.#guard(() => this.#over(`channel error: ${error}`)));
    channel.onClosed(() => this.#guard(() => this.#over('the channel closed')));
    connection.onStateChange((state) =>
      this.#guard(() => {
        note(`connection state ${state}`);
        if (state === 'failed' || state === 'closed') this.#over(`connection state ${state}`);
      }),
    );
    connection.onLocalDescription((sdp, type) =>
      this.#guard(() => sendSignal({ type, sdp: sdp.replace(CANDIDATES, '') })),
    );
    connection.onLocalCandidate((candidate, mid) => this.#guard(() => sendSignal({ candidate, mid })));
  }

  #take(signal: Signal): void {
    const connection = this.#connection;
    if ('candidate' in signal) {
      if (this.#described) connection.addRemoteCandidate(signal.candidate, signal.mid);
      else this.#early.push(signal);
      return;
    }
    connection.setRemoteDescription(signal.sdp.replace('a=setup:actpass', 'a=setup:active'), signal.type);
    this.#described = true;
    for (const { candidate, mid } of this.#early.splice(0)) connection.addRemoteCandidate(candidate, mid);
    if (signal.type === 'offer') connection.setLocalDescription('answer');
  }

  #complain(message: string): void {
    console.error(message);
    this.#complaint ||= `: ${message.replace(/^.*@\d+: /, '')}`;
  }

  #over(state: string): void {
    const reason = state + this.#complaint;
    this.#opened.reject(new Error(reason));
    this.end(reason);
    this.#gate.fail(reason);
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      console.error(error); // the library refused a call after its end, or a handler failed; the session's end tells more
    }
  }
}

/** UDP only: libjuice has no TURN over TCP. */
function nativeServers({ services: { turn } }: PeerContext): IceServer[] {
  if (!turn) return [];
  const at = { hostname: turn.host, port: turn.udp };
  return [at, { ...at, username: turn.username, password: turn.credential, relayType: 'TurnUdp' }];
}
