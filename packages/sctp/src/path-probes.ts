/** What asks after the path: heartbeats on an idle one (RFC 9260 §8.3) and probes of its MTU (RFC 8899). */

import type { Random } from '@claw/base';
import { encodeChunk } from './chunk-codec.ts';
import { ChunkType, COMMON_HEADER_BYTES } from './chunk-types.ts';
import { Heartbeats } from './heartbeat.ts';
import { PathMtu } from './path-mtu.ts';
import type { SizeDoubt } from './size-doubt.ts';

export interface PathProbesOptions {
  readonly random: Random;
  readonly initialPacketBytes: number;
  readonly maxPacketBytes: number;
  readonly heartbeatIntervalMs: number;
  readonly maxTimeouts: number;
}

export interface PathProbesHost {
  /** Adds a chunk to the next packet. */
  sendNext(chunk: Buffer): void;
  /** Sends a packet with this chunk alone. */
  sendAlone(chunk: Buffer): void;
}

const NEVER = Number.POSITIVE_INFINITY;
const SMALL_HEARTBEAT_BYTES = 128;
/** So many on their way are worth asking whether larger ones pass; who has little to say never asks. */
const PACKETS_WORTH_A_PROBE = 3;
const MIN_PROBE_TIMEOUT_MS = 500;

export class PathProbes {
  heartbeatAtMs = NEVER;
  /** Unanswered in a row. */
  #missedHeartbeats = 0;
  readonly #host: PathProbesHost;
  readonly #heartbeats: Heartbeats;
  readonly #mtu: PathMtu;
  readonly #intervalMs: number;
  readonly #maxTimeouts: number;
  /** When the newest small heartbeat that was answered left. */
  #smallPassedMs = Number.NEGATIVE_INFINITY;

  constructor(options: PathProbesOptions, host: PathProbesHost) {
    this.#host = host;
    this.#heartbeats = new Heartbeats(options.random);
    this.#mtu = new PathMtu(options.initialPacketBytes, options.maxPacketBytes);
    this.#intervalMs = options.heartbeatIntervalMs;
    this.#maxTimeouts = options.maxTimeouts;
  }

  get packetBytes(): number {
    return this.#mtu.packetBytes;
  }

  get deadlineMs(): number {
    return Math.min(this.heartbeatAtMs, this.#mtu.deadlineMs);
  }

  start(nowMs: number): void {
    this.#missedHeartbeats = 0;
    this.#mtu.start();
    this.touch(nowMs);
  }

  restart(maxPacketBytes: number): void {
    this.#mtu.restart(maxPacketBytes);
  }

  stop(): void {
    this.heartbeatAtMs = NEVER;
    this.#mtu.stop();
  }

  /** Data leaves: no heartbeat is needed for a while. */
  touch(nowMs: number): void {
    this.heartbeatAtMs = this.#intervalMs > 0 ? nowMs + this.#intervalMs : NEVER;
  }

  /** Does what is due; returns why the peer is to be given up, if it is. */
  onTime(nowMs: number): string | undefined {
    if (nowMs >= this.#mtu.deadlineMs) this.#mtu.onTimeout();
    if (nowMs < this.heartbeatAtMs) return undefined;
    if (this.#missedHeartbeats > this.#maxTimeouts) return 'heartbeats are not answered';
    this.#missedHeartbeats++;
    this.touch(nowMs);
    this.#host.sendNext(this.#smallHeartbeat(nowMs));
    return undefined;
  }

  /** A probe of the MTU is answered alone, for with company it would be larger than what was probed. */
  onHeartbeat(body: Buffer): void {
    const answer = encodeChunk(ChunkType.heartbeatAck, 0, body);
    if (body.length <= SMALL_HEARTBEAT_BYTES) this.#host.sendNext(answer);
    else this.#host.sendAlone(answer);
  }

  /** If it is time: sends a heartbeat that fills a packet of the size in question, or up to three bytes less. */
  probeMtu(inFlightBytes: number, rtoMs: number, nowMs: number): void {
    const { isProbeDue, packetBytes, probeBytes } = this.#mtu;
    if (!isProbeDue || inFlightBytes < PACKETS_WORTH_A_PROBE * packetBytes) return;
    this.#mtu.onProbeSent(Math.max(rtoMs, MIN_PROBE_TIMEOUT_MS), nowMs);
    const chunkBytes = (probeBytes - COMMON_HEADER_BYTES) & ~3;
    this.#host.sendAlone(this.#heartbeats.encode({ sentMs: nowMs, probeBytes }, chunkBytes));
  }

  /** The answer to one of ours; `undefined` when it is none. */
  onHeartbeatAck(body: Buffer, nowMs: number): { readonly rttMs: number; readonly hasGrown: boolean } | undefined {
    const info = this.#heartbeats.decode(body);
    if (!info || info.sentMs > nowMs) return undefined;
    this.#missedHeartbeats = 0;
    if (info.probeBytes === 0 && info.sentMs > this.#smallPassedMs) this.#smallPassedMs = info.sentMs;
    return { rttMs: nowMs - info.sentMs, hasGrown: info.probeBytes > 0 && this.#mtu.onProbeAcked(info.probeBytes) };
  }

  /**
   * After losses that make the size of packets doubtful: asks whether small ones pass, and shrinks all when they do.
   * True when they have shrunk.
   */
  judgeSize(doubt: SizeDoubt, timeouts: number, nowMs: number): boolean {
    if (!doubt.isNews) return false;
    doubt.isNews = false;
    // One loss says nothing, unless nothing else has arrived either. What an older size was cut for may vanish for ever.
    if ((doubt.losses < 2 && timeouts === 0) || doubt.smallestBytes > this.packetBytes) return false;
    if (doubt.losses < 2 || this.#smallPassedMs < doubt.sinceMs) {
      this.#host.sendAlone(this.#smallHeartbeat(nowMs));
      return false;
    }
    this.#mtu.shrink();
    doubt.clear();
    return true;
  }

  /** Its answer tells a path that carries no large packets from one that carries none. */
  #smallHeartbeat(nowMs: number): Buffer {
    return this.#heartbeats.encode({ sentMs: nowMs, probeBytes: 0 });
  }
}
