/**
 * One WebSocket at a relay: challenged, then logged in as a node, then closed.
 * It may hold up to `maxBufferedBytesPerNode` for a reader that does not read, and
 * stops reading from a sender that is over its rate until the rate allows more.
 */

import { equalBytes, errorText, isClawError, type Timer } from '@claw/base';
import type { RawData, WebSocket } from 'ws';
import { TokenBucket } from '../token-bucket.ts';
import type { RelayAddress } from './relay-addresses.ts';
import type { RelayHub } from './relay-hub.ts';
import {
  CHALLENGE_BYTES,
  type ClientFrame,
  decodeClientFrame,
  encodeFrame,
  loginMessage,
  type RelayErrorCode,
} from './relay-protocol.ts';

/** What a waiting frame costs besides its bytes. */
const FRAME_OVERHEAD_BYTES = 256;
/** Shortest pause of reading: long enough that what comes next finds some of its rate there. */
const MIN_PAUSE_MS = 250;
/** How long a peer has to answer our closing before the socket is destroyed. */
const CLOSE_GRACE_MS = 1000;
const CLOSE = { protocol: 1002, policy: 1008 } as const;

export class RelaySession {
  readonly #hub: RelayHub;
  readonly #socket: WebSocket;
  readonly #address: RelayAddress;
  readonly #host: string;
  readonly #challenge: Buffer;
  readonly #onLogin: () => void;
  #envelopes: TokenBucket;
  #bytes: TokenBucket;
  #nodeKey: string | undefined;
  #bufferedBytes = 0;
  /** Awaited answer to the last ping. */
  #ping: Buffer | undefined;
  #resumeTimer: Timer | undefined;
  #graceTimer: Timer | undefined;
  /** Nothing goes in or out any more, but the socket may still be there. */
  #ended = false;
  #closed = false;

  /** `host` is what the client dialled, by its Host header; `onLogin` ends the handshake deadline. */
  constructor(hub: RelayHub, socket: WebSocket, address: RelayAddress, host: string, onLogin: () => void) {
    this.#hub = hub;
    this.#socket = socket;
    this.#address = address;
    this.#host = host;
    this.#onLogin = onLogin;
    const nowMs = hub.clock.monotonicMs();
    this.#envelopes = new TokenBucket({ perSecond: hub.limits.envelopesPerSecondPerNode }, nowMs);
    this.#bytes = new TokenBucket({ perSecond: hub.limits.bytesPerSecondPerNode }, nowMs);
    this.#challenge = hub.random.bytes(CHALLENGE_BYTES);
    socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    socket.on('ping', () => this.#charge(0));
    socket.on('pong', (data) => this.#onPong(data));
    socket.on('close', () => this.#onClose());
    socket.on('error', (error) => hub.log.debug('relay connection failed', { error: errorText(error) }));
    this.#write(encodeFrame({ type: 'challenge', challenge: this.#challenge }));
  }

  /** The node that is logged in here: its public key, as the hub's map key. */
  get nodeKey(): string | undefined {
    return this.#nodeKey;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** Hands an envelope to this reader; false when it or the relay has no room. */
  deliver(envelope: Buffer): boolean {
    return this.#write(encodeFrame({ type: 'deliver', envelope }));
  }

  /** Says why, and closes; destroys the socket when the peer has not answered after a second. */
  end(code: RelayErrorCode, closeCode: number = CLOSE.policy): void {
    if (this.#ended) return;
    this.#write(encodeFrame({ type: 'error', code }));
    this.#ended = true;
    this.#hub.unregister(this);
    this.#socket.close(closeCode, code);
    this.#graceTimer = this.#hub.clock.setTimer(CLOSE_GRACE_MS, () => this.#socket.terminate());
  }

  /** Ends without a word; what it held is free at once. */
  terminate(): void {
    this.#socket.terminate();
    this.#onClose();
  }

  /** Called every `keepAliveMs`: asks for a sign of life, and ends who gave none since the last time. */
  checkAlive(): void {
    // While we do not read from it, it cannot be heard.
    if (this.#resumeTimer) return;
    if (this.#ping) {
      this.#hub.stats.deadPeers += 1;
      this.terminate();
      return;
    }
    this.#ping = this.#hub.random.bytes(4);
    this.#socket.ping(this.#ping, undefined, () => {});
  }

  #onPong(data: Buffer): void {
    // Only the answer to our ping counts: one that never reads could send pongs of its own for ever.
    if (this.#ping && equalBytes(this.#ping, data)) this.#ping = undefined;
    else this.#charge(0);
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#ended) return;
    const bytes = data as Buffer;
    if (!this.#charge(bytes.length)) return;
    let frame: ClientFrame;
    try {
      if (!isBinary) return this.#refuse('malformed');
      frame = decodeClientFrame(bytes);
    } catch (error) {
      if (!isClawError(error)) throw error;
      return this.#refuse('malformed');
    }
    if (frame.type === 'login') this.#logIn(frame.publicKey, frame.signature);
    else if (this.#nodeKey === undefined) this.#refuse('login-refused');
    else this.#hub.forward(this, frame.to, frame.envelope);
  }

  /** Tells the sender that nobody of that id is here. */
  reportAbsent(to: Buffer): void {
    this.#write(encodeFrame({ type: 'absent', to }));
  }

  #logIn(publicKey: Buffer, signature: Buffer): void {
    const message = loginMessage(this.#challenge, this.#host);
    // One login a connection: a second one would only be a way to spend our time.
    if (this.#nodeKey !== undefined || !this.#hub.verifyLogin(publicKey, message, signature)) {
      this.#hub.stats.loginsRefused += 1;
      return this.#refuse('login-refused');
    }
    this.#nodeKey = publicKey.toString('latin1');
    this.#onLogin();
    this.#hub.register(this.#nodeKey, this);
    this.#write(encodeFrame({ type: 'ready' }));
  }

  #refuse(code: RelayErrorCode): void {
    if (code === 'malformed') this.#hub.stats.malformed += 1;
    this.end(code, code === 'malformed' ? CLOSE.protocol : CLOSE.policy);
  }

  /** Takes a message from the sender's rates. False when it is over one: then the message is dropped. */
  #charge(bytes: number): boolean {
    const nowMs = this.#hub.clock.monotonicMs();
    const taken: [TokenBucket, number][] = [];
    const costs: [TokenBucket, number][] = [
      [this.#envelopes, 1],
      [this.#address.envelopes, 1],
      [this.#bytes, bytes],
      [this.#address.bytes, bytes],
    ];
    for (const [bucket, cost] of costs) {
      if (bucket.take(cost, nowMs)) {
        taken.push([bucket, cost]);
        continue;
      }
      for (const [other, count] of taken) other.giveBack(count);
      this.#hub.stats.droppedByRate += 1;
      this.#pause(bucket.waitMs(cost, nowMs));
      return false;
    }
    return true;
  }

  /** Stops reading, so that the sender's own system holds back what comes next. */
  #pause(waitMs: number): void {
    if (this.#resumeTimer || this.#ended) return;
    this.#write(encodeFrame({ type: 'error', code: 'rate-limited' }));
    this.#socket.pause();
    this.#resumeTimer = this.#hub.clock.setTimer(Math.max(waitMs, MIN_PAUSE_MS), () => {
      this.#resumeTimer = undefined;
      this.#socket.resume();
    });
  }

  #write(frame: Buffer): boolean {
    if (this.#ended) return false;
    const cost = frame.length + FRAME_OVERHEAD_BYTES;
    if (this.#bufferedBytes + cost > this.#hub.limits.maxBufferedBytesPerNode) return false;
    if (!this.#hub.takeRoom(cost)) return false;
    // Making room can have been the end of this very session.
    if (this.#closed) {
      this.#hub.giveRoom(cost);
      return false;
    }
    this.#bufferedBytes += cost;
    this.#socket.send(frame, () => {
      // After the close the whole account has been settled.
      if (this.#closed) return;
      this.#bufferedBytes -= cost;
      this.#hub.giveRoom(cost);
    });
    return true;
  }

  #onClose(): void {
    this.#ended = true;
    this.#closed = true;
    this.#resumeTimer?.cancel();
    this.#graceTimer?.cancel();
    this.#hub.giveRoom(this.#bufferedBytes);
    this.#bufferedBytes = 0;
    this.#hub.unregister(this);
  }
}
