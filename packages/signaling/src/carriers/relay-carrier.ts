/**
 * Envelopes through a relay, over one WebSocket that this node dials. The
 * connection comes and goes: it is dialled again with growing, jittered delays,
 * and what was sent meanwhile waits a while for it.
 */

import {
  Backoff,
  type Clock,
  errorText,
  isClawError,
  type Logger,
  type Random,
  silentLogger,
  systemClock,
  systemRandom,
  TaskScope,
  type Timer,
  withDeadline,
} from '@claw/base';
import {
  type Carrier,
  type CarrierStatus,
  type EnvelopeHandler,
  type KeyHolder,
  type NodeId,
  publicKeyOf,
} from '@claw/contracts';
import { type RawData, WebSocket } from 'ws';
import { DEFAULT_RELAY_LIMITS } from '../relay/relay-limits.ts';
import { decodeRelayFrame, encodeFrame, encodeSend, loginMessage, RELAY_SUBPROTOCOL } from '../relay/relay-protocol.ts';
import { CarrierCounters, type CountedCarrierStatus } from './carrier-counters.ts';
import { parseRelayUrl } from './relay-url.ts';

const FIRST_RECONNECT_MS = 250;
const MAX_RECONNECT_MS = 15_000;
/** A connection that lasted this long was a good one: the next delay is the first again. */
const STABLE_MS = 5000;
/** From dialling to READY. */
const LOGIN_DEADLINE_MS = 10_000;
/** Silence after which we ping; as much silence again, and the connection is dead. */
const KEEP_ALIVE_MS = 25_000;
const MAX_WAITING = 64;
const MAX_WAITING_MS = 20_000;
/** Above this many bytes on their way out we drop: the relay does not read any more. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
const CLOSE_DEADLINE_MS = 1000;

export interface RelayCarrierOptions {
  /** `wss://relay.example.org`, or `ws://` where TLS is not needed: envelopes are sealed either way. */
  readonly url: string;
  readonly keyHolder: KeyHolder;
  readonly onEnvelope: EnvelopeHandler;
  /** Default `relay:` and the host. */
  readonly name?: string;
  /** Trust this certificate authority (PEM) instead of the system's. */
  readonly caPem?: string;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly logger?: Logger;
}

export interface RelayCarrier extends Carrier {
  status(): CountedCarrierStatus;
}

/**
 * Returns at once, in state `connecting`. The caller closes it.
 * @throws ClawError `RELAY_URL_INVALID`.
 */
export function openRelayCarrier(options: RelayCarrierOptions): RelayCarrier {
  return new WebSocketCarrier(options, parseRelayUrl(options.url));
}

interface Waiting {
  readonly frame: Buffer;
  readonly envelopeBytes: number;
  readonly sinceMs: number;
}

class WebSocketCarrier implements RelayCarrier {
  readonly name: string;
  readonly maxEnvelopeBytes = DEFAULT_RELAY_LIMITS.maxEnvelopeBytes;
  readonly #options: RelayCarrierOptions;
  readonly #url: URL;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #scope: TaskScope;
  readonly #counters = new CarrierCounters();
  #state: CarrierStatus['state'] = 'connecting';
  #detail = 'dialling';
  #socket: WebSocket | undefined;
  #timer: Timer | undefined;
  #waiting: Waiting[] = [];
  #absent = 0;
  #upSinceMs = 0;
  #heardMs = 0;
  #replaced = false;
  #closing: Promise<void> | undefined;

  constructor(options: RelayCarrierOptions, url: URL) {
    this.name = options.name ?? `relay:${url.host}`;
    this.#options = options;
    this.#url = url;
    this.#clock = options.clock ?? systemClock;
    this.#log = (options.logger ?? silentLogger).with({ carrier: this.name });
    const random = options.random ?? systemRandom;
    this.#backoff = new Backoff(random, { firstMs: FIRST_RECONNECT_MS, maxMs: MAX_RECONNECT_MS });
    this.#scope = new TaskScope({
      clock: this.#clock,
      onError: (error) => this.#log.error('login failed', { error: errorText(error) }),
    });
    this.#dial();
  }

  status(): CountedCarrierStatus {
    const absent = this.#absent > 0 ? `; ${this.#absent} envelopes found nobody there` : '';
    return this.#counters.status(this.name, this.#state, this.#detail + absent);
  }

  send(to: NodeId, envelope: Uint8Array): void {
    if (this.#closing || envelope.length > this.maxEnvelopeBytes || envelope.length === 0) {
      return this.#counters.dropped();
    }
    const waiting = { frame: encodeSend(publicKeyOf(to), envelope), envelopeBytes: envelope.length };
    if (this.#state === 'up') return this.#transmit(waiting);
    this.#waiting.push({ ...waiting, sinceMs: this.#clock.monotonicMs() });
    if (this.#waiting.length > MAX_WAITING) {
      this.#waiting.shift();
      this.#counters.dropped();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#timer?.cancel();
    this.#counters.dropped(this.#waiting.length);
    this.#waiting = [];
    this.#settle('down', 'closed');
    await this.#scope.close();
    if (!socket || socket.readyState === WebSocket.CLOSED) return;
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    if (socket.readyState === WebSocket.OPEN) socket.close(1000);
    else socket.terminate();
    // What was sent before leaves first, but a relay that is gone is not waited for.
    await withDeadline(this.#clock, closed, CLOSE_DEADLINE_MS, () => new Error('deadline')).catch(() => {
      socket.terminate();
      return closed;
    });
  }

  #dial(): void {
    const { caPem } = this.#options;
    const socket = new WebSocket(this.#url, RELAY_SUBPROTOCOL, {
      perMessageDeflate: false,
      followRedirects: false,
      maxPayload: 1 + this.maxEnvelopeBytes,
      ...(caPem === undefined ? {} : { ca: caPem }),
    });
    this.#socket = socket;
    this.#heardMs = this.#clock.monotonicMs();
    let fault = 'the connection ended';
    socket.on('error', (error) => {
      fault = errorText(error) || fault;
    });
    socket.on('message', (data, isBinary) => this.#onMessage(socket, data, isBinary));
    for (const event of ['ping', 'pong'] as const) {
      socket.on(event, () => {
        this.#heardMs = this.#clock.monotonicMs();
      });
    }
    socket.on('close', (_code, reason) => this.#onLost(socket, reason.toString() || fault));
    this.#timer = this.#clock.setTimer(LOGIN_DEADLINE_MS, () => {
      fault = 'the relay does not answer';
      socket.terminate();
    });
  }

  #onMessage(socket: WebSocket, data: RawData, isBinary: boolean): void {
    if (socket !== this.#socket) return;
    this.#heardMs = this.#clock.monotonicMs();
    try {
      this.#onFrame(socket, isBinary ? (data as Buffer) : Buffer.alloc(0));
    } catch (error) {
      if (!isClawError(error, 'RELAY_FRAME_MALFORMED')) throw error;
      this.#log.warn('the relay sent a frame that is none', { error: error.message });
      socket.terminate();
    }
  }

  #onFrame(socket: WebSocket, bytes: Buffer): void {
    const frame = decodeRelayFrame(bytes);
    switch (frame.type) {
      case 'deliver':
        this.#counters.received(frame.envelope.length);
        return this.#options.onEnvelope(frame.envelope);
      case 'absent':
        this.#absent += 1;
        return;
      case 'error':
        if (frame.code === 'replaced') this.#replaced = true;
        return this.#log.warn('the relay reports an error', { code: frame.code });
      case 'challenge':
        return this.#scope.run('login', () => this.#logIn(socket, frame.challenge));
      case 'ready':
        return this.#onReady(socket);
    }
  }

  async #logIn(socket: WebSocket, challenge: Buffer): Promise<void> {
    const { keyHolder } = this.#options;
    const signature = await keyHolder.sign('relay-login', loginMessage(challenge, this.#url.host));
    if (socket !== this.#socket || socket.readyState !== WebSocket.OPEN) return;
    const publicKey = publicKeyOf(keyHolder.nodeId);
    socket.send(encodeFrame({ type: 'login', publicKey, signature: Buffer.from(signature) }));
  }

  #onReady(socket: WebSocket): void {
    if (this.#state === 'up') return;
    this.#upSinceMs = this.#clock.monotonicMs();
    this.#replaced = false;
    this.#settle('up', this.#url.host);
    this.#watch(socket);
    const oldestMs = this.#upSinceMs - MAX_WAITING_MS;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const item of waiting) {
      if (item.sinceMs >= oldestMs) this.#transmit(item);
      else this.#counters.dropped();
    }
  }

  #transmit(item: Omit<Waiting, 'sinceMs'>): void {
    const socket = this.#socket;
    if (!socket || socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      return this.#counters.dropped();
    }
    // A failed send shows as the connection's end.
    socket.send(item.frame, () => {});
    this.#counters.sent(item.envelopeBytes);
  }

  /** One timer while all is well: the relay's pings are signs of life too. */
  #watch(socket: WebSocket): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(KEEP_ALIVE_MS, () => {
      const silenceMs = this.#clock.monotonicMs() - this.#heardMs;
      if (silenceMs >= 2 * KEEP_ALIVE_MS) return socket.terminate();
      if (silenceMs >= KEEP_ALIVE_MS) socket.ping(undefined, undefined, () => {});
      this.#watch(socket);
    });
  }

  #onLost(socket: WebSocket, reason: string): void {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    this.#timer?.cancel();
    const lastedMs = this.#clock.monotonicMs() - this.#upSinceMs;
    if (this.#state === 'up' && lastedMs >= STABLE_MS && !this.#replaced) this.#backoff.reset();
    // Another process logs in as this node: come back slowly, or the two throw each other out for ever.
    const delayMs = this.#replaced ? MAX_RECONNECT_MS : this.#backoff.nextDelayMs();
    this.#settle('connecting', reason);
    this.#timer = this.#clock.setTimer(delayMs, () => this.#dial());
  }

  #settle(state: CarrierStatus['state'], detail: string): void {
    if (state !== this.#state) this.#log.info('relay carrier', { state, detail });
    this.#state = state;
    this.#detail = detail;
  }
}
