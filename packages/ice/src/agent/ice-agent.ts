/**
 * A full ICE agent (RFC 8445) for one data stream, sans-IO: packets, answers of the
 * driver and the time come in by methods, everything goes out by `output`. It never
 * waits: data may flow as soon as one pair is valid, one round trip after both
 * sides know each other.
 *
 * Every method that can act takes `nowMs` of a monotonic clock; call
 * {@link IceAgent.handleTimeout} when {@link IceAgent.deadlineMs} is reached.
 */

import { canonicalAddress, type TransportAddress } from '../address.ts';
import type { Candidate, LocalCandidate } from '../candidate/candidate.ts';
import { iceError } from '../errors.ts';
import { addressBehind, isGeneratedName } from '../mdns/generated-name.ts';
import { Transactions } from '../stun/transactions.ts';
import type { Base } from './base.ts';
import type { CandidatePair } from './candidate-pair.ts';
import { CheckResponder } from './check-responder.ts';
import { EgressGate } from './egress-gate.ts';
import { EmbeddedFlight } from './embedded-flight.ts';
import { planOf } from './gatherer.ts';
import { Gathering } from './gathering.ts';
import type { LocalAddress } from './host-gatherer.ts';
import { NameLookups } from './name-lookups.ts';
import { Pacer } from './pacer.ts';
import { PacketIntake } from './packet-intake.ts';
import { checkParameters, DEFAULT_LIMITS, DEFAULT_TIMING, randomParameters } from './parameters.ts';
import { PathKeeper } from './path-keeper.ts';
import { type IceRole, pathOf, Session, type SessionContext } from './session.ts';
import { StateKeeper } from './state-keeper.ts';
import { TcpConnections } from './tcp-connections.ts';
import type { IceAgentOptions, IceAgentStats, IceConfiguration, IceParameters, IceState } from './types.ts';

export class IceAgent {
  readonly #options: IceAgentOptions;
  readonly #gate: EgressGate;
  readonly #transactions = new Transactions();
  readonly #pacer: Pacer;
  readonly #embedded = new EmbeddedFlight();
  readonly #role: IceRole;
  readonly #context: SessionContext;
  readonly #gathering: Gathering;
  readonly #path: PathKeeper;
  readonly #tcp: TcpConnections;
  readonly #intake: PacketIntake;
  readonly #lookups: NameLookups;
  readonly #state: StateKeeper;
  #nextId = 1;
  /** How often the time-outs may have changed. */
  #runs = 0;

  /** Throws `ICE_SERVER_INVALID`, `ICE_PARAMETERS_INVALID`. */
  constructor(options: IceAgentOptions) {
    const { random, output, hooks = {} } = options;
    this.#options = options;
    const timing = { ...DEFAULT_TIMING, ...options.timing };
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const { maxConnections } = limits;
    this.#gate = new EgressGate(output, options.egress);
    this.#pacer = new Pacer(timing);
    this.#role = {
      isControlling: options.controlling,
      tieBreaker: options.tieBreaker ?? random.bytes(8).readBigUInt64BE(),
    };
    const nextId = () => this.#nextId++;
    this.#tcp = new TcpConnections({
      gate: this.#gate,
      random,
      maxConnections,
      nextId,
      events: {
        onLost: (base, nowMs) => this.#path.baseLost(base, nowMs),
        onReopen: (local, peer) => this.#session.reopenStream(local, peer),
      },
    });
    this.#lookups = new NameLookups({ gate: this.#gate, maxLookups: maxConnections, nextId });
    this.#state = new StateKeeper(timing.consentExpiryMs, (state) => output.onStateChange?.(state));
    this.#context = {
      random,
      role: this.#role,
      transactions: this.#transactions,
      pacer: this.#pacer,
      timing,
      limits,
      hooks,
      embedded: this.#embedded,
      events: {
        onEmbedded: (packet) => output.onDatagram(packet),
        onEmbeddingRefused: (nowMs) => this.#sendPending(nowMs),
        onAnswer: (pair, nowMs) => this.#path.answered(pair, nowMs),
        onAsked: (pair, nowMs) => this.#path.asked(pair, nowMs),
        onNominated: (pair, nowMs) => this.#path.nominated(pair, nowMs),
        onRoleChange: () => this.#session.roleChanged(),
        connect: (base) => this.#tcp.open(base),
        streamTo: (local, remote) => this.#tcp.prepare(local, remote),
        onRemoteCandidate: (candidate) => this.#remoteCandidateAdded(candidate),
      },
    };
    const local = options.localParameters ? checkParameters(options.localParameters) : randomParameters(random);
    const { tcpTypes = ['active', 'passive'], useProxy = false, sharesUdp = false } = options;
    const plan = planOf(options);
    this.#gathering = new Gathering(
      {
        gate: this.#gate,
        random,
        transactions: this.#transactions,
        tcpTypes,
        useProxy,
        sharesUdp,
        rtoMs: timing.rtoMs,
        events: {
          nextId,
          onBase: (base) => this.#addBase(base),
          onBaseLost: (base, nowMs) => this.#path.baseLost(base, nowMs),
          onCandidate: (candidate) => output.onCandidate?.(this.#named(candidate)),
          onConnectingTcp: (candidate) => this.#openStreams([candidate], this.#session.remoteCandidates),
          onAddressLost: (address, nowMs) => this.#tcp.closeAt(address, nowMs),
          onServerError: (error) => output.onServerError?.(error),
          onAddressesWanted: output.onAddressesWanted && (() => output.onAddressesWanted?.()),
          resolve: (name, answer, nowMs) => this.#lookups.ask(name, answer, nowMs),
        },
      },
      plan,
    );
    this.#path = new PathKeeper(new Session(this.#context, local, plan.relayOnly), timing, random, {
      onActive: (pair, nowMs) => {
        output.onSelectedPair?.(pair.facts(true));
        this.#sendPending(nowMs);
      },
      onDead: (nowMs) => this.#recheck(nowMs),
      onSettled: () => this.#gathering.current.closeListeners(),
      onPreviousEnded: () => this.#gathering.settle(true),
      onUnused: (pair, nowMs) => this.#tcp.close(pair.base.id, nowMs),
      hush: (pair, nowMs) => pair.check && this.#transactions.hush(pair.check, nowMs),
    });
    this.#intake = new PacketIntake({
      tcp: this.#tcp,
      gathering: this.#gathering,
      path: this.#path,
      transactions: this.#transactions,
      responder: new CheckResponder((base) => this.#tcp.proven(base.id)),
      onDatagram: (bytes) => output.onDatagram(bytes),
      onMessage: (nowMs) => this.#run(nowMs),
      onStreamBroken: (id, nowMs) => {
        this.#gate.request({ type: 'close', id });
        this.transportFailed(id, nowMs);
      },
    });
  }

  get localParameters(): IceParameters {
    return this.#session.local;
  }

  get remoteParameters(): IceParameters | undefined {
    return this.#session.remote;
  }

  /** Those that stand now; `onCandidate` tells of each as it comes. */
  get localCandidates(): readonly LocalCandidate[] {
    return this.#gathering.current.candidates().map((candidate) => this.#named(candidate));
  }

  /** The peer's, peer-reflexive ones too. */
  get remoteCandidates(): readonly Candidate[] {
    return this.#session.remoteCandidates;
  }

  /** Those of the pair that carries data. */
  get selectedCandidates(): { readonly local: LocalCandidate; readonly remote: Candidate } | undefined {
    const pair = this.#path.active;
    return pair && { local: this.#named(pair.local), remote: pair.remote };
  }

  /** `onCandidate(null)` was called and nothing came since. */
  get isGatheringComplete(): boolean {
    return this.#gathering.hasEnded;
  }

  get state(): IceState {
    return this.#state.state;
  }

  get isControlling(): boolean {
    return this.#role.isControlling;
  }

  /** A pair carries data: {@link IceAgent.sendDatagram} works. */
  get isWritable(): boolean {
    return this.#path.active !== undefined;
  }

  /** When {@link IceAgent.handleTimeout} wants to be called; Infinity when never, in the past when at once. */
  get deadlineMs(): number {
    if (this.state === 'closed') return Number.POSITIVE_INFINITY;
    const { remote, list } = this.#session;
    const checkFromMs = remote ? list.workFromMs : Number.POSITIVE_INFINITY;
    const workFromMs = this.#gathering.current.hasWork ? Number.NEGATIVE_INFINITY : checkFromMs;
    const paced = Math.max(this.#pacer.nextMs, workFromMs);
    const others = Math.min(
      this.#path.deadlineMs(this.#role.isControlling),
      this.#gathering.deadlineMs,
      this.#tcp.deadlineMs,
    );
    return Math.min(this.#transactions.deadlineMs, paced, others, this.#state.deadlineMs);
  }

  /**
   * Begins with the addresses of the machine, the best first. Call again when they have changed:
   * candidates on those that came are told, what was on those that went is closed.
   */
  gather(addresses: readonly LocalAddress[], nowMs: number): void {
    this.#assertOpen();
    this.#gathering.gather(addresses, nowMs);
    this.#run(nowMs);
  }

  /**
   * Other servers and another policy for the next gathering: the first one, or that of a restart.
   * Throws `ICE_SERVER_INVALID`.
   */
  configure(configuration: IceConfiguration): void {
    this.#assertOpen();
    this.#gathering.configure(planOf(configuration));
  }

  /** The peer's credentials. New ones after the first are its answer to, or its wish for, a restart. */
  setRemoteParameters(remote: IceParameters, nowMs: number): void {
    this.#assertOpen();
    checkParameters(remote);
    const before = this.#session.remote;
    if (before && before.usernameFragment !== remote.usernameFragment) this.restart(nowMs);
    this.#session.setRemote(remote, nowMs);
    this.#path.commit();
    this.#gathering.settle(this.#path.previous === undefined);
    if (remote.isLite && !this.#role.isControlling) {
      this.#role.isControlling = true;
      this.#session.roleChanged();
    }
    this.#state.begin(nowMs);
    this.#run(nowMs);
  }

  /**
   * A candidate of the current remote generation. A name that a browser made is resolved by the driver; with any
   * other name it is passed over.
   */
  addRemoteCandidate(candidate: Candidate, nowMs: number): void {
    this.#assertOpen();
    const { usernameFragment } = candidate;
    const expected = this.#session.remote?.usernameFragment;
    // From before a restart.
    if (usernameFragment !== undefined && expected !== undefined && usernameFragment !== expected) return;
    const session = this.#session;
    if (canonicalAddress(candidate.address) !== undefined) session.addRemote(candidate);
    // The question would show us to the peer, where only relays may.
    else if (isGeneratedName(candidate.address) && !this.#gathering.current.plan.relayOnly) {
      const add = (addresses: readonly string[]) => {
        const address = addressBehind(addresses);
        if (address !== undefined) session.addRemote({ ...candidate, address });
      };
      this.#lookups.ask(candidate.address, add, nowMs);
    }
    this.#run(nowMs);
  }

  /** The peer has told all its candidates. */
  endOfCandidates(nowMs: number): void {
    this.#session.endRemoteCandidates();
    this.#run(nowMs);
  }

  /**
   * New credentials and a new check list (RFC 8445 §9). Data stays on the old pair until a new one is valid.
   * Addresses and servers are asked for anew.
   */
  restart(nowMs: number, local?: IceParameters): IceParameters {
    this.#assertOpen();
    const parameters = local ? checkParameters(local) : randomParameters(this.#options.random);
    this.#gathering.adopt();
    this.#path.restart(new Session(this.#context, parameters, this.#gathering.current.plan.relayOnly), nowMs);
    for (const base of this.#gathering.current.bases()) this.#session.addBase(base);
    this.#state.restart();
    this.#gathering.renew(nowMs);
    this.#run(nowMs);
    return parameters;
  }

  /** Takes back a restart that was not answered by new remote parameters: the former credentials hold again. */
  rollback(nowMs: number): void {
    if (!this.#path.rollback()) return;
    this.#gathering.rollback();
    // Those that came since.
    for (const base of this.#gathering.current.bases()) this.#session.addBase(base);
    this.#run(nowMs);
  }

  /**
   * Sends on the pair in use. False when there is none or the policy says no; as with UDP, the rest is silence.
   * The bytes are the driver's from then on: it may give their memory back.
   */
  sendDatagram(bytes: Uint8Array, nowMs = 0): boolean {
    const pair = this.#path.active;
    if (!pair || !pair.base.send('data', bytes, pair.peer, nowMs)) return false;
    pair.bytesSent += bytes.length;
    pair.packetsSent += 1;
    return true;
  }

  /**
   * Sends a flight of the DTLS handshake in place of the one before: at once where a pair is valid,
   * and inside checks until the peer has it, if both sides can. So it need not wait for a pair.
   */
  sendFlight(packets: readonly Buffer[], nowMs: number): void {
    this.#embedded.begin(packets);
    const pair = this.#path.active;
    if (!pair) return;
    for (const packet of packets) this.sendDatagram(packet, nowMs);
    this.#embedded.sent(pathOf(pair.base, pair.peer), nowMs);
  }

  /** What should have gone with checks, when the peer leaves it there. */
  #sendPending(nowMs: number): void {
    if (this.isWritable && !this.#embedded.isWanted) this.sendFlight(this.#embedded.pending, nowMs);
  }

  /** The handshake is over on this side; `isFlightDue`: the peer may still lack our last flight. */
  completeFlights(isFlightDue: boolean): void {
    this.#embedded.complete(isFlightDue);
  }

  /**
   * Everything that a transport received: a datagram, or bytes of a stream. The bytes are not kept.
   * False says that {@link IceAgent.deadlineMs} is what it was: so for application datagrams.
   */
  receive(transportId: number, bytes: Uint8Array, remote: TransportAddress, nowMs: number): boolean {
    if (this.state === 'closed') return false;
    const runsBefore = this.#runs;
    this.#intake.receive(transportId, bytes, remote, nowMs);
    return this.#runs !== runsBefore;
  }

  transportOpened(id: number, local: TransportAddress, nowMs: number): void {
    if (this.state === 'closed') return;
    const stream = this.#tcp.get(id);
    if (stream) stream.opened();
    else if (this.#gathering.isServerStream(id)) this.#intake.serverStreamOpened(id);
    if (!stream && !this.#gathering.transportOpened(id, local, nowMs)) this.#gate.request({ type: 'close', id });
    this.#run(nowMs);
  }

  /** It could not be opened, or it broke: an interface went, a connection ended. */
  transportFailed(id: number, nowMs: number): void {
    if (this.state === 'closed') return;
    this.#intake.transportGone(id);
    if (!this.#tcp.failed(id, nowMs)) this.#gathering.transportFailed(id, nowMs);
    this.#run(nowMs);
  }

  /** A connection on a listener. Returns its transport id, or `undefined` when there are too many: close it. */
  transportAccepted(listenerId: number, remote: TransportAddress, nowMs: number): number | undefined {
    const candidate = this.#gathering.listener(listenerId);
    if (this.state === 'closed' || !candidate) return undefined;
    const base = this.#tcp.accept(candidate, remote, nowMs);
    if (!base) return undefined;
    this.#addBase(base);
    this.#run(nowMs);
    return base.id;
  }

  nameResolved(id: number, addresses: readonly string[], nowMs: number): void {
    if (this.state === 'closed') return;
    this.#lookups.resolved(id, addresses, nowMs);
    this.#run(nowMs);
  }

  handleTimeout(nowMs: number): void {
    if (this.state !== 'closed') this.#run(nowMs);
  }

  /**
   * Moves the session to another valid pair, by nominating it. Only the controlling side can; packets
   * that are on their way on the old pair still arrive. Throws `ICE_NO_SUCH_PAIR`.
   */
  nominate(pairId: number, nowMs: number): void {
    this.#assertOpen();
    const pair = this.#session.list.byId(pairId);
    if (!pair || pair.state !== 'succeeded' || !this.#role.isControlling) {
      const why = this.#role.isControlling ? 'it is not valid now' : 'the peer controls';
      throw iceError('ICE_NO_SUCH_PAIR', `pair ${pairId} cannot be nominated: ${why}`);
    }
    this.#session.startCheck(pair, 'nominate', nowMs);
    this.#run(nowMs);
  }

  /** Asks all pairs in use and in reserve for a sign of life now. */
  probe(nowMs: number): void {
    this.#path.probe(nowMs);
    this.#run(nowMs);
  }

  /** A snapshot: the pair in use, all pairs with their counters, and what was kept out. */
  stats(): IceAgentStats {
    const { active } = this.#path;
    const facts = (pair: CandidatePair) => pair.facts(pair === active);
    return {
      state: this.state,
      isControlling: this.#role.isControlling,
      selected: active && facts(active),
      pairs: [...this.#session.list.pairs()].map(facts),
      packetsOut: this.#gate.packets,
      refused: this.#gate.refused,
      packetsIgnored: this.#intake.ignored,
    };
  }

  /** Deletes allocations, asks for everything to be closed, and falls silent. Idempotent. */
  close(): void {
    if (this.state === 'closed') return;
    this.#gathering.close();
    this.#tcp.closeAll();
    this.#gate.shut();
    this.#transactions.clear();
    this.#path.close();
    this.#state.close();
  }

  #run(nowMs: number): void {
    if (this.state === 'closed') return;
    this.#runs += 1;
    this.#transactions.handleTimeout(nowMs);
    this.#gathering.handleTimeout(!this.#path.isActiveLive, nowMs);
    this.#path.handleTimeout(nowMs);
    this.#tcp.handleTimeout(nowMs);
    this.#pacer.letOut(
      () => this.#session.checkNext(nowMs),
      () => this.#gathering.current.startNext(nowMs),
      nowMs,
    );
    if (this.#role.isControlling) this.#path.considerNomination(nowMs);
    this.#updateState(nowMs);
  }

  /** Of the present generation, as libwebrtc tells it. */
  #named(candidate: LocalCandidate): LocalCandidate {
    return { ...candidate, usernameFragment: this.#session.local.usernameFragment };
  }

  /** Everything that might work is tried again. */
  #recheck(nowMs: number): void {
    const { current } = this.#gathering;
    current.seek(nowMs);
    current.listenAgain(nowMs);
    this.#session.recheckAll();
    this.#openStreams(current.connecting, this.#session.remoteCandidates);
  }

  /** Pairs over TCP, whose connections are opened when their turn comes. */
  #openStreams(locals: readonly LocalCandidate[], remotes: readonly Candidate[]): void {
    for (const local of locals) for (const remote of remotes) this.#session.addStream(local, remote);
  }

  get #session(): Session {
    return this.#path.session;
  }

  #updateState(nowMs: number): void {
    if (this.#gathering.end()) this.#options.output.onCandidate?.(null);
    const { active, isActiveLive, lastAnswerMs } = this.#path;
    if (active) return this.#state.connected(isActiveLive, this.#session.selected === active);
    if (!this.#session.remote) return;
    const { hasPendingChecks } = this.#session;
    this.#state.waiting({ hasPendingChecks, isHopeless: this.#isHopeless, lastAnswerMs }, nowMs);
  }

  /**
   * Everything was tried, and nothing more can come. While our answer may still be on its way, and the peer has
   * checked nothing, NATs and relays on its side let nothing of ours in: the controlled side waits (RFC 8863).
   */
  get #isHopeless(): boolean {
    const { remoteEnded, hasPendingChecks, hasHeardPeer } = this.#session;
    if (!this.#role.isControlling && !hasHeardPeer) return false;
    const isOpening = this.#lookups.isBusy || this.#tcp.isReopening;
    return this.#gathering.isComplete && remoteEnded && !hasPendingChecks && !isOpening;
  }

  #addBase(base: Base): void {
    this.#session.addBase(base);
    for (const { address } of this.#session.remoteCandidates) this.#gathering.permit(address);
  }

  #remoteCandidateAdded(candidate: Candidate): void {
    this.#gathering.permit(candidate.address);
    this.#openStreams(this.#gathering.current.connecting, [candidate]);
  }

  #assertOpen(): void {
    if (this.state === 'closed') throw iceError('ICE_CLOSED', 'the agent is closed');
  }
}
