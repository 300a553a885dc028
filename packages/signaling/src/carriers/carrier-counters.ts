/** What every carrier counts, in one place. */

import type { CarrierStatus } from '@claw/contracts';

/** A carrier's status, and how many envelopes it was handed and could not send. */
export interface CountedCarrierStatus extends CarrierStatus {
  /** Too long, not connected for too long, or the way out was full. */
  readonly envelopesDropped: number;
}

export class CarrierCounters {
  #envelopesSent = 0;
  #envelopesReceived = 0;
  #envelopesDropped = 0;
  #bytesSent = 0;
  #bytesReceived = 0;

  sent(bytes: number): void {
    this.#envelopesSent += 1;
    this.#bytesSent += bytes;
  }

  received(bytes: number): void {
    this.#envelopesReceived += 1;
    this.#bytesReceived += bytes;
  }

  dropped(count = 1): void {
    this.#envelopesDropped += count;
  }

  status(name: string, state: CarrierStatus['state'], detail: string): CountedCarrierStatus {
    return {
      name,
      state,
      detail,
      envelopesSent: this.#envelopesSent,
      envelopesReceived: this.#envelopesReceived,
      envelopesDropped: this.#envelopesDropped,
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
    };
  }
}
