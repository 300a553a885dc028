/**
 * The four-way handshake (RFC 9260 §5), also when both ends start it at once, as
 * WebRTC does, and when a peer that lost its state starts it anew; and the way
 * round it, when both INITs came with the session descriptions (SNAP).
 */

import { readU32 } from './byte-order.ts';
import { encodeChunk, encodeParameter } from './chunk-codec.ts';
import { ChunkType, ErrorCause, ParameterType } from './chunk-types.ts';
import { decodeInit, encodeInit, type InitOffer, type InitParameters } from './init-chunk.ts';
import { openCookie, sealCookie } from './state-cookie.ts';

export interface HandshakeHost {
  /** Sends a packet with this chunk alone. */
  sendAlone(chunk: Buffer, verificationTag: number): void;
  /** Adds a chunk to the next packet. */
  sendNext(chunk: Buffer): void;
  /** Both ends know each other's parameters. `isRestart`: the peer lost the association that was. */
  established(peer: InitParameters, isRestart: boolean, nowMs: number): void;
  failed(message: string): void;
}

type HandshakeState = 'idle' | 'cookieWait' | 'cookieEchoed' | 'established';

const NEVER = Number.POSITIVE_INFINITY;
const COOKIE_LIFETIME_MS = 60_000;
const MAX_ATTEMPTS = 18;

export class Handshake {
  state: HandshakeState = 'idle';
  /** Our tag, TSN and offer; new ones after a restart. */
  local: InitOffer;
  peerTag = 0;
  timeoutAtMs = NEVER;
  /** Round trip of INIT and INIT ACK, when it was measured. */
  rttMs = 0;
  readonly #host: HandshakeHost;
  readonly #cookieKey: Buffer;
  readonly #freshOffer: () => InitOffer;
  readonly #maxRtoMs: number;
  readonly #initialRtoMs: number;
  #rtoMs: number;
  #attempts = 0;
  #initSentMs = 0;
  #peer: InitParameters | undefined;
  #cookieEcho: Buffer | undefined;

  constructor(
    host: HandshakeHost,
    local: InitOffer,
    freshOffer: () => InitOffer,
    cookieKey: Buffer,
    initialRtoMs: number,
    maxRtoMs: number,
  ) {
    this.#host = host;
    this.local = local;
    this.#freshOffer = freshOffer;
    this.#cookieKey = cookieKey;
    this.#initialRtoMs = initialRtoMs;
    this.#rtoMs = initialRtoMs;
    this.#maxRtoMs = maxRtoMs;
  }

  start(nowMs: number): void {
    this.state = 'cookieWait';
    this.#sendInit(nowMs);
  }

  /** Both INITs are known already. */
  startEstablished(peer: InitParameters, nowMs: number): void {
    this.#finish(peer, false, nowMs);
  }

  stop(): void {
    this.timeoutAtMs = NEVER;
    this.#cookieEcho = undefined;
  }

  /** COOKIE ECHO goes first in every packet until it is acknowledged or times out. */
  onTimeout(nowMs: number): void {
    if (++this.#attempts >= MAX_ATTEMPTS) {
      this.timeoutAtMs = NEVER;
      this.#host.failed('no answer to the handshake');
      return;
    }
    this.#rtoMs = Math.min(this.#rtoMs * 2, this.#maxRtoMs);
    if (this.state === 'cookieWait') this.#sendInit(nowMs);
    else this.#sendCookie(nowMs);
  }

  onInit(body: Buffer, nowMs: number): void {
    const peer = decodeInit(body);
    if (!peer) {
      const peerTag = body.length >= 4 ? readU32(body, 0) : 0;
      if (peerTag !== 0) this.#host.sendAlone(abortFor('INIT with wrong parameters'), peerTag);
      return;
    }
    // An association that exists must not be harmed by an INIT: the answer carries other numbers (§5.2.2).
    const isEstablished = this.state === 'established';
    const local = isEstablished ? this.#freshOffer() : this.local;
    const cookie = sealCookie(this.#cookieKey, {
      createdMs: nowMs,
      localTag: local.tag,
      peerTag: peer.tag,
      localTsn: local.initialTsn,
      localTieTag: isEstablished ? this.local.tag : 0,
      peerTieTag: isEstablished ? this.peerTag : 0,
      peerInit: body,
    });
    const extra = [encodeParameter(ParameterType.stateCookie, cookie)];
    if (peer.unrecognized.length > 0) {
      extra.push(...peer.unrecognized.map((parameter) => encodeParameter(ParameterType.unrecognized, parameter)));
    }
    this.#host.sendAlone(encodeInit(ChunkType.initAck, local, ...extra), peer.tag);
  }

  onInitAck(body: Buffer, nowMs: number): void {
    if (this.state !== 'cookieWait') return;
    const peer = decodeInit(body);
    if (!peer?.cookie) {
      this.#host.failed('the INIT ACK is malformed or has no cookie');
      return;
    }
    if (this.#attempts === 0) this.rttMs = nowMs - this.#initSentMs;
    this.#peer = peer;
    this.peerTag = peer.tag;
    this.state = 'cookieEchoed';
    this.#attempts = 0;
    this.#rtoMs = this.#initialRtoMs;
    this.#cookieEcho = encodeChunk(ChunkType.cookieEcho, 0, peer.cookie);
    this.#sendCookie(nowMs);
  }

  /** False: the packet's other chunks must not be read. */
  onCookieEcho(body: Buffer, verificationTag: number, nowMs: number): boolean {
    const cookie = openCookie(this.#cookieKey, body);
    const peer = cookie && decodeInit(cookie.peerInit);
    if (!cookie || !peer || verificationTag !== cookie.localTag) return false;
    const isOurs = cookie.localTag === this.local.tag;
    if (this.state === 'established' && isOurs && cookie.peerTag === this.peerTag) {
      // Our COOKIE ACK was lost (table 12, action D).
      this.#host.sendNext(encodeChunk(ChunkType.cookieAck, 0));
      return true;
    }
    if (nowMs - cookie.createdMs > COOKIE_LIFETIME_MS) {
      const cause = encodeParameter(ErrorCause.staleCookie, Buffer.alloc(4));
      this.#host.sendAlone(encodeChunk(ChunkType.error, 0, cause), peer.tag);
      return false;
    }
    if (this.state === 'established') {
      const isRestart = !isOurs && cookie.localTieTag === this.local.tag && cookie.peerTieTag === this.peerTag;
      // Actions B and C of an association that stands: old duplicates.
      if (!isRestart) return false;
      this.local = { ...this.local, tag: cookie.localTag, initialTsn: cookie.localTsn };
      this.#finish(peer, true, nowMs);
    } else {
      if (!isOurs) return false;
      this.#finish(peer, false, nowMs);
    }
    this.#host.sendNext(encodeChunk(ChunkType.cookieAck, 0));
    return true;
  }

  onCookieAck(nowMs: number): void {
    if (this.state === 'cookieEchoed' && this.#peer) this.#finish(this.#peer, false, nowMs);
  }

  /** The peer found our cookie too old: begin again (§5.2.6). */
  onStaleCookie(nowMs: number): void {
    if (this.state !== 'cookieEchoed') return;
    this.state = 'cookieWait';
    this.#sendInit(nowMs);
  }

  #finish(peer: InitParameters, isRestart: boolean, nowMs: number): void {
    this.state = 'established';
    this.peerTag = peer.tag;
    this.#peer = undefined;
    this.stop();
    this.#host.established(peer, isRestart, nowMs);
  }

  #sendInit(nowMs: number): void {
    this.#initSentMs = nowMs;
    this.timeoutAtMs = nowMs + this.#rtoMs;
    this.#host.sendAlone(encodeInit(ChunkType.init, this.local), 0);
  }

  #sendCookie(nowMs: number): void {
    this.timeoutAtMs = nowMs + this.#rtoMs;
    if (this.#cookieEcho) this.#host.sendAlone(this.#cookieEcho, this.peerTag);
  }
}

/** An ABORT chunk for a breach of the protocol. */
export function abortFor(reason: string, cause: number = ErrorCause.protocolViolation): Buffer {
  return encodeChunk(ChunkType.abort, 0, encodeParameter(cause, Buffer.from(reason)));
}
