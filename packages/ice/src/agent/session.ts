/**
 * One ICE generation: one pair of credentials on each side, its remote candidates,
 * its check list, and the checks of RFC 8445 §7 in both directions. A restart makes
 * a new session while the old one goes on carrying data.
 *
 * The session decides what is valid; which valid pair to use is the nominator's.
 */

import type { Random } from '@claw/base';
import { sameAddress, type TransportAddress } from '../address.ts';
import { type Candidate, candidatePriority, foundationOf, type LocalCandidate } from '../candidate/candidate.ts';
import { ATTRIBUTE, ERROR } from '../stun/constants.ts';
import { verifyIntegrity } from '../stun/integrity.ts';
import { addressOf, errorOf, type StunMessage, transactionKey, uint32Of, uint64Of } from '../stun/message.ts';
import type { TransactionReply, Transactions } from '../stun/transactions.ts';
import { type Base, StreamBase } from './base.ts';
import { CandidatePair, candidateFacts } from './candidate-pair.ts';
import { CheckList } from './check-list.ts';
import { encodeCheck, encodeCheckError, encodeCheckSuccess } from './check-messages.ts';
import type { EmbeddedFlight } from './embedded-flight.ts';
import type { Pacer } from './pacer.ts';
import { keyOf } from './parameters.ts';
import { RemoteCandidates } from './remote-candidates.ts';
import { ReplayGuard } from './replay-guard.ts';
import type { IceHooks, IceLimits, IceParameters, IceTiming } from './types.ts';

export interface IceRole {
  isControlling: boolean;
  tieBreaker: bigint;
}

export type CheckPurpose = 'check' | 'nominate' | 'consent';

export interface SessionEvents {
  /** A pair was checked with success, for the first time or again. */
  onAnswer(pair: CandidatePair, nowMs: number): void;
  /** A check of the peer came in on the pair. */
  onAsked(pair: CandidatePair, nowMs: number): void;
  /** The controlling peer nominated a pair that is valid. */
  onNominated(pair: CandidatePair, nowMs: number): void;
  onRoleChange(nowMs: number): void;
  /** Opens the connection of an active TCP pair. False when that is not permitted. */
  connect(base: StreamBase): boolean;
  /** A connection for a pair of TCP candidates, not yet opened. */
  streamTo(local: LocalCandidate, remote: Candidate): StreamBase | undefined;
  onRemoteCandidate(candidate: Candidate): void;
  /** An application packet came in a check. */
  onEmbedded(packet: Buffer): void;
  /** The peer takes none in its checks. */
  onEmbeddingRefused(nowMs: number): void;
}

export interface SessionContext {
  readonly random: Random;
  readonly role: IceRole;
  readonly transactions: Transactions;
  readonly pacer: Pacer;
  readonly timing: Required<IceTiming>;
  readonly limits: Required<IceLimits>;
  readonly hooks: IceHooks;
  readonly embedded: EmbeddedFlight;
  readonly events: SessionEvents;
}

/** Over TCP, where RFC 8489 §6.2.2 says 39.5 s, and for what is sent once. */
const SINGLE_TIMEOUT_MS = 10_000;
const MIN_RTO_MS = 50;

export class Session {
  readonly local: IceParameters;
  readonly list: CheckList;
  /** The nominated pair. */
  selected: CandidatePair | undefined;
  /** The value of the last nomination made or followed. */
  nomination = 0;
  /** A check of the peer came, so it knows our parameters. */
  hasHeardPeer = false;
  firstValidMs: number | undefined;
  readonly #context: SessionContext;
  readonly #isRelayOnly: boolean;
  #remote: IceParameters | undefined;
  readonly #replays = new ReplayGuard();
  readonly #bases = new Set<Base>();
  readonly #remotes: RemoteCandidates;
  #nextPairId = 1;
  #roundTripMs: number | undefined;

  /** `isRelayOnly`: knows no base but relays. */
  constructor(context: SessionContext, local: IceParameters, isRelayOnly: boolean) {
    this.#context = context;
    this.local = local;
    this.#isRelayOnly = isRelayOnly;
    this.list = new CheckList(context.limits.maxPairs);
    this.#remotes = new RemoteCandidates({
      limits: context.limits,
      propose: (candidate, known) => context.hooks.propose?.(candidate, known) ?? [],
      onAdded: (candidate) => {
        context.events.onRemoteCandidate(candidate);
        for (const base of this.#bases) this.#pair(base, candidate);
      },
      onIdentified: (learnt, candidate) => {
        for (const pair of this.list.pairs())
          if (pair.remote === learnt) pair.identify(candidate, context.role.isControlling);
      },
    });
  }

  get remoteCandidates(): readonly Candidate[] {
    return this.#remotes.all;
  }

  /** Whether the policy lets it be used. */
  admits({ candidate }: Base): boolean {
    return !this.#isRelayOnly || candidate.type === 'relay';
  }

  addBase(base: Base): void {
    if (!this.admits(base)) return;
    this.#bases.add(base);
    for (const remote of this.remoteCandidates) this.#pair(base, remote);
  }

  removeBase(base: Base): void {
    this.#bases.delete(base);
    for (const pair of [...this.list.pairs()]) if (pair.base === base) this.#drop(pair);
  }

  addRemote(candidate: Candidate): void {
    this.#remotes.add(candidate);
  }

  /** A TCP pair whose connection is opened when its turn comes. */
  addStream(local: LocalCandidate, remote: Candidate): void {
    const base = this.#context.events.streamTo(local, remote);
    if (base) this.#pair(base, remote);
  }

  /** A simultaneous open once more. */
  reopenStream(local: LocalCandidate, peer: TransportAddress): void {
    const remote = this.remoteCandidates.find((each) => each.tcpType === 'so' && sameAddress(each, peer));
    if (remote) this.addStream(local, remote);
  }

  /** All pairs anew, as after a failure: what was valid may work again, what failed may have come up. */
  recheckAll(): void {
    this.list.tcpFromMs = Number.NEGATIVE_INFINITY;
    for (const base of this.#bases) {
      for (const remote of this.remoteCandidates) if (!this.list.find(base, remote)) this.#pair(base, remote);
    }
    for (const pair of this.list.pairs()) {
      // A check that is out already may not be repeated for half a minute.
      if (pair.check) this.#context.transactions.cancel(pair.check);
      pair.check = undefined;
      if (pair.state !== 'succeeded') pair.state = 'waiting';
    }
  }

  /** Starts the next check if there is one. True when a transaction left. */
  checkNext(nowMs: number): boolean {
    if (!this.remote) return false;
    for (let pair = this.list.takeNext(nowMs); pair; pair = this.list.takeNext(nowMs)) {
      pair.isTriggered = false;
      if (pair.check) {
        // Its answer is what it waits for.
        pair.state = pair.isValid ? 'succeeded' : 'in-progress';
        continue;
      }
      this.startCheck(pair, pair.wantsNomination ? 'nominate' : 'check', nowMs);
      return true;
    }
    return false;
  }

  startCheck(pair: CandidatePair, purpose: CheckPurpose, nowMs: number): void {
    const { remote } = this;
    if (!remote) return;
    const { random, role, transactions, events, embedded } = this.#context;
    const id = random.bytes(12);
    const { isControlling, tieBreaker } = role;
    const nominate = purpose === 'nominate' && isControlling;
    if (nominate) {
      pair.wantsNomination = false;
      pair.nomination = this.nomination += 1;
    }
    const { candidate } = pair.base;
    const request = {
      id,
      local: this.local,
      remote,
      priority: reflexivePriority(candidate),
      isControlling,
      tieBreaker,
      nominate,
      nomination: remote.canRenominate ? pair.nomination : undefined,
    };
    const bytes = encodeCheck(request, (writer) => embedded.write(writer, pathOf(pair.base, pair.peer), nowMs));
    const isConsent = purpose === 'consent';
    if (pair.check && !isConsent) {
      transactions.cancel(pair.check);
      pair.check = undefined;
    }
    pair.state = pair.isValid ? 'succeeded' : 'in-progress';
    if (pair.base instanceof StreamBase && !pair.base.isOpen && !events.connect(pair.base)) {
      this.#unanswered(pair, purpose, nowMs);
      return;
    }
    let isPermitted = true;
    // The last check of a pair counts; those before it may still be answered, but no longer fail it.
    const finish = () => {
      if (pair.check === check) pair.check = undefined;
    };
    const check = transactions.start(
      {
        id,
        rtoMs: this.#rtoMs(pair),
        // A consent check is sent once (RFC 7675 §5.1).
        ...(isConsent || pair.base.isReliable ? { reliableTimeoutMs: SINGLE_TIMEOUT_MS } : {}),
        transmit: (atMs) => {
          pair.checksSent += 1;
          isPermitted = pair.base.send(isConsent ? 'consent' : 'check', bytes, pair.peer, atMs);
        },
        onResponse: (message, reply) => {
          const isSymmetric = reply.via === pair.base.id && sameAddress(reply.from, pair.peer);
          if (!isSymmetric || !this.#isAuthentic(message)) return false;
          finish();
          this.#handleResponse(pair, purpose, isControlling, message, reply);
          return true;
        },
        onTimeout: (atMs) => {
          const wasLast = pair.check === check || isConsent;
          finish();
          if (wasLast) this.#unanswered(pair, purpose, atMs);
        },
      },
      nowMs,
    );
    if (!isPermitted) {
      transactions.cancel(check);
      this.#unanswered(pair, purpose, nowMs);
    } else if (!isConsent) pair.check = check;
  }

  /** A request that named us in its USERNAME. Returns what to answer, or `undefined` to stay silent. */
  handleRequest(base: Base, message: StunMessage, from: TransportAddress, nowMs: number): Buffer | undefined {
    const path = pathOf(base, from);
    const sighting = this.#replays.see(transactionKey(message.transactionId), path);
    if (sighting === 'elsewhere') return undefined;
    this.hasHeardPeer = true;
    if (this.#losesRoleConflict(message, nowMs)) {
      return encodeCheckError(message, ERROR.roleConflict, 'Role Conflict', { local: this.local });
    }
    const pair = this.#pairOf(base, message, from);
    // Without a pair (too many candidates) the sender still learns its address.
    if (pair && sighting === 'new') this.#handleCheckOn(pair, message, nowMs);
    this.#takeEmbedded(message, nowMs);
    return encodeCheckSuccess(message, from, this.local, (writer) => this.#context.embedded.write(writer, path, nowMs));
  }

  /** The pair a response or a datagram came in on. */
  findPair(base: Base, from: TransportAddress): CandidatePair | undefined {
    return this.list.find(base, from);
  }

  validPairs(): CandidatePair[] {
    return [...this.list.pairs()].filter((pair) => pair.isValid && pair.state === 'succeeded');
  }

  /** No more remote candidates will be signalled. */
  get remoteEnded(): boolean {
    return this.list.isComplete;
  }

  endRemoteCandidates(): void {
    this.list.isComplete = true;
  }

  setRemote(remote: IceParameters, nowMs: number): void {
    this.list.tcpFromMs = Math.min(this.list.tcpFromMs, nowMs + this.#context.timing.tcpDelayMs);
    this.#remote = remote;
    if (remote.canEmbed) this.#context.embedded.isWanted = true;
  }

  get remote(): IceParameters | undefined {
    return this.#remote;
  }

  /** Checks that may still succeed. */
  get hasPendingChecks(): boolean {
    if (this.list.hasWork) return true;
    for (const pair of this.list.pairs()) if (pair.state === 'in-progress') return true;
    return false;
  }

  roleChanged(): void {
    for (const pair of this.list.pairs()) pair.setRole(this.#context.role.isControlling);
  }

  close(): void {
    for (const pair of this.list.pairs()) if (pair.check) this.#context.transactions.cancel(pair.check);
  }

  #pair(base: Base, remote: Candidate): CandidatePair | undefined {
    if (!canPair(base, remote) || this.list.find(base, remote)) return undefined;
    const rank = this.#context.hooks.rank?.(candidateFacts(base.candidate), candidateFacts(remote));
    if (this.#context.hooks.rank && rank === undefined) return undefined;
    const pair = new CandidatePair(this.#nextPairId++, base, remote, rank ?? 0, this.#context.role.isControlling);
    return this.list.add(pair, remote.type === 'prflx') ? pair : undefined;
  }

  #drop(pair: CandidatePair): void {
    if (pair.check) this.#context.transactions.cancel(pair.check);
    pair.check = undefined;
    pair.state = 'failed';
    this.list.delete(pair);
    if (this.selected === pair) this.selected = undefined;
  }

  /** Ta × N keeps retransmissions below the pace too (RFC 8445 §14.3); what is known of the path may shorten it. */
  #rtoMs(pair: CandidatePair): number {
    const { pacer, transactions, timing } = this.#context;
    const crowdMs = pacer.intervalMs * transactions.size;
    const known = pair.roundTripMs;
    const pathMs =
      known === undefined
        ? Math.max(timing.rtoMs, 1.5 * (this.#roundTripMs ?? 0))
        : Math.max(MIN_RTO_MS, known + 4 * pair.roundTripVarianceMs);
    return Math.max(pathMs, Math.min(crowdMs, 2000));
  }

  #handleResponse(
    pair: CandidatePair,
    purpose: CheckPurpose,
    wasControlling: boolean,
    message: StunMessage,
    reply: TransactionReply,
  ): void {
    const { nowMs } = reply;
    if (message.class === 'error') {
      if (errorOf(message)?.code === ERROR.roleConflict && this.#context.role.isControlling === wasControlling) {
        this.#switchRole(nowMs);
        this.list.trigger(pair);
      } else this.#unanswered(pair, purpose, nowMs);
      return;
    }
    const mapped = addressOf(message, ATTRIBUTE.xorMappedAddress);
    if (!mapped) return this.#unanswered(pair, purpose, nowMs);
    this.#succeed(pair, purpose, mapped, reply);
    if (purpose === 'nominate' && wasControlling && this.#context.role.isControlling) this.#select(pair, nowMs);
    else if (pair.isNominatedByPeer && !this.#context.role.isControlling) this.#select(pair, nowMs);
    this.#context.events.onAnswer(pair, nowMs);
    this.#takeEmbedded(message, nowMs);
  }

  #takeEmbedded(message: StunMessage, nowMs: number): void {
    const { embedded, events } = this.#context;
    const wasWanted = embedded.isWanted;
    const packet = embedded.read(message);
    if (packet) events.onEmbedded(packet);
    if (wasWanted && !embedded.isWanted) events.onEmbeddingRefused(nowMs);
  }

  /** Unsigned answers, errors too, can be anybody's. */
  #isAuthentic(message: StunMessage): boolean {
    return this.remote !== undefined && verifyIntegrity(message, keyOf(this.remote));
  }

  #succeed(pair: CandidatePair, purpose: CheckPurpose, mapped: TransportAddress, reply: TransactionReply): void {
    const { nowMs, rttMs, isRttExact } = reply;
    pair.local = this.#localOf(pair.base, mapped);
    pair.state = 'succeeded';
    pair.validSinceMs ??= nowMs;
    pair.lastAnswerMs = nowMs;
    pair.answersReceived += 1;
    pair.totalRoundTripMs += rttMs;
    pair.base.isProven = true;
    this.firstValidMs ??= nowMs;
    if (isRttExact || pair.roundTripMs === undefined) pair.sampleRoundTrip(rttMs);
    this.#roundTripMs = Math.max(this.#roundTripMs ?? 0, pair.roundTripMs ?? 0);
    this.list.unfreeze(pair.foundation);
    this.#context.hooks.onCheck?.({ pairId: pair.id, atMs: nowMs, rttMs, isRttExact, purpose });
  }

  #unanswered(pair: CandidatePair, purpose: CheckPurpose, nowMs: number): void {
    // A consent check that died may have another check behind it.
    if (!pair.isValid && !pair.check) pair.state = 'failed';
    this.#context.hooks.onCheck?.({ pairId: pair.id, atMs: nowMs, rttMs: undefined, isRttExact: false, purpose });
  }

  #handleCheckOn(pair: CandidatePair, message: StunMessage, nowMs: number): void {
    const { role, transactions, events } = this.#context;
    pair.checksReceived += 1;
    pair.lastReceivedMs = nowMs;
    pair.base.isProven = true;
    events.onAsked(pair, nowMs);
    if (!role.isControlling && message.attributes.has(ATTRIBUTE.useCandidate)) {
      const nomination = uint32Of(message, ATTRIBUTE.nomination);
      if (this.#follows(pair, nomination, nowMs)) {
        if (nomination !== undefined) this.nomination = Math.max(this.nomination, nomination);
        pair.isNominatedByPeer = true;
        if (pair.isValid && pair.state === 'succeeded') this.#select(pair, nowMs);
      }
    }
    if (pair.state === 'succeeded') return;
    // A check on its way may have died at a NAT that only now has a hole: ask again at once (RFC 8445 §7.3.1.4).
    if (pair.check) {
      if (nowMs - pair.check.startedMs < 5 || pair.base.isReliable) return;
      transactions.hush(pair.check, nowMs);
      pair.check = undefined;
    }
    this.list.trigger(pair);
  }

  /** Whether a nomination by the peer is to be followed, and not an older one that was overtaken. */
  #follows(pair: CandidatePair, nomination: number | undefined, nowMs: number): boolean {
    const { selected } = this;
    if (nomination !== undefined) return nomination >= this.nomination;
    if (!selected || selected === pair || pair.priority > selected.priority) return true;
    // RFC 5245 peers nominate whatever they check: the best stays, unless they have left it.
    return nowMs - selected.lastReceivedMs > 500;
  }

  #select(pair: CandidatePair, nowMs: number): void {
    pair.isNominated = true;
    pair.isNominatedByPeer = false;
    if (this.selected === pair) return;
    if (this.selected) this.selected.isNominated = false;
    this.selected = pair;
    this.#context.events.onNominated(pair, nowMs);
  }

  #pairOf(base: Base, message: StunMessage, from: TransportAddress): CandidatePair | undefined {
    const known = this.list.find(base, from);
    if (known) return known;
    const priority = uint32Of(message, ATTRIBUTE.priority) ?? 0;
    const remote = this.#remotes.from(from, base.candidate.protocol, priority);
    if (!remote) return undefined;
    return this.list.find(base, from) ?? this.#pair(base, remote);
  }

  /** RFC 8445 §7.2.5.3.1: a candidate that we know, or a peer-reflexive one. */
  #localOf(base: Base, mapped: TransportAddress): LocalCandidate {
    const { candidate } = base;
    // An active TCP candidate shows port 9; which port it really has says nothing new.
    if (sameAddress(candidate, mapped) || (candidate.protocol === 'tcp' && candidate.address === mapped.address))
      return candidate;
    const known = base.reflexive.find((each) => sameAddress(each, mapped));
    if (known) return known;
    const reflexive: LocalCandidate = {
      ...candidate,
      ...mapped,
      type: 'prflx',
      priority: reflexivePriority(candidate),
      foundation: foundationOf('prflx', candidate.address, candidate.protocol),
      related: { address: candidate.address, port: candidate.port },
    };
    if (base.reflexive.length < 16) base.reflexive.push(reflexive);
    return reflexive;
  }

  /** RFC 8445 §7.3.1.1. True: answer 487 and stay; otherwise the role may have changed. */
  #losesRoleConflict(message: StunMessage, nowMs: number): boolean {
    const { role } = this.#context;
    const theirs = uint64Of(message, role.isControlling ? ATTRIBUTE.iceControlling : ATTRIBUTE.iceControlled);
    if (theirs === undefined) return false;
    const isOursLarger = role.tieBreaker >= theirs;
    if (role.isControlling === isOursLarger) return true;
    this.#switchRole(nowMs);
    return false;
  }

  #switchRole(nowMs: number): void {
    const { role, events } = this.#context;
    role.isControlling = !role.isControlling;
    events.onRoleChange(nowMs);
  }
}

/** What a peer-reflexive candidate of this base would have as priority (RFC 8445 §7.1.1). */
function reflexivePriority(candidate: LocalCandidate): number {
  const localPreference = (candidate.priority >>> 8) & 0x1fff;
  const { protocol, tcpType } = candidate;
  return candidatePriority({ type: 'prflx', protocol, tcpType, localPreference });
}

/** Names where packets leave and arrive. */
export function pathOf(base: Base, { address, port }: TransportAddress): string {
  return `${base.id} ${address} ${port}`;
}

function canPair(base: Base, remote: Candidate): boolean {
  const { candidate, onlyPeer } = base;
  if (candidate.protocol !== remote.protocol) return false;
  if (candidate.address.includes(':') !== remote.address.includes(':')) return false;
  return !onlyPeer || sameAddress(onlyPeer, remote);
}
