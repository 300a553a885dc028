/**
 * A carrier moves sealed envelopes towards a node. It is best effort: it may
 * lose, repeat and reorder; it may not alter (an altered envelope is refused by
 * its reader). All carriers of a node run at once under one router.
 */

import type { NodeId } from './node-id.ts';

export interface CarrierStatus {
  readonly name: string;
  /** `up`: an envelope handed over now has a chance. `down`: it has none, `detail` says why. */
  readonly state: 'up' | 'connecting' | 'down';
  /** For people: the address in use or the fault. */
  readonly detail: string;
  readonly envelopesSent: number;
  readonly envelopesReceived: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** Called for each envelope that arrived whole. The bytes belong to the receiver. */
export type EnvelopeHandler = (bytes: Uint8Array) => void;

export interface Carrier extends AsyncDisposable {
  readonly name: string;
  /** Longest envelope it can take, in bytes. */
  readonly maxEnvelopeBytes: number;
  status(): CarrierStatus;
  /** Takes a copy of nothing: `envelope` must not change afterwards. Never throws for a fault of the network. */
  send(to: NodeId, envelope: Uint8Array): void;
  /** Idempotent; after it resolves the handler is not called again. */
  close(): Promise<void>;
}
