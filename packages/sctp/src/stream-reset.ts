/**
 * Stream reset (RFC 6525): one outgoing request at a time, for all streams that
 * ended meanwhile, repeated until answered; the peer's requests are carried out
 * once every TSN they cover has arrived, and answered the same when they repeat.
 */

import { readU16, readU32, writeU16, writeU32 } from './byte-order.ts';
import { decodeParameters, encodeChunk, encodeParameter, encodeU32s } from './chunk-codec.ts';
import { ChunkType, ParameterType } from './chunk-types.ts';

export interface StreamResetHost {
  sendNext(chunk: Buffer): void;
  lastSentTsn(): number;
  hasAllThrough(tsn: number): boolean;
  /** The peer has ended these streams of its own; none named means all. */
  peerReset(streamIds: readonly number[]): void;
  /** The peer asks us to end these streams of ours. */
  resetAsked(streamIds: readonly number[]): void;
  /** Our request was answered. */
  resetDone(streamIds: readonly number[], isAccepted: boolean): void;
}

const Result = { nothingToDo: 0, performed: 1, denied: 2, badSequence: 5, inProgress: 6 } as const;
const NEVER = Number.POSITIVE_INFINITY;
const MAX_TIMEOUT_MS = 10_000;
/** What usrsctp takes: it reads 512 bytes of a parameter. */
const MAX_STREAMS_A_REQUEST = 200;

const NO_CHUNK = Buffer.alloc(0);

interface Request {
  readonly streamIds: readonly number[];
  /** The numbers that it went by. */
  readonly sequences: number[];
  readonly lastTsn: number;
  chunk: Buffer;
  /** The peer has answered that it is in progress. */
  isPostponed: boolean;
}

interface PeerRequest {
  readonly sequence: number;
  readonly streamIds: readonly number[];
  readonly lastTsn: number;
}

export class StreamReset {
  timeoutAtMs = NEVER;
  /** Repetitions of the request that waits for its answer. */
  timeouts = 0;
  readonly #host: StreamResetHost;
  readonly #ending = new Set<number>();
  #nextSequence: number;
  /** The number of the last request that the peer has done with. */
  #answeredSequence: number;
  #request: Request | undefined;
  #peerSequence: number;
  #lastResult: number = Result.nothingToDo;
  #deferred: PeerRequest | undefined;
  /** The last one that was performed, if it had been deferred. */
  #postponed: PeerRequest | undefined;

  /** The request numbers of each side start at its initial TSN. */
  constructor(host: StreamResetHost, localTsn: number, peerTsn: number) {
    this.#host = host;
    this.#nextSequence = localTsn;
    this.#answeredSequence = (localTsn - 1) >>> 0;
    this.#peerSequence = peerTsn;
  }

  /** All messages of this stream have been sent: end it. */
  add(streamId: number): void {
    this.#ending.add(streamId);
  }

  get isIdle(): boolean {
    return !this.#request && this.#ending.size === 0;
  }

  /** Sends the next request if none is out. */
  pump(rtoMs: number, nowMs: number): void {
    if (this.#request || this.#ending.size === 0) return;
    const streamIds = [...this.#ending].slice(0, MAX_STREAMS_A_REQUEST);
    for (const id of streamIds) this.#ending.delete(id);
    this.#request = {
      streamIds,
      sequences: [],
      lastTsn: this.#host.lastSentTsn(),
      chunk: NO_CHUNK,
      isPostponed: false,
    };
    this.#number(this.#request);
    this.timeouts = 0;
    this.#transmit(rtoMs, nowMs);
  }

  onTimeout(rtoMs: number, nowMs: number): void {
    this.timeouts++;
    // Under its old number libwebrtc of before 2026 would answer that there is nothing to do, and do nothing.
    if (this.#request?.isPostponed) this.#number(this.#request);
    this.#transmit(Math.min(rtoMs * 2 ** this.timeouts, MAX_TIMEOUT_MS), nowMs);
  }

  /** The path works again after timeouts: the next repetition is due. */
  onPathAnswers(nowMs: number): void {
    if (this.timeouts === 0 || !this.#request) return;
    this.timeouts--; // the one that is due now
    this.timeoutAtMs = nowMs;
  }

  /** Reads a RE-CONFIG chunk; false: malformed. */
  onReconfig(body: Buffer, rtoMs: number, nowMs: number): boolean {
    const parameters = decodeParameters(body);
    if (!parameters || parameters.length > 2) return false;
    for (const { type, value } of parameters) {
      if (type === ParameterType.reconfigResponse) {
        if (value.length < 8) return false;
        this.#onResponse(readU32(value, 0), readU32(value, 4), rtoMs, nowMs);
      } else {
        if (value.length < 4) return false;
        if (!this.#onRequest(type, value)) return false;
      }
    }
    return true;
  }

  /** More has arrived: a request that had to wait may be due. */
  onProgress(): void {
    const request = this.#deferred;
    if (request && this.#host.hasAllThrough(request.lastTsn)) this.#perform(request);
  }

  /** Gives the request the next number. */
  #number(request: Request): void {
    const { streamIds, sequences, lastTsn } = request;
    const value = Buffer.alloc(12 + 2 * streamIds.length);
    writeU32(value, 0, this.#nextSequence);
    writeU32(value, 4, (this.#peerSequence - 1) >>> 0);
    writeU32(value, 8, lastTsn);
    streamIds.forEach((id, at) => writeU16(value, 12 + 2 * at, id));
    request.chunk = encodeChunk(ChunkType.reconfig, 0, encodeParameter(ParameterType.outgoingReset, value));
    request.isPostponed = false;
    sequences.push(this.#nextSequence);
    this.#nextSequence = (this.#nextSequence + 1) >>> 0;
  }

  #transmit(timeoutMs: number, nowMs: number): void {
    if (!this.#request) return;
    this.timeoutAtMs = nowMs + timeoutMs;
    this.#host.sendNext(this.#request.chunk);
  }

  #onResponse(sequence: number, result: number, rtoMs: number, nowMs: number): void {
    const request = this.#request;
    if (!request?.sequences.includes(sequence)) return;
    if (result === Result.inProgress) {
      if (sequence !== request.sequences.at(-1)) return;
      request.isPostponed = true;
      this.timeouts = 0;
      this.timeoutAtMs = nowMs + rtoMs;
      return;
    }
    const expected = (this.#answeredSequence + 1) >>> 0;
    if (result === Result.badSequence && sequence !== expected) {
      // A request that was numbered anew was answered by its old number, and the new one never arrived.
      if (sequence !== request.sequences.at(-1)) return;
      this.#nextSequence = expected;
      this.#number(request);
      return this.#transmit(rtoMs, nowMs);
    }
    this.#answeredSequence = sequence;
    this.#request = undefined;
    this.timeoutAtMs = NEVER;
    this.#host.resetDone(request.streamIds, result === Result.performed || result === Result.nothingToDo);
  }

  #onRequest(type: number, value: Buffer): boolean {
    const sequence = readU32(value, 0);
    if (sequence === (this.#peerSequence - 1) >>> 0) {
      this.#respond(sequence, this.#lastResult);
      return true;
    }
    // Older libwebrtc numbers a request anew that it was told is in progress.
    if (this.#deferred && sequence === (this.#peerSequence + 1) >>> 0) this.#peerSequence = sequence;
    if (sequence !== this.#peerSequence) {
      this.#respond(sequence, Result.badSequence);
      return true;
    }
    if (type === ParameterType.outgoingReset) {
      if (value.length < 12 || value.length % 2 !== 0) return false;
      const request = { sequence, streamIds: readStreamIds(value, 12), lastTsn: readU32(value, 8) };
      if (this.#host.hasAllThrough(request.lastTsn)) this.#perform(request);
      else {
        this.#deferred = request;
        this.#respond(sequence, Result.inProgress);
      }
      return true;
    }
    this.#peerSequence = (sequence + 1) >>> 0;
    this.#lastResult = type === ParameterType.incomingReset ? Result.performed : Result.denied;
    if (type === ParameterType.incomingReset) this.#host.resetAsked(readStreamIds(value, 4));
    this.#respond(sequence, this.#lastResult);
    return true;
  }

  #perform(request: PeerRequest): void {
    // One that was done while it was on its way anew must not hit the next user of the stream.
    const former = this.#postponed;
    const isDone =
      former?.lastTsn === request.lastTsn && former.streamIds.join() === request.streamIds.join() && !this.#deferred;
    this.#postponed = this.#deferred;
    this.#deferred = undefined;
    this.#peerSequence = (request.sequence + 1) >>> 0;
    this.#lastResult = Result.performed;
    if (!isDone) this.#host.peerReset(request.streamIds);
    this.#respond(request.sequence, Result.performed);
  }

  #respond(sequence: number, result: number): void {
    const parameter = encodeParameter(ParameterType.reconfigResponse, encodeU32s(sequence, result));
    this.#host.sendNext(encodeChunk(ChunkType.reconfig, 0, parameter));
  }
}

function readStreamIds(value: Buffer, from: number): number[] {
  const streamIds: number[] = [];
  for (let at = from; at + 2 <= value.length; at += 2) streamIds.push(readU16(value, at));
  return streamIds;
}
