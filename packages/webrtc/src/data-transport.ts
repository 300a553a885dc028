/**
 * ICE, DTLS and SCTP on top of each other for one peer connection, with the one
 * timer that DTLS and SCTP share; ICE has its own in its driver.
 *
 *   channel → SCTP packet → DTLS record → selected pair, and back
 *
 * Nothing of SCTP passes before DTLS has checked the peer's fingerprint.
 */

import { isIP } from 'node:net';
import { type Clock, errorText, type Random, type Timer } from '@claw/base';
import { DtlsConnection, type DtlsEvent, type Fingerprint, type Identity, type KeyShare } from '@claw/dtls';
import {
  type IceConfiguration,
  type IceParameters,
  type IceServerError,
  type IceSockets,
  type IceState,
  IceTransport,
  type LocalCandidate,
  MAX_EMBEDDED_BYTES,
  type PairFacts,
} from '@claw/ice';
import {
  type CongestionKind,
  type DataChannel,
  DataChannels,
  type PathLimits,
  SctpAssociation,
  type SctpState,
} from '@claw/sctp';
import { engineError } from './errors.ts';

export interface TransportSettings {
  readonly clock: Clock;
  readonly random: Random;
  readonly identity: Identity;
  readonly keyShare: KeyShare;
  readonly configuration: IceConfiguration;
  readonly sockets: IceSockets;
  /** Local addresses to use. Default: those of the sockets. */
  readonly addresses?: readonly string[] | undefined;
  readonly maxMessageBytes: number;
  readonly congestion?: CongestionKind | undefined;
  readonly dtlsVersions?: readonly ('1.2' | '1.3')[] | undefined;
}

export interface TransportEvents {
  onCandidate(candidate: LocalCandidate | null): void;
  onServerError(error: IceServerError): void;
  onIceState(state: IceState): void;
  /** ICE uses another pair. */
  onPath(): void;
  onDtlsState(): void;
  onSctpState(state: SctpState): void;
  onChannel(channel: DataChannel): void;
  /** It ended by itself. */
  onFailure(error: Error): void;
}

export interface RemoteFacts {
  readonly ice: IceParameters;
  readonly fingerprints: readonly Fingerprint[];
  readonly maxMessageBytes: number;
  readonly sctpPort: number;
  /** 0: what a path carries. */
  readonly maxDatagramBytes: number;
  readonly sctpInit: Buffer | undefined;
}

/** Ethernet, less IPv6, UDP and TURN channel data. */
const PATH_MTU_BYTES = 1432;
/** Within one machine packets are as large as a DTLS record may be. */
export const LOCAL_MTU_BYTES = 16_384;
/** What the largest DTLS 1.2 or 1.3 record adds. */
const DTLS_OVERHEAD_BYTES = 37;
/** There is no media, but werift ends a handshake in which nobody speaks of SRTP. Browsers always do. */
const SRTP_PROFILES = ['SRTP_AEAD_AES_128_GCM', 'SRTP_AES128_CM_HMAC_SHA1_80'] as const;
/** Within one machine the queue is the other process, which is late now and then: more would only wait there. */
const LOCAL_IN_FLIGHT_BYTES = 384 * 1024;
const MIN_DTLS_TIMEOUT_MS = 50;
const MAX_EARLY_DATAGRAMS = 16;

export class DataTransport {
  readonly channels: DataChannels;
  readonly association: SctpAssociation;
  readonly #settings: TransportSettings;
  readonly #events: TransportEvents;
  #configuration: IceConfiguration;
  #ice: IceTransport | undefined;
  #dtls: DtlsConnection | undefined;
  #dtlsRole: 'client' | 'server' | undefined;
  #remote: RemoteFacts | undefined;
  /** The pair in use. */
  #path: PairFacts | undefined;
  #pathMtuBytes = PATH_MTU_BYTES;
  /** Of the largest path so far: what SCTP has cut for that one is sent on a smaller one too, by fragments of IP. */
  #mtuBytes = PATH_MTU_BYTES;
  #isAssociated = false;
  /** Datagrams that came before the role was known. */
  readonly #early: Buffer[] = [];
  /** Packets of SCTP that came before the answer to our own check, which is what shows the path. */
  readonly #earlyPackets: Buffer[] = [];
  #timer: Timer | undefined;
  #timerAtMs = Infinity;
  #isFlushing = false;
  #isPathSilent = false;
  #isClosed = false;

  constructor(settings: TransportSettings, events: TransportEvents) {
    this.#settings = settings;
    this.#events = events;
    this.#configuration = settings.configuration;
    this.association = new SctpAssociation({
      random: settings.random,
      maxMessageBytes: settings.maxMessageBytes,
      maxPacketBytes: LOCAL_MTU_BYTES - DTLS_OVERHEAD_BYTES,
      heartbeatIntervalMs: 0, // ICE asks after the path
      ...(settings.congestion ? { congestion: settings.congestion } : {}),
      send: (packet) => this.#sendPacket(packet),
    });
    this.channels = new DataChannels(this.association, {
      onChannel: (channel) => events.onChannel(channel),
      onState: (state, error) => {
        events.onSctpState(state);
        // An abort is how the peer closes; DTLS says so next.
        if (error && error.code !== 'SCTP_ABORTED') this.#later(() => this.#fail(error));
      },
    });
  }

  /** Undefined until {@link open}. */
  get ice(): IceTransport | undefined {
    return this.#ice;
  }

  /** ICE begins with the first description, which decides who controls it. Later calls give the same. */
  open(isControlling: boolean, localParameters: IceParameters): IceTransport {
    if (this.#ice) return this.#ice;
    const { clock, random, sockets, addresses } = this.#settings;
    this.#ice = new IceTransport({
      controlling: isControlling,
      localParameters,
      clock,
      random,
      sockets,
      ...this.#configuration,
      ...(addresses ? { addresses } : {}),
      events: {
        onDatagram: (bytes) => this.#receive(bytes),
        onCandidate: (candidate) => this.#events.onCandidate(candidate),
        onServerError: (error) => this.#later(() => this.#events.onServerError(error)),
        onStateChange: (state) => this.#later(() => this.#onIceState(state)),
        onSelectedPair: (pair) => this.#later(() => this.#usePath(pair)),
      },
    });
    return this.#ice;
  }

  /** For the next gathering. Throws `ICE_SERVER_INVALID`. */
  configure(configuration: IceConfiguration): void {
    this.#configuration = configuration;
    this.#ice?.act((agent) => agent.configure(configuration));
  }

  get dtlsState(): DtlsConnection['state'] {
    return this.#dtls?.state ?? 'new';
  }

  get peerCertificate(): Buffer | undefined {
    return this.#dtls?.negotiated?.peerCertificate;
  }

  /** What DTLS agreed on, once it did. */
  get security():
    | { readonly version: '1.2' | '1.3'; readonly cipher: string; readonly role: 'client' | 'server' }
    | undefined {
    const negotiated = this.#dtls?.negotiated;
    if (!negotiated || !this.#dtlsRole) return undefined;
    return { version: negotiated.version, cipher: negotiated.cipher, role: this.#dtlsRole };
  }

  get nowMs(): number {
    return this.#settings.clock.monotonicMs();
  }

  /** What the peer's description says, and who begins the handshake; other facts after an ICE restart, and the same role. */
  setRemote(remote: RemoteFacts, role: 'client' | 'server'): void {
    this.#remote = remote;
    this.channels.maxSendBytes = remote.maxMessageBytes;
    this.association.remotePort = remote.sctpPort;
    // Nobody else says how large a datagram it takes.
    this.association.sparesAcks = remote.maxDatagramBytes > 0;
    if (this.#dtlsRole) this.#dtls?.setRemoteFingerprints(remote.fingerprints, this.nowMs);
    else {
      this.#dtlsRole = role;
      this.channels.isDtlsClient = role === 'client';
      // Before the first check, which may carry the first flight.
      this.#startDtls();
    }
    this.#ice?.act((agent, nowMs) => agent.setRemoteParameters(remote.ice, nowMs));
  }

  /** After anything was done to a channel or the association: sends, and sets the timer anew. */
  touch(): void {
    if (this.#isFlushing || this.#isClosed) return;
    this.#isFlushing = true;
    // One flush for all that is sent in this turn.
    queueMicrotask(() => {
      this.#isFlushing = false;
      if (this.#isClosed) return;
      this.association.flush(this.nowMs);
      // ICE looks at a dead path rarely; who wants to send has it look now.
      if (this.#isPathSilent) this.#ice?.act((agent, nowMs) => agent.probe(nowMs));
      this.#arm();
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.association.abort(this.nowMs);
    this.#dtls?.close();
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#ice?.close();
  }

  /** What ICE tells it may not be answered with a call into ICE from within. */
  #later(action: () => void): void {
    queueMicrotask(() => {
      if (!this.#isClosed) action();
    });
  }

  /** With a pair to send on; or before there is one, if the first flights can ride in its checks. */
  #startDtls(): void {
    const agent = this.#ice?.agent;
    const remote = this.#remote;
    if (!this.#dtlsRole || !remote || this.#dtls || !agent) return;
    if (!this.#path && !remote.ice.canEmbed) return;
    this.#dtls = new DtlsConnection({
      role: this.#dtlsRole,
      identity: this.#settings.identity,
      keyShare: this.#settings.keyShare,
      remoteFingerprints: remote.fingerprints,
      addressProven: true,
      srtpProfiles: SRTP_PROFILES,
      ...(this.#settings.dtlsVersions ? { versions: this.#settings.dtlsVersions } : {}),
      mtuBytes: MAX_EMBEDDED_BYTES,
      random: this.#settings.random,
      send: (datagram) => {
        const isSent = agent.sendDatagram(datagram, this.nowMs);
        // An alert, when the first flight of the peer came in a check.
        if (!isSent && this.#dtls?.state !== 'connected') agent.sendFlight([datagram], this.nowMs);
      },
      sendFlight: (datagrams) => agent.sendFlight(datagrams, this.nowMs),
      onEvent: (event) => this.#onDtlsEvent(event),
      onApplicationData: (bytes) => {
        if (this.#isAssociated) this.association.receive(bytes, this.nowMs);
        else if (this.#earlyPackets.length < MAX_EARLY_DATAGRAMS) this.#earlyPackets.push(bytes);
      },
    });
    this.#fitPath();
    this.#dtls.start(this.nowMs);
    for (const datagram of this.#early.splice(0)) this.#dtls.receive(datagram, this.nowMs);
    this.#arm();
    this.#events.onDtlsState();
  }

  #onDtlsEvent(event: DtlsEvent): void {
    if (event.type === 'connected') {
      // The last flight is the client's in 1.3 and the server's in 1.2.
      const isFlightDue = (this.#dtlsRole === 'client') === (this.#dtls?.negotiated?.version === '1.3');
      this.#ice?.agent.completeFlights(isFlightDue);
      this.#events.onDtlsState();
      this.#associate();
    }
    if (event.type === 'failed') this.#later(() => this.#fail(event.error));
    if (event.type === 'closed') {
      this.#later(() => {
        this.#events.onDtlsState();
        void this.close();
      });
    }
  }

  #onIceState(state: IceState): void {
    const wasSilent = this.#isPathSilent;
    this.#isPathSilent = state === 'disconnected' || state === 'failed';
    if (wasSilent && (state === 'connected' || state === 'completed')) {
      this.association.pathAnswers(this.nowMs);
      this.#arm();
    }
    this.#events.onIceState(state);
  }

  /** ICE has found a path, or moved to another. */
  #usePath(pair: PairFacts): void {
    const isMove = this.#isAssociated;
    this.#path = pair;
    this.#startDtls();
    this.#fitPath();
    // Ours write the length of every record.
    if (this.#remote && this.#remote.maxDatagramBytes > 0) this.#ice?.allowJoining();
    if (isMove) this.association.pathChanged(this.nowMs, this.#pathLimits);
    else this.#associate();
    this.#arm();
    this.#events.onPath();
  }

  /** Over a path that DTLS protects. */
  #associate(): void {
    if (this.#isClosed || this.#isAssociated || !this.#path || this.#dtls?.state !== 'connected') return;
    this.#isAssociated = true;
    this.association.pathChanged(this.nowMs, this.#pathLimits);
    this.association.connect(this.nowMs, this.#remote?.sctpInit);
    for (const packet of this.#earlyPackets.splice(0)) this.association.receive(packet, this.nowMs);
    this.#arm();
  }

  #fitPath(): void {
    const path = this.#path;
    if (!path || !this.#remote) return;
    const localBytes = Math.min(this.#remote.maxDatagramBytes, LOCAL_MTU_BYTES);
    this.#pathMtuBytes = isWithinMachine(path) ? Math.max(PATH_MTU_BYTES, localBytes) : PATH_MTU_BYTES;
    this.#mtuBytes = Math.max(this.#mtuBytes, this.#pathMtuBytes);
    this.#dtls?.setPath({
      mtuBytes: this.#mtuBytes,
      initialTimeoutMs: Math.max(MIN_DTLS_TIMEOUT_MS, 2 * (path.roundTripMs ?? MIN_DTLS_TIMEOUT_MS)),
    });
  }

  get #pathLimits(): PathLimits {
    const isLocal = this.#path !== undefined && isWithinMachine(this.#path);
    return {
      maxPacketBytes: this.#maxPacketBytes,
      ...(isLocal ? { maxInFlightBytes: LOCAL_IN_FLIGHT_BYTES } : {}),
    };
  }

  get #maxPacketBytes(): number {
    if (this.#dtls?.state !== 'connected') return PATH_MTU_BYTES - DTLS_OVERHEAD_BYTES;
    return this.#dtls.maxApplicationDataBytes - (this.#mtuBytes - this.#pathMtuBytes);
  }

  #receive(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    const dtls = this.#dtls;
    if (dtls) {
      // There may be many records in it.
      const { nowMs } = this;
      this.association.together(nowMs, () => dtls.receive(bytes, nowMs));
      this.#arm();
    } else if (this.#early.length < MAX_EARLY_DATAGRAMS) {
      this.#early.push(Buffer.from(bytes));
      this.#later(() => this.#startDtls());
    }
  }

  #sendPacket(packet: Buffer): void {
    const dtls = this.#dtls;
    if (dtls?.state !== 'connected' || packet.length > dtls.maxApplicationDataBytes) return; // as lost on the way
    dtls.sendApplicationData(packet);
  }

  #arm(): void {
    if (this.#isClosed) return;
    const nextMs = Math.min(this.#dtls?.deadlineMs ?? Infinity, this.association.deadlineMs);
    // A timer that fires early looks again; one that fires late would be wrong.
    if (this.#timer && this.#timerAtMs <= nextMs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (nextMs === Infinity) return;
    this.#timerAtMs = nextMs;
    this.#timer = this.#settings.clock.setTimer(Math.max(0, nextMs - this.nowMs), () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#timerAtMs = Infinity;
    const { nowMs } = this;
    if ((this.#dtls?.deadlineMs ?? Infinity) <= nowMs) this.#dtls?.handleTimeout(nowMs);
    if (this.association.deadlineMs <= nowMs) {
      const { timeouts } = this.association;
      this.association.handleTimeout(nowMs);
      // ICE looks at an idle path rarely; who misses answers has it look now.
      if (this.association.timeouts > timeouts) this.#ice?.act((agent) => agent.probe(nowMs));
    }
    this.#arm();
  }

  /** Closes too, so that the peer hears of it, at the latest when nobody answers its checks. */
  #fail(cause: Error): void {
    this.#events.onFailure(engineError('ENGINE_FAILED', `the connection ended: ${errorText(cause)}`, { cause }));
    void this.close();
  }
}

function isWithinMachine({ local, remote }: PairFacts): boolean {
  const isLoopback = (address: string) => isIP(address) !== 0 && (address.startsWith('127.') || address === '::1');
  // Of two relays on one server, or two reflexive addresses of one NAT, the address says nothing.
  if (local.type !== 'host' || remote.type === 'relay') return false;
  return local.address === remote.address || (isLoopback(local.address) && isLoopback(remote.address));
}
