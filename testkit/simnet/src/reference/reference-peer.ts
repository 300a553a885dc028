/**
 * A plain hole puncher without a network, the yardstick for what a topology
 * allows: host candidates, reflexive ones by STUN, candidates exchanged outside,
 * checks paced over all pairs, peer-reflexive ones learnt on the way, and the
 * first pair that works nominated by `a`. After RFC 8445, much reduced: no
 * priorities, no relays, no restart.
 *
 * Datagrams, signals and the time go in; `poll` says what goes out and when it
 * wants to be asked again. `packetsSpent` counts datagrams until connected.
 */

import { isClawError, type Random } from '@claw/base';
import { type Endpoint, isSameEndpoint } from '../nat/flow.ts';
import { familyOf } from '../net/address.ts';
import { decodeStun, looksLikeStun, type StunMessage } from '../stun/message.ts';
import { encodeCheck, encodeCheckAnswer, isCheckFor, isNomination, mappedAddressOf } from './check-messages.ts';
import { type StreamPlan, Traffic, type TrafficCounts } from './traffic.ts';

export interface ReferencePeerOptions {
  /** `a` nominates. */
  readonly role: 'a' | 'b';
  /** Own addresses, each with the port of the socket on it. */
  readonly local: readonly Endpoint[];
  readonly stunServers: readonly Endpoint[];
  readonly random: Random;
  /** From the first poll to giving up. Default 20,000. */
  readonly limitMs?: number;
}

/** What the peers tell each other outside of the network. Plain data. */
export interface ReferenceSignal {
  readonly token: string;
  readonly candidates: readonly Endpoint[];
}

export interface ReferenceOutputs {
  readonly datagrams: readonly { readonly bytes: Buffer; readonly from: Endpoint; readonly to: Endpoint }[];
  readonly signals: readonly ReferenceSignal[];
  /** When to poll again at the latest. */
  readonly deadlineMs: number | undefined;
}

export type ReferenceState = 'new' | 'checking' | 'connected' | 'failed';

interface Question {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  dueMs: number;
  asked: number;
  isDone: boolean;
  /** The peer asked for this pair to be the path, or we did. */
  isNominated: boolean;
}

const PACE_MS = 20;
const REPEAT_MS = 250;
const MAX_SERVER_QUESTIONS = 7;
const MAX_PAIRS = 200;
const MAX_TRANSACTIONS = 4096;
const DEFAULT_LIMIT_MS = 20_000;

export class ReferencePeer {
  readonly #options: ReferencePeerOptions;
  readonly #token: string;
  readonly #traffic = new Traffic();
  readonly #servers: Question[];
  readonly #pairs: Question[] = [];
  /** By transaction. */
  readonly #asked = new Map<string, { readonly question: Question; readonly nominates: boolean }>();
  #datagrams: ReferenceOutputs['datagrams'][number][] = [];
  #signals: ReferenceSignal[] = [];
  #peerToken: string | undefined;
  #state: ReferenceState = 'new';
  #path: Question | undefined;
  #startedMs = 0;
  #connectedMs: number | undefined;
  #nextCheckMs = 0;
  #packetsSpent = 0;

  constructor(options: ReferencePeerOptions) {
    this.#options = options;
    this.#token = options.random.bytes(12).toString('hex');
    this.#servers = pairsOf(options.local, options.stunServers);
  }

  get state(): ReferenceState {
    return this.#state;
  }

  get packetsSpent(): number {
    return this.#packetsSpent;
  }

  /** From the first poll. */
  get connectMs(): number | undefined {
    return this.#connectedMs === undefined ? undefined : this.#connectedMs - this.#startedMs;
  }

  get path(): { readonly local: Endpoint; readonly remote: Endpoint } | undefined {
    return this.#path && { local: this.#path.local, remote: this.#path.remote };
  }

  counts(): TrafficCounts {
    return this.#traffic.counts();
  }

  /** Sends a ping over the path, once connected. */
  ping(nowMs: number): void {
    this.#sendOverPath(this.#traffic.ping(nowMs));
  }

  beginStream(plan: StreamPlan, nowMs: number): void {
    this.#traffic.beginStream(plan, nowMs);
  }

  handleSignal(signal: ReferenceSignal, nowMs: number): void {
    this.#peerToken ??= signal.token;
    for (const pair of pairsOf(this.#options.local, signal.candidates)) this.#addPair(pair.local, pair.remote, nowMs);
  }

  /** A datagram that came from `from` to the own address `to`. What is not understood is ignored. */
  handle(bytes: Buffer, from: Endpoint, to: Endpoint, nowMs: number): void {
    if (!looksLikeStun(bytes)) {
      const answer = this.#traffic.handle(bytes, nowMs);
      if (answer) this.#datagrams.push({ bytes: answer, from: to, to: from });
      return;
    }
    try {
      this.#handleStun(decodeStun(bytes), bytes, from, to, nowMs);
    } catch (error) {
      if (!isClawError(error, 'SIMNET_MALFORMED')) throw error;
    }
  }

  poll(nowMs: number): ReferenceOutputs {
    if (this.#state === 'new') this.#start(nowMs);
    const limitMs = this.#startedMs + (this.#options.limitMs ?? DEFAULT_LIMIT_MS);
    if (this.#state === 'checking' && nowMs >= limitMs) this.#state = 'failed';
    if (this.#state === 'checking') this.#askNext(nowMs);
    for (const bytes of this.#traffic.due(nowMs)) this.#sendOverPath(bytes);
    const deadlines = [
      this.#traffic.deadlineMs,
      ...(this.#state === 'checking' ? [this.#checkDeadlineMs(), limitMs] : []),
    ];
    const deadlineMs = Math.min(...deadlines.filter((each) => each !== undefined));
    const outputs = {
      datagrams: this.#datagrams,
      signals: this.#signals,
      deadlineMs: Number.isFinite(deadlineMs) ? deadlineMs : undefined,
    };
    this.#datagrams = [];
    this.#signals = [];
    return outputs;
  }

  #start(nowMs: number): void {
    this.#state = 'checking';
    this.#startedMs = nowMs;
    this.#nextCheckMs = nowMs;
    for (const server of this.#servers) server.dueMs = nowMs;
    this.#signals.push({ token: this.#token, candidates: this.#options.local });
  }

  #checkDeadlineMs(): number | undefined {
    const open = [...this.#servers, ...(this.#peerToken === undefined ? [] : this.#pairs)].filter(
      (each) => !each.isDone,
    );
    if (open.length === 0) return undefined;
    return Math.max(this.#nextCheckMs, Math.min(...open.map((each) => each.dueMs)));
  }

  /** At most one question each PACE_MS: servers first, then the pair that waits longest. */
  #askNext(nowMs: number): void {
    if (nowMs < this.#nextCheckMs) return;
    const isDue = (each: Question) => !each.isDone && each.dueMs <= nowMs;
    const pairs = this.#peerToken === undefined ? [] : this.#pairs.filter(isDue);
    const next = this.#servers.find(isDue) ?? pairs.toSorted((a, b) => a.dueMs - b.dueMs)[0];
    if (next) this.#ask(next, nowMs);
  }

  #ask(question: Question, nowMs: number): void {
    const transaction = this.#options.random.bytes(12);
    const isServer = this.#servers.includes(question);
    question.asked += 1;
    question.dueMs = nowMs + REPEAT_MS;
    if (isServer && question.asked >= MAX_SERVER_QUESTIONS) question.isDone = true;
    this.#nextCheckMs = nowMs + PACE_MS;
    if (this.#asked.size >= MAX_TRANSACTIONS) this.#asked.clear();
    const nominates = question.isNominated && this.#options.role === 'a';
    this.#asked.set(transaction.toString('hex'), { question, nominates });
    this.#send(
      encodeCheck({ transaction, token: isServer ? undefined : this.#peerToken, nominates }),
      question.local,
      question.remote,
    );
  }

  #handleStun(message: StunMessage, bytes: Buffer, from: Endpoint, to: Endpoint, nowMs: number): void {
    if (isCheckFor(this.#token, message, bytes)) return this.#handleCheck(message, from, to, nowMs);
    const mapped = mappedAddressOf(message);
    const key = message.transaction.toString('hex');
    const asked = this.#asked.get(key);
    if (!mapped || !asked || !isSameEndpoint(asked.question.remote, from)) return;
    this.#asked.delete(key);
    const { question, nominates } = asked;
    if (this.#servers.includes(question)) {
      question.isDone = true;
      const isNews = !this.#options.local.some((local) => isSameEndpoint(local, mapped));
      if (isNews) this.#signals.push({ token: this.#token, candidates: [mapped] });
    } else {
      this.#pairAnswered(question, nominates, nowMs);
    }
  }

  #handleCheck(message: StunMessage, from: Endpoint, to: Endpoint, nowMs: number): void {
    this.#send(encodeCheckAnswer(message, from, this.#token), to, from);
    const pair = this.#addPair(to, from, nowMs);
    if (!pair) return;
    if (isNomination(message)) pair.isNominated = true;
    if (pair.isDone && pair.isNominated && this.#options.role === 'b') this.#connect(pair, nowMs);
    // What comes in opens the way back: ask at once (RFC 8445, section 7.3.1.4).
    else if (!pair.isDone) pair.dueMs = Math.min(pair.dueMs, nowMs - REPEAT_MS);
  }

  /** `nominates`: the question that was answered nominated; an earlier one under way did not. */
  #pairAnswered(pair: Question, nominates: boolean, nowMs: number): void {
    if (this.#options.role === 'b') {
      pair.isDone = true;
      if (pair.isNominated) this.#connect(pair, nowMs);
    } else if (nominates) {
      this.#connect(pair, nowMs);
    } else if (!this.#pairs.some((each) => each.isNominated)) {
      pair.isNominated = true;
      pair.dueMs = nowMs - REPEAT_MS;
    }
  }

  #connect(pair: Question, nowMs: number): void {
    if (this.#state !== 'checking') return;
    this.#state = 'connected';
    this.#connectedMs = nowMs;
    this.#path = pair;
  }

  #addPair(local: Endpoint, remote: Endpoint, nowMs: number): Question | undefined {
    const known = this.#pairs.find((pair) => isSameEndpoint(pair.local, local) && isSameEndpoint(pair.remote, remote));
    if (known || this.#pairs.length >= MAX_PAIRS) return known;
    const pair = { local, remote, dueMs: nowMs, asked: 0, isDone: false, isNominated: false };
    this.#pairs.push(pair);
    return pair;
  }

  #sendOverPath(bytes: Buffer): void {
    if (this.#path) this.#send(bytes, this.#path.local, this.#path.remote);
  }

  #send(bytes: Buffer, from: Endpoint, to: Endpoint): void {
    if (this.#state !== 'connected') this.#packetsSpent += 1;
    this.#datagrams.push({ bytes, from, to });
  }
}

function pairsOf(local: readonly Endpoint[], remote: readonly Endpoint[]): Question[] {
  return local.flatMap((from) =>
    remote
      .filter((to) => familyOf(to.address) === familyOf(from.address))
      .map((to) => ({ local: from, remote: to, dueMs: 0, asked: 0, isDone: false, isNominated: false })),
  );
}
