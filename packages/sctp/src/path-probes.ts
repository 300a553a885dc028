/** What asks after the path: heartbeats on an idle one (RFC 9260 §8.3) and probes of its MTU (RFC 8899). */

import type { Random } from '@claw/base';
import { COMMON_HEADER_BYTES } from './chunk-types.ts';
import { Heartbeats } from './heartbeat.ts';
import { PathMtu } from './path-mtu.ts';

export interface PathProbesOptions {
  readonly random: Random;
  readonly initialPacketBytes: number;
  readonly maxPacketBytes: number;
  readonly heartbeatIntervalMs: number;
}

const NEVER = Number.POSITIVE_INFINITY;
const MIN_PROBE_TIMEOUT_MS = 500;

export class PathProbes {
  heartbeatAtMs = NEVER;
  /** Unanswered in a row. */
  missedHeartbeats = 0;
  readonly #heartbeats: Heartbeats;
  readonly #mtu: PathMtu;
  readonly #intervalMs: number;
  /** When the newest small heartbeat that was answered left. */
  #smallPassedMs = Number.NEGATIVE_INFINITY;

  constructor(options: PathProbesOptions) {
    this.#heartbeats = new Heartbeats(options.random);
    this.#mtu = new PathMtu(options.initialPacketBytes, options.maxPacketBytes);
    this.#intervalMs = options.heartbeatIntervalMs;
  }

  get packetBytes(): number {
    return this.#mtu.packetBytes;
  }

  get isProbeDue(): boolean {
    return this.#mtu.isProbeDue;
  }

  get probeTimeoutAtMs(): number {
    return this.#mtu.deadlineMs;
  }

  get deadlineMs(): number {
    return Math.min(this.heartbeatAtMs, this.#mtu.deadlineMs);
  }

  start(nowMs: number): void {
    this.missedHeartbeats = 0;
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

  heartbeat(nowMs: number): Buffer {
    this.missedHeartbeats++;
    this.touch(nowMs);
    return this.smallProbe(nowMs);
  }

  /** A heartbeat whose answer tells a path that carries no large packets from one that carries none. */
  smallProbe(nowMs: number): Buffer {
    return this.#heartbeats.encode({ sentMs: nowMs, probeBytes: 0 });
  }

  /** A heartbeat that fills a packet of the size in question, or up to three bytes less. */
  mtuProbe(rtoMs: number, nowMs: number): Buffer {
    const { probeBytes } = this.#mtu;
    this.#mtu.onProbeSent(Math.max(rtoMs, MIN_PROBE_TIMEOUT_MS), nowMs);
    return this.#heartbeats.encode({ sentMs: nowMs, probeBytes }, (probeBytes - COMMON_HEADER_BYTES) & ~3);
  }

  /** The answer to one of ours; `undefined` when it is none. */
  onHeartbeatAck(body: Buffer, nowMs: number): { readonly rttMs: number; readonly hasGrown: boolean } | undefined {
    const info = this.#heartbeats.decode(body);
    if (!info || info.sentMs > nowMs) return undefined;
    this.missedHeartbeats = 0;
    if (info.probeBytes === 0 && info.sentMs > this.#smallPassedMs) this.#smallPassedMs = info.sentMs;
    return { rttMs: nowMs - info.sentMs, hasGrown: info.probeBytes > 0 && this.#mtu.onProbeAcked(info.probeBytes) };
  }

  onProbeTimeout(): void {
    this.#mtu.onTimeout();
  }

  /** Packets of the present size have vanished since `sinceMs`: if a small one has passed, they shrink. True when they have. */
  shrink(sinceMs: number): boolean {
    if (this.#smallPassedMs < sinceMs) return false;
    this.#mtu.shrink();
    return true;
  }
}
