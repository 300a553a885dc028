/**
 * One DTLS connection as a state machine without I/O (RFC 9147, RFC 6347): it takes
 * datagrams and the time, and gives datagrams, events, application data and the next
 * deadline. Application data passes only when both sides have proven the certificate
 * that its fingerprint announces; after any failure nothing passes, and keys are gone.
 */

import { asBuffer } from '@claw/base';
import { parseAck } from './acknowledgement.ts';
import { AmplificationLimit } from './amplification.ts';
import { checkFingerprints, type Fingerprint, matchesFingerprint } from './certificate.ts';
import { clientFlow } from './client-flow.ts';
import {
  alertLevel,
  alertName,
  alertOf,
  closeNotify,
  type DtlsError,
  fault,
  noRenegotiation,
  toDtlsError,
  userCanceled,
} from './errors.ts';
import { Handshake } from './handshake.ts';
import type { HandshakeMessage } from './handshake-message.ts';
import { HeldRecords } from './held-records.ts';
import { KeyUpdater } from './key-updater.ts';
import {
  checkMtu,
  type DtlsEvent,
  type DtlsOptions,
  type NegotiatedFacts,
  type ResolvedOptions,
  resolveOptions,
} from './options.ts';
import { RecordLayer } from './record-layer.ts';
import { contentType, handshakeType } from './registry.ts';
import { serverFlow } from './server-flow.ts';
import type { Session } from './session.ts';

export type DtlsState = 'new' | 'handshaking' | 'connected' | 'closed' | 'failed';

/** No record of ours is longer than this without its content. */
const ALERT_BYTES = 2;

export class DtlsConnection {
  readonly #options: ResolvedOptions;
  readonly #records: RecordLayer;
  readonly #limit: AmplificationLimit;
  readonly #handshake: Handshake;
  /** Records of an epoch whose keys are still to come. */
  readonly #unreadable = new HeldRecords();
  /** Application data that arrived before the handshake's end. */
  readonly #early = new HeldRecords();
  readonly #sink = {
    onRecord: this.#onRecord.bind(this),
    onUnreadable: (record: Buffer) => {
      if (this.#state === 'handshaking') this.#unreadable.add(record);
    },
    onForgeryLimit: (epoch: number) =>
      this.#fail(fault('DTLS_KEY_EXHAUSTED', `more records of epoch ${epoch} were forged than its key may see`)),
  };
  #mtuBytes: number;
  #state: DtlsState = 'new';
  #session: Session | undefined;
  #updater: KeyUpdater | undefined;
  #events: DtlsEvent[] = [];
  #readerInstalled = false;
  #giveUpMs = Infinity;
  /** An alert that nobody signed; it counts when nothing better comes until then. */
  #plainAlert: { readonly description: number; readonly dueMs: number } | undefined;

  /** @throws RangeError or TypeError for options that cannot be used. */
  constructor(options: DtlsOptions) {
    this.#options = resolveOptions(options);
    this.#mtuBytes = this.#options.mtuBytes;
    this.#records = new RecordLayer(this.#options.keyLimits);
    this.#limit = new AmplificationLimit(this.#options.role === 'client' || this.#options.addressProven);
    this.#handshake = new Handshake(this.#options, this.#records, this.#limit, {
      onReaderInstalled: () => {
        this.#readerInstalled = true;
      },
      onComplete: (session) => this.#onComplete(session),
      onPostHandshake: (message) => this.#onPostHandshake(message),
      onFlightAcknowledged: () => this.#onFlightAcknowledged(),
      sendRecord: (type, content) => this.#sendRecord(type, content),
    });
  }

  get state(): DtlsState {
    return this.#state;
  }

  /** Set once connected, and kept after the end. */
  get negotiated(): NegotiatedFacts | undefined {
    return this.#session?.facts;
  }

  /** When {@link handleTimeout} is due; `undefined` while nothing is. */
  get deadlineMs(): number | undefined {
    if (!this.#isOpen) return undefined;
    const deadline = Math.min(this.#handshake.deadlineMs, this.#giveUpMs, this.#plainAlert?.dueMs ?? Infinity);
    return deadline === Infinity ? undefined : deadline;
  }

  /** Most bytes that {@link sendApplicationData} takes; 0 unless connected. */
  get maxApplicationDataBytes(): number {
    if (this.#state !== 'connected') return 0;
    return this.#mtuBytes - this.#records.overheadBytes(this.#records.writeEpoch);
  }

  /** Begins: as client with a ClientHello, as server with waiting for one. */
  start(nowMs: number): void {
    if (this.#state !== 'new') throw new TypeError(`the connection is ${this.#state}, not new`);
    this.#state = 'handshaking';
    this.#handshake.nowMs = nowMs;
    this.#giveUpMs = nowMs + this.#options.handshakeTimeoutMs;
    this.#guard(() =>
      this.#handshake.start(
        this.#options.role === 'client' ? clientFlow(this.#handshake) : serverFlow(this.#handshake),
      ),
    );
    this.#emit();
  }

  /** Takes a datagram of the peer's for its own: what it protects may be laid open in its place. */
  receive(datagram: Uint8Array, nowMs: number): void {
    if (!this.#isOpen) return;
    this.#handshake.nowMs = nowMs;
    this.#limit.received(datagram.length);
    this.#records.read(asBuffer(datagram), this.#sink);
    this.#readHeld();
    if (!this.#limit.proven || this.#state === 'handshaking') this.#guard(() => this.#handshake.resumeSending());
    this.#emit();
  }

  handleTimeout(nowMs: number): void {
    if (!this.#isOpen) return;
    this.#handshake.nowMs = nowMs;
    const alert = this.#plainAlert;
    if (alert && nowMs >= alert.dueMs) {
      this.#fail(fault('DTLS_PEER_ALERT', `the peer ended the handshake: ${alertName(alert.description)}`));
    } else if (nowMs >= this.#giveUpMs) {
      this.#fail(fault('DTLS_TIMEOUT', `the peer did not answer within ${this.#options.handshakeTimeoutMs} ms`));
    } else {
      this.#guard(() => this.#handshake.onTimeout());
    }
    this.#emit();
  }

  /**
   * Says what the peer's certificate must hash to. A handshake that waits goes on; one that is
   * done with another certificate fails. `nowMs` defaults to the time of the last call.
   */
  setRemoteFingerprints(fingerprints: readonly Fingerprint[], nowMs = this.#handshake.nowMs): void {
    const checked = checkFingerprints(fingerprints);
    this.#handshake.fingerprints = checked;
    if (!this.#isOpen) return;
    this.#handshake.nowMs = nowMs;
    const { negotiated } = this;
    if (negotiated && !matchesFingerprint(negotiated.peerCertificate, checked)) {
      this.#fail(fault('DTLS_FINGERPRINT_MISMATCH', "the peer's certificate is not the one that is announced now"));
    } else {
      this.#guard(() => this.#handshake.advance());
      this.#readHeld();
    }
    this.#emit();
  }

  /**
   * For a handshake that began before its path was known: the largest datagram of application data,
   * and the first retransmission timeout of flights to come. @throws RangeError
   */
  setPath({ mtuBytes, initialTimeoutMs }: { readonly mtuBytes: number; readonly initialTimeoutMs: number }): void {
    this.#mtuBytes = checkMtu(mtuBytes);
    this.#handshake.initialTimeoutMs = initialTimeoutMs;
  }

  /**
   * Sends one record in a datagram of its own; `bytes` may be used again at once.
   * @throws ClawError `DTLS_NOT_CONNECTED`; `DTLS_KEY_EXHAUSTED` in 1.2; RangeError when it is too long.
   */
  sendApplicationData(bytes: Uint8Array): void {
    if (this.#state !== 'connected') throw this.#notConnected();
    const epoch = this.#records.writeEpoch;
    const length = bytes.length + this.#records.overheadBytes(epoch);
    if (length > this.#mtuBytes) {
      throw new RangeError(`${bytes.length} bytes are more than the ${this.maxApplicationDataBytes} of a record`);
    }
    if (this.#records.nearsLimit) this.#renewKeys();
    const datagram = Buffer.allocUnsafe(length);
    try {
      this.#records.write(epoch, contentType.applicationData, bytes, datagram, 0);
    } catch (error) {
      this.#fail(error);
      this.#emit();
      throw error;
    }
    this.#options.send(datagram);
  }

  /** RFC 5705, RFC 8446 §7.5. @throws ClawError `DTLS_NOT_CONNECTED` */
  exportKeyingMaterial(label: string, length: number, context?: Uint8Array): Buffer {
    if (this.#state !== 'connected' || !this.#session) throw this.#notConnected();
    return this.#session.exportKeys(label, length, context);
  }

  /** Renews the keys of both directions, in 1.3. @throws ClawError `DTLS_NOT_CONNECTED`; TypeError in 1.2 */
  updateKeys(nowMs = this.#handshake.nowMs): void {
    if (this.#state !== 'connected') throw this.#notConnected();
    if (!this.#updater) throw new TypeError('DTLS 1.2 has no key update');
    this.#handshake.nowMs = nowMs;
    this.#renewKeys();
    this.#emit();
  }

  /** Tells the peer and forgets the keys. Idempotent. */
  close(): void {
    if (this.#isOpen) this.#trySendAlert(alertLevel.warning, closeNotify);
    if (this.#state === 'closed' || this.#state === 'failed') return;
    this.#end('closed');
    this.#events.push({ type: 'closed' });
    this.#emit();
  }

  get #isOpen(): boolean {
    return this.#state === 'handshaking' || this.#state === 'connected';
  }

  #onRecord(type: number, epoch: number, sequence: number, content: Buffer): void {
    if (!this.#isOpen) return;
    if (epoch > 0) this.#limit.prove();
    // What comes in the clear after the handshake is late, or somebody else's.
    else if (this.#state === 'connected') return;
    if (type === contentType.applicationData) this.#onApplicationData(epoch, content);
    else this.#guard(() => this.#onControlRecord(type, epoch, sequence, content));
  }

  #onApplicationData(epoch: number, content: Buffer): void {
    if (epoch !== 1 && epoch < 3) return;
    if (this.#state !== 'connected') return this.#early.add(content);
    // The peer has our last flight of 1.2, for it would not send otherwise.
    if (epoch === 1) this.#handshake.settle();
    if (this.#events.length > 0) this.#emit();
    this.#options.onApplicationData(content);
  }

  #onControlRecord(type: number, epoch: number, sequence: number, content: Buffer): void {
    const { version } = this.#handshake;
    if (type === contentType.handshake) {
      this.#plainAlert = undefined;
      this.#handshake.onHandshakeRecord(epoch, sequence, content);
    } else if (type === contentType.alert) {
      this.#onAlert(epoch, content);
    } else if (type === contentType.ack && epoch > 1) {
      this.#handshake.onAck(parseAck(content));
    } else if (type === contentType.changeCipherSpec && epoch === 0 && version === '1.2') {
      if (content.length === 1 && content[0] === 1) this.#handshake.onChangeCipherSpec();
    }
  }

  #onAlert(epoch: number, content: Buffer): void {
    const [level, description = 0] = content;
    if (content.length !== ALERT_BYTES) {
      if (epoch > 0) throw fault('DTLS_MALFORMED', 'an alert has not two bytes');
      return;
    }
    const isFatal = level === alertLevel.fatal || (this.#handshake.version === '1.3' && description !== userCanceled);
    if (description !== closeNotify && !isFatal) return;
    if (epoch === 0) {
      // Anybody can send this. Who really failed will not answer our next repetition either.
      const dueMs = this.#handshake.nowMs + this.#handshake.timeoutMs;
      this.#plainAlert ??= { description, dueMs };
    } else if (description === closeNotify) {
      this.close();
    } else {
      throw fault('DTLS_PEER_ALERT', `the peer ended the connection: ${alertName(description)}`);
    }
  }

  #onComplete(session: Session): void {
    this.#session = session;
    if (session.traffic) this.#updater = new KeyUpdater(this.#handshake, session);
    this.#state = 'connected';
    this.#giveUpMs = Infinity;
    if (session.traffic) this.#renewGiveUp();
    this.#events.push({ type: 'connected', negotiated: session.facts });
  }

  #renewKeys(): void {
    this.#guard(() => this.#updater?.request());
    this.#renewGiveUp();
  }

  #onPostHandshake({ type, body }: HandshakeMessage): void {
    if (!this.#updater) {
      this.#trySendAlert(alertLevel.warning, noRenegotiation);
    } else if (type === handshakeType.keyUpdate) {
      this.#updater.onMessage(body);
      this.#renewGiveUp();
    } else if (type !== handshakeType.newSessionTicket || this.#options.role === 'server') {
      throw fault('DTLS_UNEXPECTED_MESSAGE', `handshake message ${type} came after the handshake`);
    }
  }

  #onFlightAcknowledged(): void {
    if (!this.#updater) return;
    const epoch = this.#updater.onAcknowledged();
    if (epoch !== undefined) this.#events.push({ type: 'keys-updated', epoch });
    this.#giveUpMs = Infinity;
    this.#renewGiveUp();
  }

  /** Whatever is on its way after the handshake must arrive in the time that a handshake has. */
  #renewGiveUp(): void {
    if (this.#state !== 'connected') return;
    if (!this.#handshake.isOutstanding) this.#giveUpMs = Infinity;
    else if (this.#giveUpMs === Infinity) this.#giveUpMs = this.#handshake.nowMs + this.#options.handshakeTimeoutMs;
  }

  #readHeld(): void {
    while (this.#readerInstalled) {
      this.#readerInstalled = false;
      for (const record of this.#unreadable.takeAll()) this.#records.read(record, this.#sink);
    }
  }

  /** Runs a step of the handshake; what it throws ends the connection. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(cause: unknown): void {
    if (!this.#isOpen) return;
    const error: DtlsError = toDtlsError(cause);
    const isHeard = error.code !== 'DTLS_TIMEOUT' && error.code !== 'DTLS_PEER_ALERT';
    if (isHeard) this.#trySendAlert(alertLevel.fatal, alertOf(error.code));
    this.#end('failed');
    this.#events.push({ type: 'failed', error });
  }

  #end(state: 'closed' | 'failed'): void {
    this.#state = state;
    this.#handshake.clear();
    this.#records.wipe();
    this.#updater?.wipe();
    this.#session?.wipe();
    this.#unreadable.takeAll();
    this.#early.takeAll();
  }

  #trySendAlert(level: number, description: number): void {
    try {
      this.#sendRecord(contentType.alert, Buffer.from([level, description]));
    } catch {
      // The keys are used up; the peer will notice the silence.
    }
  }

  #sendRecord(type: number, content: Buffer): void {
    const epoch = this.#records.writeEpoch;
    const length = content.length + this.#records.overheadBytes(epoch);
    if (length > this.#limit.allowance) return;
    const datagram = Buffer.allocUnsafe(length);
    this.#records.write(epoch, type, content, datagram, 0);
    this.#limit.sent(length);
    this.#options.send(datagram);
  }

  /** Hands out events, and after `connected` the application data that came too early. */
  #emit(): void {
    for (let event = this.#events.shift(); event; event = this.#events.shift()) {
      this.#options.onEvent(event);
      if (event.type !== 'connected') continue;
      for (const bytes of this.#early.takeAll()) {
        if (this.#state === 'connected') this.#options.onApplicationData(bytes);
      }
    }
  }

  #notConnected(): DtlsError {
    return fault('DTLS_NOT_CONNECTED', `the connection is ${this.#state}`);
  }
}
