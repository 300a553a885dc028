/**
 * Runs a handshake: hands messages in order to the flow of its role and version,
 * sends the flights that the flow queues, and keeps acknowledgements (RFC 9147 §5.8,
 * §7). A flow is a generator that yields what it waits for; an error in it ends the
 * connection, so no later message can be accepted after a failed check.
 */

import { encodeAck, PendingAcks, type RecordNumber } from './acknowledgement.ts';
import type { AmplificationLimit } from './amplification.ts';
import type { Fingerprint } from './certificate.ts';
import { fault } from './errors.ts';
import { type FlightItem, FlightSender } from './flight-sender.ts';
import { type Fragment, type HandshakeMessage, parseFragments } from './handshake-message.ts';
import type { ResolvedOptions } from './options.ts';
import { Reassembler } from './reassembly.ts';
import type { RecordLayer } from './record-layer.ts';
import type { RecordOpener, RecordSealer } from './record-protection.ts';
import { contentType, type DtlsVersion } from './registry.ts';
import type { Session } from './session.ts';
import { Transcript } from './transcript.ts';

/** The message types that may come next, or the fingerprints to check the peer's certificate by. */
export type Want = readonly number[] | 'fingerprints';
export type Flow<Result = void> = Generator<Want, Result, HandshakeMessage | undefined>;

/** Bytes that are overwritten, or what overwrites its own. */
export type Secret = Buffer | { wipe(): void };

export interface HandshakeHost {
  /** A reader was installed: records that could not be read before may be now. */
  onReaderInstalled(): void;
  onComplete(session: Session): void;
  /** A message of 1.3 after the handshake. */
  onPostHandshake(message: HandshakeMessage): void;
  /** The peer has everything of the last flight. */
  onFlightAcknowledged(): void;
  sendRecord(type: number, content: Buffer): void;
}

export class Handshake {
  readonly options: ResolvedOptions;
  readonly records: RecordLayer;
  readonly limit: AmplificationLimit;
  readonly transcript = new Transcript();
  /** The time of the call that is being handled. */
  nowMs = 0;
  version: DtlsVersion | undefined;
  fingerprints: readonly Fingerprint[] | undefined;
  /** Set with the peer's first certificate. */
  peerCertificate: Buffer | undefined;

  readonly #host: HandshakeHost;
  readonly #flights: FlightSender;
  readonly #acks = new PendingAcks();
  readonly #reassembler = new Reassembler();
  #flow: Flow | undefined;
  #want: Want = [];
  #sendSequence = 0;
  #queued: FlightItem[] = [];
  /** Number of the message that ends the peer's flight which our last one answers. */
  #answers = -1;
  #changeCipherSpecSeen = false;
  #pendingOpener: RecordOpener | undefined;
  #secrets: Secret[] = [];

  constructor(options: ResolvedOptions, records: RecordLayer, limit: AmplificationLimit, host: HandshakeHost) {
    const { sendFlight, mtuBytes, initialTimeoutMs } = options;
    this.options = options;
    this.records = records;
    this.limit = limit;
    this.fingerprints = options.remoteFingerprints;
    this.#host = host;
    this.#flights = new FlightSender({ records, limit, sendFlight, mtuBytes, initialTimeoutMs });
  }

  get isComplete(): boolean {
    return this.#flow === undefined;
  }

  /** True while the peer lacks a part of our last flight. */
  get isOutstanding(): boolean {
    return this.#flights.isOutstanding;
  }

  get deadlineMs(): number {
    return Math.min(this.#flights.deadlineMs ?? Infinity, this.#acks.deadlineMs ?? Infinity);
  }

  set initialTimeoutMs(timeoutMs: number) {
    this.#flights.initialTimeoutMs = timeoutMs;
  }

  get timeoutMs(): number {
    return this.#flights.timeoutMs;
  }

  start(flow: Flow): void {
    this.#flow = flow;
    this.#resume(undefined);
  }

  /** Goes on when the fingerprints that it waited for have come. */
  advance(): void {
    for (;;) {
      if (this.#flow && this.#want === 'fingerprints') {
        if (!this.fingerprints) return;
        this.#resume(undefined);
        continue;
      }
      const message = this.#reassembler.take();
      if (!message) return;
      if (!this.#flow) {
        this.#host.onPostHandshake(message);
      } else if (this.#want.includes(message.type as never)) {
        this.#resume(message);
      } else {
        throw fault('DTLS_UNEXPECTED_MESSAGE', `handshake message ${message.type} came out of turn`);
      }
    }
  }

  onHandshakeRecord(epoch: number, sequence: number, content: Buffer): void {
    let useful = false;
    let repeated = false;
    for (const fragment of fragmentsOf(content, epoch)) {
      const fate = this.#reassembler.add(fragment, epoch);
      if (fate === 'kept') useful = true;
      if (fate === 'duplicate' && fragment.sequence === this.#answers) repeated ||= endsMessage(fragment);
      if (fate === 'duplicate' && (this.isComplete || !this.#flights.isOutstanding)) useful = true;
    }
    const acknowledges = useful && epoch > 0 && this.version === '1.3';
    if (acknowledges) this.#acks.add(epoch, sequence);
    this.advance();
    if (repeated) this.#flights.onPeerRepeats(this.nowMs);
    if (!acknowledges || this.#acks.isEmpty) return;
    // Complete, or waiting: nothing else tells the peer to stop repeating. Otherwise our next flight will.
    if (this.isComplete) this.#sendAcks();
    else this.#acks.deadlineMs ??= this.nowMs + this.#flights.timeoutMs / 4;
  }

  onAck(numbers: readonly RecordNumber[]): void {
    if (this.#flights.acknowledge(numbers, this.nowMs)) this.#host.onFlightAcknowledged();
  }

  /** A ChangeCipherSpec of 1.2; in 1.3 it means nothing. */
  onChangeCipherSpec(): void {
    this.#changeCipherSpecSeen = true;
    this.#installPending();
  }

  onTimeout(): void {
    if (this.#acks.deadlineMs !== undefined && this.nowMs >= this.#acks.deadlineMs) this.#sendAcks();
    this.#flights.onTimeout(this.nowMs);
  }

  /** Sends what the amplification limit held back. */
  resumeSending(): void {
    this.#flights.resume(this.nowMs);
  }

  /** Adds a message to the transcript, during the handshake, and to the flight that {@link flush} sends. */
  queue(type: number, body: Buffer, epoch: number): void {
    const message = { type, sequence: this.#sendSequence, body };
    this.#sendSequence += 1;
    if (this.#flow) this.transcript.add(message);
    this.#queued.push({ epoch, message });
  }

  queueChangeCipherSpec(): void {
    this.#queued.push({ epoch: 0, message: undefined });
  }

  /** Sends the queued flight in place of the last one. `awaitsReply` is false for one that only a repetition answers. */
  flush(awaitsReply = true): void {
    const items = this.#queued;
    this.#queued = [];
    // A flight of the handshake acknowledges the one that it answers; a KeyUpdate does not.
    if (this.#flow) this.#acks.clear();
    this.#answers = this.#reassembler.next - 1;
    this.#flights.begin(items, this.nowMs, awaitsReply);
  }

  /** Stops repeating: the peer has answered. */
  settle(): void {
    this.#flights.clear();
  }

  installWriter(epoch: number, sealer: RecordSealer): void {
    this.records.installWriter(epoch, sealer);
    this.records.writeEpoch = epoch;
  }

  /** Handshake messages of an earlier epoch are refused from now on. */
  installReader(epoch: number, opener: RecordOpener): void {
    this.#reassembler.requireEpoch(epoch);
    this.records.installReader(epoch, '1.3', opener);
    this.#host.onReaderInstalled();
  }

  /** As {@link installReader} for the one epoch of 1.2, whose ChangeCipherSpec must have come first. */
  installReader12(opener: RecordOpener): void {
    this.#reassembler.requireEpoch(1);
    this.#pendingOpener = opener;
    this.#installPending();
  }

  /** Takes `secrets` into care: they are wiped if the handshake fails. */
  guard(...secrets: Secret[]): void {
    this.#secrets.push(...secrets);
  }

  /** Ends the handshake; the session owns what secrets it needs. */
  complete(session: Session): void {
    this.#secrets = [];
    this.options.keyShare?.wipe();
    this.transcript.forgetContent();
    this.#host.onComplete(session);
  }

  clear(): void {
    for (const secret of this.#secrets) {
      if (Buffer.isBuffer(secret)) secret.fill(0);
      else secret.wipe();
    }
    this.#secrets = [];
    this.options.keyShare?.wipe();
    this.#flow = undefined;
    this.#pendingOpener?.wipe();
    this.#pendingOpener = undefined;
    this.#queued = [];
    this.#acks.clear();
    this.#flights.clear();
    this.#reassembler.clear();
    this.transcript.forgetContent();
  }

  #resume(message: HandshakeMessage | undefined): void {
    const step = this.#flow?.next(message);
    if (!step) return;
    if (step.done) this.#flow = undefined;
    else this.#want = step.value;
    // Whoever waits for a fingerprint was answered, and shall not repeat itself meanwhile.
    if (!step.done && step.value === 'fingerprints') this.#flights.clear();
  }

  #installPending(): void {
    if (!this.#pendingOpener || !this.#changeCipherSpecSeen) return;
    this.records.installReader(1, '1.2', this.#pendingOpener);
    this.#pendingOpener = undefined;
    this.#host.onReaderInstalled();
  }

  #sendAcks(): void {
    const numbers = this.#acks.sorted();
    this.#acks.clear();
    if (numbers.length > 0) this.#host.sendRecord(contentType.ack, encodeAck(numbers));
  }
}

/** The fragments of a record; none of one in the clear that is malformed, for anybody can send that. */
function fragmentsOf(content: Buffer, epoch: number): Fragment[] {
  try {
    return parseFragments(content);
  } catch (error) {
    if (epoch > 0) throw error;
    return [];
  }
}

function endsMessage({ offset, bytes, length }: Fragment): boolean {
  return offset + bytes.length === length;
}
