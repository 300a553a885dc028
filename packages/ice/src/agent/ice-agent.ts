/**
 * A full ICE agent (RFC 8445) for one data stream, sans-IO: packets, answers of the
 * driver and the time come in by methods, everything goes out by `output`. It never
 * waits: data may flow as soon as one pair is valid, one round trip after both
 * sides know each other.
 *
 * Every method that can act takes `nowMs` of a monotonic clock; call
 * {@link IceAgent.handleTimeout} when {@link IceAgent.deadlineMs} is reached.
 */

import { canonicalAddress, familyOf, isLinkLocal, sameAddress, type TransportAddress } from '../address.ts';
import type { Candidate, LocalCandidate } from '../candidate/candidate.ts';
import { parseServers } from '../candidate/server-url.ts';
import { iceError } from '../errors.ts';
import { isGeneratedName } from '../mdns/generated-name.ts';
import { classifyDatagram } from '../stun/demultiplex.ts';
import { StreamDeframer } from '../stun/framing.ts';
import { decodeStun } from '../stun/message.ts';
import { Transactions } from '../stun/transactions.ts';
import type { Relay } from '../turn/relay.ts';
import type { Base } from './base.ts';
import type { CandidatePair } from './candidate-pair.ts';
import { CheckResponder } from './check-responder.ts';
import { EgressGate } from './egress-gate.ts';
import { EmbeddedFlight } from './embedded-flight.ts';
import { Gatherer, type GatheringPlan } from './gatherer.ts';
import { Gathering } from './gathering.ts';
import type { LocalAddress } from './host-gatherer.ts';
import { Pacer } from './pacer.ts';
import { checkParameters, DEFAULT_LIMITS, DEFAULT_TIMING, randomParameters } from './parameters.ts';
import { PathKeeper } from './path-keeper.ts';
import { type IceRole, pathOf, Session, type SessionContext } from './session.ts';
import { TcpConnections } from './tcp-connections.ts';
import type {
  IceAgentOptions,
  IceConfiguration,
  IceLimits,
  IceParameters,
  IceState,
  IceTiming,
  PairFacts,
} from './types.ts';

export interface IceAgentStats {
  readonly state: IceState;
  readonly isControlling: boolean;
  readonly selected: PairFacts | undefined;
  readonly pairs: readonly PairFacts[];
  readonly packetsOut: number;
  /** Packets, connections and look-ups that the egress policy kept in. */
  readonly refused: number;
  /** Packets that came in and were none of ours. */
  readonly packetsIgnored: number;
}

export class IceAgent {
  readonly #options: IceAgentOptions;
  readonly #timing: Required<IceTiming>;
  readonly #limits: Required<IceLimits>;
  readonly #gate: EgressGate;
  readonly #transactions = new Transactions();
  readonly #pacer: Pacer;
  readonly #embedded = new EmbeddedFlight();
  readonly #role: IceRole;
  readonly #context: SessionContext;
  readonly #gathering: Gathering;
  readonly #path: PathKeeper;
  readonly #tcp: TcpConnections;
  readonly #responder: CheckResponder;
  readonly #deframers = new Map<number, StreamDeframer>();
  readonly #resolving = new Map<number, (addresses: readonly string[], nowMs: number) => void>();
  #state: IceState = 'new';
  #nextId = 1;
  #checkingSinceMs: number | undefined;
  #saidComplete = false;
  #packetsIgnored = 0;
  #isGathersTurn = false;
  /** How often the time-outs may have changed. */
  #runs = 0;

  /** Throws `ICE_SERVER_INVALID`, `ICE_PARAMETERS_INVALID`. */
  constructor(options: IceAgentOptions) {
    const { random, output, hooks = {} } = options;
    this.#options = options;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#gate = new EgressGate(output, options.egress);
    this.#pacer = new Pacer(this.#timing);
    this.#role = {
      isControlling: options.controlling,
      tieBreaker: options.tieBreaker ?? random.bytes(8).readBigUInt64BE(),
    };
    const nextId = () => this.#nextId++;
    const { maxConnections } = this.#limits;
    this.#tcp = new TcpConnections({ gate: this.#gate, random, maxConnections, nextId });
    this.#responder = new CheckResponder((base) => this.#tcp.proven(base.id));
    this.#context = {
      random,
      role: this.#role,
      transactions: this.#transactions,
      pacer: this.#pacer,
      timing: this.#timing,
      limits: this.#limits,
      hooks,
      embedded: this.#embedded,
      events: {
        onEmbedded: (packet) => output.onDatagram(packet),
        onEmbeddingRefused: (nowMs) => this.#sendPending(nowMs),
        onAnswer: (pair, nowMs) => this.#path.answered(pair, nowMs),
        onNominated: (pair, nowMs) => this.#path.nominated(pair, nowMs),
        onRoleChange: () => this.#session.roleChanged(),
        connect: (base) => this.#tcp.open(base),
        streamTo: (local, remote) => this.#tcp.prepare(local, remote),
        onRemoteCandidate: (candidate) => this.#remoteCandidateAdded(candidate),
      },
    };
    const local = options.localParameters ? checkParameters(options.localParameters) : randomParameters(random);
    const plan = planOf(options);
    this.#gathering = new Gathering((each) => this.#makeGatherer(each), plan);
    this.#path = new PathKeeper(new Session(this.#context, local, plan.relayOnly), this.#timing, random, {
      onActive: (pair, nowMs) => {
        output.onSelectedPair?.(pair.facts(true));
        this.#sendPending(nowMs);
      },
      onDead: (nowMs) => this.#recheck(nowMs),
      onSettled: () => this.#gathering.current.closeListeners(),
      onPreviousEnded: () => this.#gathering.settle(true),
      onUnused: (pair, nowMs) => this.#closeStream(pair.base.id, nowMs),
      hush: (pair, nowMs) => pair.check && this.#transactions.hush(pair.check, nowMs),
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
    return this.#saidComplete;
  }

  get state(): IceState {
    return this.#state;
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
    if (this.#state === 'closed') return Number.POSITIVE_INFINITY;
    const { remote, list } = this.#session;
    const checkFromMs = remote ? list.workFromMs : Number.POSITIVE_INFINITY;
    const workFromMs = this.#gathering.current.hasWork ? Number.NEGATIVE_INFINITY : checkFromMs;
    const paced = Math.max(this.#pacer.nextMs, workFromMs);
    const failing = this.#state === 'failed' ? Number.POSITIVE_INFINITY : this.#failAtMs;
    const others = Math.min(
      this.#path.deadlineMs(this.#role.isControlling),
      this.#gathering.deadlineMs,
      this.#tcp.deadlineMs,
    );
    return Math.min(this.#transactions.deadlineMs, paced, others, failing);
  }

  /**
   * Begins with the addresses of the machine, the best first. Call again when they have changed:
   * candidates on those that came are told, what was on those that went is closed.
   */
  gather(addresses: readonly LocalAddress[], nowMs: number): void {
    this.#assertOpen();
    const isFirst = !this.#gathering.hasBegun;
    this.#gathering.gather(addresses, nowMs);
    if (isFirst || !this.#gathering.current.isComplete) this.#saidComplete = false;
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
    this.#checkingSinceMs ??= nowMs;
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
      this.#resolve(candidate.address, add, nowMs);
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
    this.#checkingSinceMs = undefined;
    this.#saidComplete = false;
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
   * The bytes belong to the driver until it has sent them.
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
    if (this.#state === 'closed') return false;
    const runsBefore = this.#runs;
    this.#receive(transportId, bytes, remote, nowMs);
    return this.#runs !== runsBefore;
  }

  #receive(transportId: number, bytes: Uint8Array, remote: TransportAddress, nowMs: number): void {
    const udp = this.#gathering.udpBase(transportId);
    if (udp) {
      const relay = this.#gathering.relayFrom(transportId, remote);
      if (relay && this.#receiveFromServer(relay, bytes, nowMs)) return;
      this.#receiveDatagram(udp, transportId, bytes, remote, nowMs);
      return;
    }
    this.#receiveStream(transportId, bytes, remote, nowMs);
  }

  transportOpened(id: number, local: TransportAddress, nowMs: number): void {
    if (this.#state === 'closed') return;
    const stream = this.#tcp.get(id);
    if (stream) stream.opened();
    else if (this.#gathering.isServerStream(id)) this.#deframers.set(id, new StreamDeframer('turn'));
    if (!stream && !this.#gathering.transportOpened(id, local, nowMs)) this.#gate.request({ type: 'close', id });
    this.#run(nowMs);
  }

  /** It could not be opened, or it broke: an interface went, a connection ended. */
  transportFailed(id: number, nowMs: number): void {
    if (this.#state === 'closed') return;
    this.#deframers.delete(id);
    const base = this.#tcp.failed(id, nowMs);
    if (base) this.#path.baseLost(base, nowMs);
    else this.#gathering.transportFailed(id, nowMs);
    this.#run(nowMs);
  }

  /** A connection on a listener. Returns its transport id, or `undefined` when there are too many: close it. */
  transportAccepted(listenerId: number, remote: TransportAddress, nowMs: number): number | undefined {
    const candidate = this.#gathering.listener(listenerId);
    if (this.#state === 'closed' || !candidate) return undefined;
    const base = this.#tcp.accept(candidate, remote, nowMs);
    if (!base) return undefined;
    this.#addBase(base);
    this.#run(nowMs);
    return base.id;
  }

  nameResolved(id: number, addresses: readonly string[], nowMs: number): void {
    const answer = this.#resolving.get(id);
    this.#resolving.delete(id);
    if (!answer || this.#state === 'closed') return;
    answer(
      addresses.flatMap((address) => canonicalAddress(address) ?? []),
      nowMs,
    );
    this.#run(nowMs);
  }

  handleTimeout(nowMs: number): void {
    if (this.#state !== 'closed') this.#run(nowMs);
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
      state: this.#state,
      isControlling: this.#role.isControlling,
      selected: active && facts(active),
      pairs: [...this.#session.list.pairs()].map(facts),
      packetsOut: this.#gate.packets,
      refused: this.#gate.refused,
      packetsIgnored: this.#packetsIgnored,
    };
  }

  /** Deletes allocations, asks for everything to be closed, and falls silent. Idempotent. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#gathering.close();
    this.#tcp.closeAll();
    this.#gate.shut();
    this.#transactions.clear();
    this.#path.close();
    this.#setState('closed');
  }

  #makeGatherer(plan: GatheringPlan): Gatherer {
    const { random, output, tcpTypes = ['active', 'passive'], useProxy = false, sharesUdp = false } = this.#options;
    return new Gatherer({
      plan,
      gate: this.#gate,
      random,
      transactions: this.#transactions,
      tcpTypes,
      useProxy,
      sharesUdp,
      rtoMs: this.#timing.rtoMs,
      events: {
        nextId: () => this.#nextId++,
        onBase: (base) => this.#addBase(base),
        onBaseLost: (base, nowMs) => this.#path.baseLost(base, nowMs),
        onCandidate: (candidate) => output.onCandidate?.(this.#named(candidate)),
        onConnectingTcp: (candidate) => {
          for (const remote of this.#session.remoteCandidates) this.#session.addStream(candidate, remote);
        },
        onAddressLost: (address, nowMs) => {
          for (const base of this.#tcp.closeAt(address)) this.#path.baseLost(base, nowMs);
        },
        onServerError: (error) => output.onServerError?.(error),
        onAddressesWanted: output.onAddressesWanted && (() => output.onAddressesWanted?.()),
        resolve: (name, answer, nowMs) => this.#resolve(name, answer, nowMs),
      },
    });
  }

  #run(nowMs: number): void {
    if (this.#state === 'closed') return;
    this.#runs += 1;
    this.#transactions.handleTimeout(nowMs);
    this.#gathering.handleTimeout(!this.#path.isActiveLive, nowMs);
    this.#path.handleTimeout(nowMs);
    this.#handleTcp(nowMs);
    // Gathering and checks take turns; the pacer lets one of them out at a time (RFC 8445 §14).
    for (; this.#pacer.isOpen(nowMs); this.#isGathersTurn = !this.#isGathersTurn) {
      const started = this.#isGathersTurn
        ? this.#gathering.current.startNext(nowMs) || this.#session.checkNext(nowMs)
        : this.#session.checkNext(nowMs) || this.#gathering.current.startNext(nowMs);
      if (!started) break;
      this.#pacer.spend(nowMs);
    }
    if (this.#role.isControlling) this.#path.considerNomination(nowMs);
    this.#updateState(nowMs);
  }

  /** Of the present generation, as libwebrtc tells it. */
  #named(candidate: LocalCandidate): LocalCandidate {
    return { ...candidate, usernameFragment: this.#session.local.usernameFragment };
  }

  #recheck(nowMs: number): void {
    const session = this.#session;
    this.#gathering.current.seek(nowMs);
    this.#gathering.current.listenAgain(nowMs);
    session.recheckAll();
    for (const local of this.#gathering.current.connecting) {
      for (const remote of session.remoteCandidates) session.addStream(local, remote);
    }
  }

  #handleTcp(nowMs: number): void {
    const { strangers, reopenings } = this.#tcp.takeDue(nowMs);
    for (const id of strangers) this.#closeStream(id, nowMs);
    for (const { local, peer } of reopenings) {
      const remote = this.#session.remoteCandidates.find((each) => each.tcpType === 'so' && sameAddress(each, peer));
      if (remote) this.#session.addStream(local, remote);
    }
  }

  #closeStream(id: number, nowMs: number): void {
    const base = this.#tcp.close(id);
    if (base) this.#path.baseLost(base, nowMs);
  }

  get #session(): Session {
    return this.#path.session;
  }

  get #failAtMs(): number {
    return (this.#checkingSinceMs ?? Number.POSITIVE_INFINITY) + this.#timing.consentExpiryMs;
  }

  #updateState(nowMs: number): void {
    if (this.#gathering.hasBegun && !this.#saidComplete && this.#gathering.current.isComplete) {
      this.#saidComplete = true;
      this.#options.output.onCandidate?.(null);
    }
    const session = this.#session;
    if (this.isWritable) {
      this.#checkingSinceMs = undefined;
      if (!this.#path.isActiveLive) return this.#setState('disconnected');
      return this.#setState(session.selected === this.#path.active ? 'completed' : 'connected');
    }
    if (!session.remote) return;
    const wasConnected = this.#state === 'connected' || this.#state === 'completed' || this.#state === 'disconnected';
    // Whose address went may have another one soon; whose consent expired has waited long enough.
    this.#checkingSinceMs ??= wasConnected ? this.#path.lastAnswerMs : nowMs;
    if (nowMs >= this.#failAtMs || (!wasConnected && this.#isHopeless)) return this.#setState('failed');
    if (wasConnected) this.#setState('disconnected');
    else if (this.#state !== 'failed' || session.hasPendingChecks) this.#setState('checking');
  }

  /**
   * Everything was tried, and nothing more can come. While our answer may still be on its way, and the peer has
   * checked nothing, NATs and relays on its side let nothing of ours in: the controlled side waits (RFC 8863).
   */
  get #isHopeless(): boolean {
    const { remoteEnded, hasPendingChecks, hasHeardPeer } = this.#session;
    if (!this.#role.isControlling && !hasHeardPeer) return false;
    const isOpening = this.#resolving.size > 0 || this.#tcp.isReopening;
    const hasGathered = this.#gathering.hasBegun && this.#gathering.current.isComplete;
    return hasGathered && remoteEnded && !hasPendingChecks && !isOpening;
  }

  #setState(state: IceState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.output.onStateChange?.(state);
  }

  #addBase(base: Base): void {
    this.#session.addBase(base);
    for (const { address } of this.#session.remoteCandidates) this.#gathering.permit(address);
  }

  #remoteCandidateAdded(candidate: Candidate): void {
    this.#gathering.permit(candidate.address);
    for (const local of this.#gathering.current.connecting) this.#session.addStream(local, candidate);
  }

  #receiveFromServer(relay: Relay, bytes: Uint8Array, nowMs: number): boolean {
    const kind = classifyDatagram(bytes);
    if (kind === 'channel-data') {
      const data = relay.unwrapChannelData(bytes);
      if (data) this.#receiveDatagram(relay, relay.id, data.bytes, data.peer, nowMs);
      return true;
    }
    if (kind !== 'stun') return false;
    const message = decodeStun(bytes);
    if (message?.class !== 'indication') return false;
    const data = relay.unwrapIndication(message);
    if (data) this.#receiveDatagram(relay, relay.id, data.bytes, data.peer, nowMs);
    return true;
  }

  #receiveStream(transportId: number, bytes: Uint8Array, remote: TransportAddress, nowMs: number): void {
    const base = this.#tcp.get(transportId);
    const packets = base ? this.#tcp.receive(transportId, bytes) : this.#deframe(transportId, bytes);
    if (!packets) {
      // The stream has lost its frame and cannot be read on.
      this.#gate.request({ type: 'close', id: transportId });
      return this.transportFailed(transportId, nowMs);
    }
    for (const packet of packets) {
      if (base) this.#receiveDatagram(base, transportId, packet, base.onlyPeer, nowMs);
      else this.#receiveOnServerStream(transportId, packet, remote, nowMs);
    }
  }

  /** Packets from a TURN server; undefined when the stream is lost. */
  #deframe(transportId: number, bytes: Uint8Array): Buffer[] | undefined {
    try {
      return this.#deframers.get(transportId)?.push(bytes) ?? [];
    } catch {
      return undefined;
    }
  }

  #receiveOnServerStream(transportId: number, packet: Buffer, remote: TransportAddress, nowMs: number): void {
    const server = this.#gathering.streamServer(transportId) ?? remote;
    const relay = this.#gathering.relayFrom(transportId, server);
    if (relay && this.#receiveFromServer(relay, packet, nowMs)) return;
    const message = decodeStun(packet);
    if (message && this.#transactions.handleResponse(message, transportId, server, nowMs)) this.#run(nowMs);
    else this.#packetsIgnored += 1;
  }

  #receiveDatagram(base: Base, via: number, bytes: Uint8Array, from: TransportAddress, nowMs: number): void {
    const kind = classifyDatagram(bytes);
    if (kind === 'application') {
      const pair = this.#path.find(base, from);
      if (!pair) {
        this.#packetsIgnored += 1;
        return;
      }
      pair.bytesReceived += bytes.length;
      pair.packetsReceived += 1;
      pair.lastReceivedMs = nowMs;
      this.#options.output.onDatagram(bytes);
      return;
    }
    const message = kind === 'stun' ? decodeStun(bytes) : undefined;
    if (!message) this.#packetsIgnored += 1;
    else if (message.class === 'request') {
      const sessions = [this.#session, this.#path.previous];
      if (!this.#responder.handle(sessions, base, message, from, nowMs)) this.#packetsIgnored += 1;
    } else if (message.class === 'indication' || !this.#transactions.handleResponse(message, via, from, nowMs))
      this.#packetsIgnored += 1;
    this.#run(nowMs);
  }

  #resolve(name: string, answer: (addresses: readonly string[], nowMs: number) => void, nowMs: number): void {
    const id = this.#nextId++;
    if (this.#resolving.size >= this.#limits.maxConnections) return answer([], nowMs);
    this.#resolving.set(id, answer);
    if (this.#gate.request({ type: 'resolve', id, name })) return;
    this.#resolving.delete(id);
    answer([], nowMs);
  }

  #assertOpen(): void {
    if (this.#state === 'closed') throw iceError('ICE_CLOSED', 'the agent is closed');
  }
}

/** Throws `ICE_SERVER_INVALID`. */
function planOf({ servers = [], transportPolicy = 'all' }: IceConfiguration): GatheringPlan {
  return { servers: parseServers(servers), relayOnly: transportPolicy === 'relay' };
}

/** One of them, IPv6 if there is any (draft-ietf-mmusic-mdns-ice-candidates §3.2.1), that can do without a zone. */
function addressBehind(addresses: readonly string[]): string | undefined {
  const usable = addresses.filter((address) => familyOf(address) === 4 || !isLinkLocal(address));
  return usable.find((address) => familyOf(address) === 6) ?? usable[0];
}
