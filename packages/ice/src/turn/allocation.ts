/**
 * One allocation on a TURN server (RFC 8656 §6–§8): Allocate, its credentials and
 * errors, Refresh, and the deletion on close. Permissions, channels and the data
 * itself are the relay's (`relay.ts`), which stands on `request`.
 */

import type { Random } from '@claw/base';
import { sameAddress, type TransportAddress } from '../address.ts';
import type { EgressGate, EgressTransport } from '../agent/egress-gate.ts';
import type { ServerAddress } from '../candidate/server-url.ts';
import { ATTRIBUTE, ERROR, METHOD } from '../stun/constants.ts';
import { LongTermCredentials } from '../stun/credentials.ts';
import { StunWriter } from '../stun/encode.ts';
import { addressOf, errorOf, type StunError, type StunMessage, uint32Of } from '../stun/message.ts';
import type { Transactions } from '../stun/transactions.ts';

export interface AllocationOptions {
  readonly server: ServerAddress;
  /** Where the server is, resolved. */
  readonly address: TransportAddress;
  readonly transport: EgressTransport;
  readonly isReliable: boolean;
  readonly gate: EgressGate;
  readonly random: Random;
  readonly transactions: Transactions;
  readonly rtoMs: number;
  readonly events: AllocationEvents;
}

export interface AllocationEvents {
  onAllocated(relayed: TransportAddress, mapped: TransportAddress | undefined, nowMs: number): void;
  /** There is none, or no longer. */
  onFailed(error: StunError, nowMs: number): void;
  onAlternate(address: TransportAddress, nowMs: number): void;
}

export interface TurnRequest {
  readonly method: number;
  write(writer: StunWriter): void;
  onSuccess(message: StunMessage, nowMs: number): void;
  onError(error: StunError, nowMs: number): void;
}

const UDP = 17;
const DEFAULT_LIFETIME_S = 600;
const MAX_CHALLENGES = 3;
const SINGLE_TIMEOUT_MS = 10_000;
/** No code of STUN. */
export const NO_ANSWER: StunError = { code: 0, reason: 'no answer' };
const LIFETIME_S = { max: 3600, min: 30 };

export class TurnAllocation {
  readonly options: AllocationOptions;
  readonly #credentials: LongTermCredentials;
  #state: 'new' | 'allocating' | 'allocated' | 'closed' = 'new';
  #refreshAtMs = Number.POSITIVE_INFINITY;
  #hasRetriedMismatch = false;

  constructor(options: AllocationOptions) {
    this.options = options;
    this.#credentials = new LongTermCredentials(options.server.secret ?? { username: '', password: '' });
  }

  get isAllocated(): boolean {
    return this.#state === 'allocated';
  }

  get deadlineMs(): number {
    return this.#refreshAtMs;
  }

  start(nowMs: number): void {
    this.#state = 'allocating';
    this.request(
      {
        method: METHOD.allocate,
        write: (writer) => writer.uint32(ATTRIBUTE.requestedTransport, UDP * 2 ** 24),
        onSuccess: (message, atMs) => this.#allocated(message, atMs),
        onError: (error, atMs) => this.#refused(error, atMs),
      },
      nowMs,
    );
  }

  /** Asks now whether the server still knows it. */
  verify(nowMs: number): void {
    this.#refreshAtMs = Math.min(this.#refreshAtMs, nowMs);
  }

  handleTimeout(nowMs: number): void {
    if (this.#state !== 'allocated' || nowMs < this.#refreshAtMs) return;
    this.#refreshAtMs = Number.POSITIVE_INFINITY;
    this.#refresh(DEFAULT_LIFETIME_S, nowMs);
  }

  /** Deletes the allocation; nobody waits for the answer. */
  close(): void {
    const wasAllocated = this.#state === 'allocated';
    this.#state = 'closed';
    this.#refreshAtMs = Number.POSITIVE_INFINITY;
    if (wasAllocated)
      this.#transmit(this.#encode(METHOD.refresh, (writer) => writer.uint32(ATTRIBUTE.lifetime, 0)).bytes);
  }

  /** Sends a signed request, answers challenges, and reports once. */
  request(turnRequest: TurnRequest, nowMs: number, challenges = 0): void {
    const { method, write, onError } = turnRequest;
    const isSigned = this.#credentials.hasChallenge;
    const { id, bytes } = this.#encode(method, write);
    const { transport, address, transactions, isReliable, rtoMs } = this.options;
    transactions.start(
      {
        id,
        rtoMs,
        ...(isReliable ? { reliableTimeoutMs: SINGLE_TIMEOUT_MS } : {}),
        transmit: () => {
          if (this.#state !== 'closed') this.#transmit(bytes);
        },
        onResponse: (message, { via, from, nowMs: atMs }) => {
          if (via !== transport.id || !sameAddress(from, address)) return false;
          if (message.class === 'error') {
            this.#handleError(turnRequest, message, isSigned, challenges, atMs);
            return true;
          }
          if (isSigned && !this.#credentials.verify(message)) return false;
          if (this.#state !== 'closed') turnRequest.onSuccess(message, atMs);
          return true;
        },
        onTimeout: (atMs) => {
          if (this.#state !== 'closed') onError(NO_ANSWER, atMs);
        },
      },
      nowMs,
    );
  }

  #handleError(
    turnRequest: TurnRequest,
    message: StunMessage,
    wasSigned: boolean,
    challenges: number,
    nowMs: number,
  ): void {
    if (this.#state === 'closed') return;
    const error = errorOf(message) ?? { code: ERROR.badRequest, reason: 'a malformed error' };
    const isChallenge = (error.code === ERROR.unauthenticated && !wasSigned) || error.code === ERROR.staleNonce;
    if (isChallenge && challenges < MAX_CHALLENGES && this.#credentials.challenge(message)) {
      return this.request(turnRequest, nowMs, challenges + 1);
    }
    const alternate = addressOf(message, ATTRIBUTE.alternateServer);
    if (error.code === ERROR.tryAlternate && alternate && turnRequest.method === METHOD.allocate) {
      this.#state = 'closed';
      return this.options.events.onAlternate(alternate, nowMs);
    }
    turnRequest.onError(error, nowMs);
  }

  #allocated(message: StunMessage, nowMs: number): void {
    const relayed = addressOf(message, ATTRIBUTE.xorRelayedAddress);
    if (!relayed) return this.#fail({ code: ERROR.badRequest, reason: 'a success without an address' }, nowMs);
    this.#state = 'allocated';
    this.#schedule(message, nowMs);
    this.options.events.onAllocated(relayed, addressOf(message, ATTRIBUTE.xorMappedAddress), nowMs);
  }

  #refused(error: StunError, nowMs: number): void {
    // An allocation that a former life left on this port: deleted, then asked for again (RFC 8656 §6.4).
    if (error.code === ERROR.allocationMismatch && !this.#hasRetriedMismatch) {
      this.#hasRetriedMismatch = true;
      return this.#refresh(0, nowMs);
    }
    this.#fail(error, nowMs);
  }

  #refresh(lifetimeS: number, nowMs: number): void {
    this.request(
      {
        method: METHOD.refresh,
        write: (writer) => writer.uint32(ATTRIBUTE.lifetime, lifetimeS),
        onSuccess: (message, atMs) => (lifetimeS === 0 ? this.start(atMs) : this.#schedule(message, atMs)),
        onError: (error, atMs) => (lifetimeS === 0 ? this.start(atMs) : this.#fail(error, atMs)),
      },
      nowMs,
    );
  }

  #schedule(message: StunMessage, nowMs: number): void {
    const said = uint32Of(message, ATTRIBUTE.lifetime) ?? DEFAULT_LIFETIME_S;
    const lifetimeS = Math.min(Math.max(said, LIFETIME_S.min), LIFETIME_S.max);
    this.#refreshAtMs = nowMs + Math.max(lifetimeS - 60, lifetimeS / 2) * 1000;
  }

  #fail(error: StunError, nowMs: number): void {
    this.#state = 'closed';
    this.#refreshAtMs = Number.POSITIVE_INFINITY;
    this.options.events.onFailed(error, nowMs);
  }

  #encode(method: number, write: (writer: StunWriter) => void): { id: Buffer; bytes: Buffer } {
    const id = this.options.random.bytes(12);
    const writer = new StunWriter('request', method, id);
    write(writer);
    return { id, bytes: this.#credentials.sign(writer).finishWithFingerprint() };
  }

  #transmit(bytes: Buffer): void {
    const { gate, transport, address } = this.options;
    gate.send('turn', transport, bytes, address);
  }
}
