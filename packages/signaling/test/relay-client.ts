/** A bare client of the relay protocol, for tests that misbehave on purpose. */

import { until } from '@claw/testkit';
import { WebSocket } from 'ws';
import type { Relay } from '../src/index.ts';
import {
  decodeRelayFrame,
  encodeFrame,
  loginMessage,
  RELAY_SUBPROTOCOL,
  type RelayFrame,
} from '../src/relay/relay-protocol.ts';
import type { TestNode } from './support.ts';

export interface RelayClientOptions {
  readonly protocol?: string;
  readonly headers?: Record<string, string>;
  /** Answer pings. Default true. */
  readonly autoPong?: boolean;
  /** Address to dial from. Default: the system's choice. */
  readonly localAddress?: string;
}

export class RelayClient {
  readonly socket: WebSocket;
  readonly frames: RelayFrame[] = [];
  closeCode: number | undefined;
  error: Error | undefined;

  constructor(url: string, options: RelayClientOptions = {}) {
    const { protocol = RELAY_SUBPROTOCOL, headers = {}, autoPong = true, localAddress } = options;
    this.socket = new WebSocket(url, protocol, {
      headers,
      autoPong,
      perMessageDeflate: false,
      ...(localAddress === undefined ? {} : { localAddress }),
    });
    this.socket.on('message', (data) => this.frames.push(decodeRelayFrame(data as Buffer)));
    this.socket.on('error', (error) => {
      this.error = error;
    });
    this.socket.on('close', (code) => {
      this.closeCode = code;
    });
  }

  /** Resolves with the first frame of that type, taking it out of {@link frames}. */
  async next<Type extends RelayFrame['type']>(type: Type): Promise<Extract<RelayFrame, { type: Type }>> {
    await until(() => this.closed || this.frames.some((frame) => frame.type === type), `a frame ${type}`);
    const at = this.frames.findIndex((frame) => frame.type === type);
    if (at < 0) throw new Error(`the connection ended (${this.closeCode}) before a frame ${type}`);
    return this.frames.splice(at, 1)[0] as Extract<RelayFrame, { type: Type }>;
  }

  async logIn(node: TestNode, host = new URL(this.socket.url).host): Promise<this> {
    const { challenge } = await this.next('challenge');
    const signature = await node.keyHolder.sign('relay-login', loginMessage(challenge, host));
    this.socket.send(encodeFrame({ type: 'login', publicKey: node.publicKey, signature: Buffer.from(signature) }));
    await this.next('ready');
    return this;
  }

  send(to: TestNode, envelope: Uint8Array): void {
    this.socket.send(encodeFrame({ type: 'send', to: to.publicKey, envelope: Buffer.from(envelope) }));
  }

  get closed(): boolean {
    return this.socket.readyState === WebSocket.CLOSED;
  }

  async untilClosed(): Promise<number> {
    await until(() => this.closed, 'the connection to close');
    return this.closeCode ?? 0;
  }
}

/** Waits until the relay has dealt with all that `client` sent before. */
export async function settle(relay: Relay, client: RelayClient): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  client.socket.once('pong', () => resolve());
  client.socket.ping();
  await promise;
  await until(() => relay.stats().bufferedBytes === 0, 'the relay to write all it holds');
}
