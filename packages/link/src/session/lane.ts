/** One lane of a session: a data channel with its sealer, its opener and its counters. */

import { asBuffer } from '@claw/base';
import type { RtcDataChannel } from '@claw/contracts';
import { LaneOpener } from '../seal/lane-opener.ts';
import { LaneSealer } from '../seal/lane-sealer.ts';
import { laneReliability } from './lanes.ts';

/** Direction secrets out of the inner handshake, 32 bytes each. The session clears them at its end. */
export interface SessionSecrets {
  readonly send: Buffer;
  readonly receive: Buffer;
}

const NO_PARTS: readonly Uint8Array[] = [];

export class Lane {
  readonly id: number;
  readonly channel: RtcDataChannel;
  readonly #sealer: LaneSealer;
  readonly #opener: LaneOpener;
  bytesSent = 0;
  bytesReceived = 0;

  constructor(id: number, channel: RtcDataChannel, secrets: SessionSecrets) {
    const reliability = laneReliability(id);
    this.id = id;
    this.channel = channel;
    this.#sealer = new LaneSealer(secrets.send, id);
    this.#opener = new LaneOpener(secrets.receive, id, reliability);
  }

  get nextSequence(): number {
    return this.#sealer.nextSequence;
  }

  get highestReceived(): number {
    return this.#opener.highest;
  }

  send(head: Uint8Array, parts: readonly Uint8Array[] = NO_PARTS, partsLength = 0): void {
    const record = this.#sealer.seal(head, parts, partsLength);
    this.channel.send(record);
    this.bytesSent += record.length;
  }

  /** The plaintext, or `undefined` for a repeated or late record on a lane that may have such. */
  open(data: Uint8Array): Buffer | undefined {
    this.bytesReceived += data.length;
    return this.#opener.open(asBuffer(data));
  }

  /** Clears the keys. */
  close(): void {
    this.#sealer.close();
    this.#opener.close();
  }
}
