/**
 * What the sessions of a relay share: who is logged in, room for what waits, and
 * the counts. It sees sealed envelopes and the ids they go to, nothing else.
 */

import type { Clock, Logger, Random } from '@claw/base';
import { verifySignature } from '@claw/identity';
import type { RelayLimits } from './relay-limits.ts';
import type { RelaySession } from './relay-session.ts';

/** Counted since the relay was opened, but for the first three, which are of this moment. */
export interface RelayStats {
  /** TCP connections. */
  readonly connections: number;
  /** Nodes logged in. */
  readonly nodes: number;
  /** Bytes that wait for readers, with what keeping them costs. */
  readonly bufferedBytes: number;
  /** Envelopes that clients sent within their rates. */
  readonly envelopesReceived: number;
  readonly bytesReceived: number;
  /** Envelopes handed to a reader's socket. */
  readonly envelopesDelivered: number;
  readonly bytesDelivered: number;
  /** Envelopes for nodes that are not here. */
  readonly absent: number;
  /** Messages over a rate of their node or address. */
  readonly droppedByRate: number;
  /** Envelopes for which their reader, or the relay, had no room. */
  readonly droppedBySlowReader: number;
  /** Readers cut off because they held the most when the relay had no room left. */
  readonly slowReadersEnded: number;
  /** Connections that sent a frame which is none. */
  readonly malformed: number;
  readonly loginsRefused: number;
  /** TCP connections refused for their number, and requests for a host that is not ours. */
  readonly connectionsRefused: number;
  /** Connections that had not logged in by the deadline. */
  readonly handshakesTimedOut: number;
  /** Connections that answered no ping. */
  readonly deadPeers: number;
}

type Counts = { -readonly [Key in Exclude<keyof RelayStats, 'connections' | 'nodes' | 'bufferedBytes'>]: number };

export interface RelayHubOptions {
  readonly limits: RelayLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export class RelayHub {
  readonly limits: RelayLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly stats: Counts = {
    envelopesReceived: 0,
    bytesReceived: 0,
    envelopesDelivered: 0,
    bytesDelivered: 0,
    absent: 0,
    droppedByRate: 0,
    droppedBySlowReader: 0,
    slowReadersEnded: 0,
    malformed: 0,
    loginsRefused: 0,
    connectionsRefused: 0,
    handshakesTimedOut: 0,
    deadPeers: 0,
  };
  /** By public key, as a string of one character a byte. */
  readonly #nodes = new Map<string, RelaySession>();
  #bufferedBytes = 0;

  constructor(options: RelayHubOptions) {
    this.limits = options.limits;
    this.clock = options.clock;
    this.random = options.random;
    this.log = options.log;
  }

  get nodes(): number {
    return this.#nodes.size;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  verifyLogin(publicKey: Buffer, message: Buffer, signature: Buffer): boolean {
    try {
      return verifySignature(publicKey, 'relay-login', message, signature);
    } catch {
      // Bytes that are no Ed25519 key at all.
      return false;
    }
  }

  /** Makes `session` the one of its node; an earlier one is told and closed. */
  register(nodeKey: string, session: RelaySession): void {
    const earlier = this.#nodes.get(nodeKey);
    this.#nodes.set(nodeKey, session);
    earlier?.end('replaced');
  }

  unregister(session: RelaySession): void {
    const { nodeKey } = session;
    if (nodeKey !== undefined && this.#nodes.get(nodeKey) === session) this.#nodes.delete(nodeKey);
  }

  forward(from: RelaySession, to: Buffer, envelope: Buffer): void {
    this.stats.envelopesReceived += 1;
    this.stats.bytesReceived += envelope.length;
    const reader = this.#nodes.get(to.toString('latin1'));
    if (!reader) {
      this.stats.absent += 1;
      from.reportAbsent(to);
    } else if (reader.deliver(envelope)) {
      this.stats.envelopesDelivered += 1;
      this.stats.bytesDelivered += envelope.length;
    } else {
      this.stats.droppedBySlowReader += 1;
    }
  }

  /**
   * Reserves room for what a session holds. When all is taken, the reader that holds the most
   * is cut off, so that those who do not read cannot keep others from being served.
   */
  takeRoom(bytes: number): boolean {
    if (this.#bufferedBytes + bytes > this.limits.maxBufferedBytes) this.#endSlowestReader();
    if (this.#bufferedBytes + bytes > this.limits.maxBufferedBytes) return false;
    this.#bufferedBytes += bytes;
    return true;
  }

  #endSlowestReader(): void {
    let slowest: RelaySession | undefined;
    for (const session of this.#nodes.values()) {
      if (session.bufferedBytes > (slowest?.bufferedBytes ?? 0)) slowest = session;
    }
    if (!slowest) return;
    this.stats.slowReadersEnded += 1;
    slowest.terminate();
  }

  giveRoom(bytes: number): void {
    this.#bufferedBytes -= bytes;
  }
}
