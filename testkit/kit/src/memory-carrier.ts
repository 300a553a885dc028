/**
 * Carriers joined by memory: what one sends, the other gets a turn of the event
 * loop later, in order and without loss, or as a test's `tamper` decides.
 */

import type { Carrier, CarrierStatus, EnvelopeHandler, NodeId } from '@claw/contracts';

export interface MemoryCarrierOptions {
  readonly name?: string;
  readonly nodeId: NodeId;
  readonly onEnvelope: EnvelopeHandler;
  /** Default 24 KiB. */
  readonly maxEnvelopeBytes?: number;
}

/** What a network between memory carriers does to an envelope: the ones that arrive instead. */
export type Tamper = (envelope: Uint8Array, to: NodeId) => Uint8Array[];

/** The medium: every carrier opened on it hears what is sent to its node. */
export class MemoryNetwork {
  readonly #carriers = new Set<MemoryCarrier>();
  readonly #tamper: Tamper;

  constructor(tamper: Tamper = (envelope) => [envelope]) {
    this.#tamper = tamper;
  }

  open(options: MemoryCarrierOptions): MemoryCarrier {
    const carrier = new MemoryCarrier(options, this);
    this.#carriers.add(carrier);
    return carrier;
  }

  carry(to: NodeId, envelope: Uint8Array): void {
    for (const arriving of this.#tamper(envelope, to)) {
      setImmediate(() => {
        for (const carrier of this.#carriers) if (carrier.nodeId === to) carrier.receive(Uint8Array.from(arriving));
      });
    }
  }

  remove(carrier: MemoryCarrier): void {
    this.#carriers.delete(carrier);
  }
}

export class MemoryCarrier implements Carrier {
  readonly name: string;
  readonly nodeId: NodeId;
  readonly maxEnvelopeBytes: number;
  readonly #onEnvelope: EnvelopeHandler;
  readonly #network: MemoryNetwork;
  readonly #counts = { envelopesSent: 0, envelopesReceived: 0, envelopesDropped: 0, bytesSent: 0, bytesReceived: 0 };
  #closed = false;

  constructor(options: MemoryCarrierOptions, network: MemoryNetwork) {
    this.name = options.name ?? 'memory';
    this.nodeId = options.nodeId;
    this.maxEnvelopeBytes = options.maxEnvelopeBytes ?? 24 * 1024;
    this.#onEnvelope = options.onEnvelope;
    this.#network = network;
  }

  status(): CarrierStatus & { readonly envelopesDropped: number } {
    const detail = this.#closed ? 'closed' : 'in memory';
    return { name: this.name, state: this.#closed ? 'down' : 'up', detail, ...this.#counts };
  }

  send(to: NodeId, envelope: Uint8Array): void {
    if (this.#closed || envelope.length > this.maxEnvelopeBytes) {
      this.#counts.envelopesDropped += 1;
      return;
    }
    this.#counts.envelopesSent += 1;
    this.#counts.bytesSent += envelope.length;
    this.#network.carry(to, envelope);
  }

  receive(envelope: Uint8Array): void {
    if (this.#closed) return;
    this.#counts.envelopesReceived += 1;
    this.#counts.bytesReceived += envelope.length;
    this.#onEnvelope(envelope);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#network.remove(this);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
