/** What an association tells its owner, and what it knows of the path. */

import type { ClawError } from '@claw/base';
import type { SctpErrorCode } from './errors.ts';

export type SctpState = 'new' | 'connecting' | 'connected' | 'closing' | 'closed';

export interface SctpListener {
  onState?(state: SctpState, error: ClawError<SctpErrorCode> | undefined): void;
  /**
   * A whole message. It counts against the receive window until as many bytes are
   * given to `SctpAssociation.release`. `data` is the listener's from now on.
   */
  onMessage(streamId: number, ppid: number, data: Buffer): void;
  /** Bytes of this stream were sent for the first time, or dropped. */
  onDrained?(streamId: number): void;
  /** The peer will send no more on these streams, and may use them anew; none named means all. */
  onPeerReset?(streamIds: readonly number[]): void;
  /** Our own end of these streams is closed, or the peer refused. */
  onResetDone?(streamIds: readonly number[], isAccepted: boolean): void;
  /** The peer began anew: whatever was under way is lost, and every stream starts at zero. */
  onRestart?(): void;
}

export interface SctpStatistics {
  readonly windowBytes: number;
  readonly paceBytesPerMs: number;
  readonly inFlightBytes: number;
  readonly peerWindowBytes: number;
  readonly retransmissions: number;
  readonly minRttMs: number;
  readonly smoothedRttMs: number;
  readonly bufferedBytes: number;
  /** Received and not yet taken by the application. */
  readonly heldBytes: number;
}
