/**
 * Requests that wait for their response (RFC 8489 §6.2): the same bytes again when
 * nothing came, with a time-out that doubles, and an end. Over a reliable
 * transport a request leaves once. Who may answer is for the owner to judge:
 * a response it does not accept leaves the transaction as it was.
 */

import type { TransportAddress } from '../address.ts';
import { type StunMessage, transactionKey } from './message.ts';

export interface TransactionOptions {
  readonly id: Buffer;
  /** First retransmission time-out. */
  readonly rtoMs: number;
  /** The time-out stops doubling here. Default 800: a lost check costs a person waiting more than the packet costs the path. */
  readonly maxRtoMs?: number;
  /** Default 9 (Rc of RFC 8489, which says 7 at longer intervals). */
  readonly maxTransmissions?: number;
  /** Over TCP and TLS: one transmission, this long until it fails. */
  readonly reliableTimeoutMs?: number;
  transmit(nowMs: number): void;
  /** Returns false for a response that must be overlooked, such as a forged one. */
  onResponse(message: StunMessage, reply: TransactionReply): boolean;
  onTimeout(nowMs: number): void;
}

export interface TransactionReply {
  readonly nowMs: number;
  /** The base or transport that the response came in by, and who sent it. */
  readonly via: number;
  readonly from: TransportAddress;
  /** Since the first transmission. Exact only when `isRttExact`. */
  readonly rttMs: number;
  /** Whether one transmission alone can have caused the response (Karn's rule). */
  readonly isRttExact: boolean;
}

export interface Transaction {
  readonly id: Buffer;
  readonly startedMs: number;
  readonly transmissions: number;
}

interface Pending extends Transaction {
  readonly options: TransactionOptions;
  transmissions: number;
  rtoMs: number;
  atMs: number;
}

const MAX_TRANSMISSIONS = 9;
const MAX_RTO_MS = 800;
/** The last transmission waits twice its time-out, at least this long. */
const LAST_WAIT_MS = 2000;

export class Transactions {
  readonly #pending = new Map<string, Pending>();
  #deadlineMs: number | undefined;

  get size(): number {
    return this.#pending.size;
  }

  get deadlineMs(): number {
    if (this.#deadlineMs === undefined) {
      let earliest = Infinity;
      for (const each of this.#pending.values()) if (each.atMs < earliest) earliest = each.atMs;
      this.#deadlineMs = earliest;
    }
    return this.#deadlineMs;
  }

  start(options: TransactionOptions, nowMs: number): Transaction {
    const { id, rtoMs, reliableTimeoutMs } = options;
    const atMs = nowMs + (reliableTimeoutMs ?? rtoMs);
    const pending: Pending = { id, options, startedMs: nowMs, transmissions: 1, rtoMs, atMs };
    this.#pending.set(transactionKey(id), pending);
    this.#deadlineMs = undefined;
    options.transmit(nowMs);
    return pending;
  }

  cancel(transaction: Transaction): void {
    this.#pending.delete(transactionKey(transaction.id));
    this.#deadlineMs = undefined;
  }

  /** No more retransmissions: the answer is still welcome until the end (RFC 8445 §7.3.1.4). */
  hush(transaction: Transaction, nowMs: number): void {
    const pending = this.#pending.get(transactionKey(transaction.id));
    if (!pending) return;
    pending.transmissions = MAX_TRANSMISSIONS;
    pending.atMs = nowMs + LAST_WAIT_MS;
    this.#deadlineMs = undefined;
  }

  /** Whether the response belonged to a transaction of ours and was accepted. */
  handleResponse(message: StunMessage, via: number, from: TransportAddress, nowMs: number): boolean {
    const key = transactionKey(message.transactionId);
    const pending = this.#pending.get(key);
    if (!pending) return false;
    const reply = { nowMs, via, from, rttMs: nowMs - pending.startedMs, isRttExact: pending.transmissions === 1 };
    // Out of the table first, so that what the owner starts now cannot meet it.
    this.#pending.delete(key);
    this.#deadlineMs = undefined;
    if (pending.options.onResponse(message, reply)) return true;
    this.#pending.set(key, pending);
    this.#deadlineMs = undefined;
    return false;
  }

  handleTimeout(nowMs: number): void {
    if (this.deadlineMs > nowMs) return;
    for (const [key, pending] of [...this.#pending]) {
      if (pending.atMs > nowMs || this.#pending.get(key) !== pending) continue;
      this.#deadlineMs = undefined;
      const { options } = pending;
      if (
        options.reliableTimeoutMs !== undefined ||
        pending.transmissions >= (options.maxTransmissions ?? MAX_TRANSMISSIONS)
      ) {
        this.#pending.delete(key);
        options.onTimeout(nowMs);
        continue;
      }
      pending.transmissions += 1;
      pending.rtoMs = Math.min(pending.rtoMs * 2, options.maxRtoMs ?? MAX_RTO_MS);
      const isLast = pending.transmissions >= (options.maxTransmissions ?? MAX_TRANSMISSIONS);
      pending.atMs = nowMs + (isLast ? Math.max(LAST_WAIT_MS, pending.rtoMs * 2) : pending.rtoMs);
      options.transmit(nowMs);
    }
  }

  clear(): void {
    this.#pending.clear();
    this.#deadlineMs = undefined;
  }
}
