/**
 * One outbound stream: the messages waiting on it and the numbers the next one
 * gets. Numbers are given when a message's first fragment is sent, so a message
 * that is dropped before leaves no hole (RFC 3758 §3.5, RFC 8260 §2.1).
 */

import { RingQueue } from './ring-queue.ts';

export interface MessageOptions {
  /** Delivered as it comes rather than after its predecessors. Default false. */
  readonly isUnordered?: boolean;
  /** Given up after this many retransmissions of a fragment. Default: never. */
  readonly maxRetransmits?: number | undefined;
  /** Given up this long after it was handed in. Default: never. */
  readonly lifetimeMs?: number | undefined;
  /** False for bytes that are not the application's and do not show in `bufferedBytes`. Default true. */
  readonly isCounted?: boolean;
}

export class OutboundMessage {
  readonly stream: OutboundStream;
  readonly ppid: number;
  /** Owned by the association until it is acknowledged or given up. */
  readonly data: Buffer;
  readonly isUnordered: boolean;
  readonly isCounted: boolean;
  readonly maxRetransmits: number;
  readonly expiresAtMs: number;
  /** Bytes that have been sent at least once. */
  sentBytes = 0;
  /** SSN or MID, once the first fragment is sent. */
  sequence = 0;
  fragments = 0;
  firstTsn = 0;
  lastTsn = 0;
  isAbandoned = false;

  constructor(stream: OutboundStream, ppid: number, data: Buffer, nowMs: number, options: MessageOptions) {
    this.stream = stream;
    this.ppid = ppid;
    this.data = data;
    this.isUnordered = options.isUnordered ?? false;
    this.isCounted = options.isCounted ?? true;
    this.maxRetransmits = options.maxRetransmits ?? Number.POSITIVE_INFINITY;
    this.expiresAtMs = options.lifetimeMs === undefined ? Number.POSITIVE_INFINITY : nowMs + options.lifetimeMs;
  }

  get isPartlyReliable(): boolean {
    return this.maxRetransmits !== Number.POSITIVE_INFINITY || this.expiresAtMs !== Number.POSITIVE_INFINITY;
  }

  get isFullySent(): boolean {
    return this.sentBytes === this.data.length;
  }
}

export class OutboundStream {
  readonly id: number;
  readonly queue = new RingQueue<OutboundMessage>();
  /** Of its last chunk. */
  lastTsn: number | undefined = undefined;
  /** The application's bytes that were not yet sent once. */
  bufferedBytes = 0;
  /** Weight, or rank with the strict scheduler; RFC 8831 §6.4 uses 128, 256, 512 and 1024. */
  priority = 256;
  /** Weighted service received, in bytes by weight; see {@link StreamScheduler}. */
  virtualTime = 0;
  /** Place in the scheduler's heap, −1 while there is nothing to send. */
  heapIndex = -1;
  nextOrdered = 0;
  nextUnordered = 0;
  /** No more messages: reset once the queue is empty. */
  isEnding = false;

  constructor(id: number) {
    this.id = id;
  }

  /** Numbers start anew after a stream reset (RFC 6525 §5.2.2). */
  restart(): void {
    this.nextOrdered = 0;
    this.nextUnordered = 0;
    this.lastTsn = undefined;
    this.isEnding = false;
  }
}
