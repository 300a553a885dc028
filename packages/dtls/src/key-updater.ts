/**
 * Key updates of DTLS 1.3 (RFC 9147 §8). We send under new keys once the peer has
 * acknowledged our KeyUpdate, and read under its new keys as soon as it announces
 * them; its last keys stay one more generation, for records on their way.
 */

import { ByteReader } from './byte-reader.ts';
import { u8 } from './byte-writer.ts';
import { fault } from './errors.ts';
import type { Handshake } from './handshake.ts';
import { nextTrafficSecret } from './key-schedule.ts';
import { Opener13, Sealer13 } from './record-protection-13.ts';
import { handshakeType } from './registry.ts';
import type { Session } from './session.ts';

const FIRST_EPOCH = 3;
/** Whether the peer shall update its keys too. */
const UPDATE_NOT_REQUESTED = 0;
const UPDATE_REQUESTED = 1;

export class KeyUpdater {
  readonly #hs: Handshake;
  readonly #session: Session;
  #sendSecret: Buffer;
  #receiveSecret: Buffer;
  #sendEpoch = FIRST_EPOCH;
  #receiveEpoch = FIRST_EPOCH;
  /** A KeyUpdate of ours is on its way. */
  #isSending = false;
  /** What to send when the flight before it is acknowledged. */
  #next: number | undefined;

  /** Uses the session's traffic secrets, which the session wipes; later ones are its own. */
  constructor(hs: Handshake, session: Session) {
    const { client, server } = session.traffic ?? {};
    if (!client || !server) throw new TypeError('a session of DTLS 1.2 has no key updates');
    this.#hs = hs;
    this.#session = session;
    const isClient = hs.options.role === 'client';
    this.#sendSecret = isClient ? client : server;
    this.#receiveSecret = isClient ? server : client;
  }

  /** True while an update of ours is asked for and not done. */
  get isUnderWay(): boolean {
    return this.#isSending || this.#next !== undefined;
  }

  /** Starts an update of both directions, unless one is under way. */
  request(): void {
    if (!this.isUnderWay) this.#send(UPDATE_REQUESTED);
  }

  /** A KeyUpdate of the peer. */
  onMessage(body: Buffer): void {
    const reader = new ByteReader(body);
    const request = reader.u8();
    reader.end();
    if (request > UPDATE_REQUESTED) throw fault('DTLS_ILLEGAL_PARAMETER', 'a KeyUpdate asks for something unknown');
    const { suite } = this.#session;
    this.#receiveSecret = replaced(suite.hash, this.#receiveSecret);
    this.#receiveEpoch += 1;
    this.#hs.records.dropReader(this.#receiveEpoch - 2);
    this.#hs.records.installReader(this.#receiveEpoch, '1.3', new Opener13(suite, this.#receiveSecret));
    if (request === UPDATE_REQUESTED && !this.isUnderWay) this.#send(UPDATE_NOT_REQUESTED);
  }

  /** Our last flight has arrived. Returns the new epoch when that was a KeyUpdate. */
  onAcknowledged(): number | undefined {
    let updated: number | undefined;
    if (this.#isSending) {
      this.#isSending = false;
      const { suite } = this.#session;
      this.#sendSecret = replaced(suite.hash, this.#sendSecret);
      this.#sendEpoch += 1;
      updated = this.#sendEpoch;
      this.#hs.installWriter(updated, new Sealer13(suite, this.#sendSecret, updated));
    }
    for (const epoch of [0, 2, this.#sendEpoch - 1]) if (epoch < this.#sendEpoch) this.#hs.records.dropWriter(epoch);
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) this.#send(next);
    return updated;
  }

  wipe(): void {
    this.#sendSecret.fill(0);
    this.#receiveSecret.fill(0);
  }

  #send(request: number): void {
    if (this.#hs.isOutstanding) {
      this.#next = request;
      return;
    }
    this.#isSending = true;
    this.#hs.queue(handshakeType.keyUpdate, u8(request), this.#sendEpoch);
    this.#hs.flush();
  }
}

function replaced(hash: 'sha256' | 'sha384', secret: Buffer): Buffer {
  const next = nextTrafficSecret(hash, secret);
  secret.fill(0);
  return next;
}
