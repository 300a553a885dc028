/**
 * Bounds of a session. They cap what a peer can make this side hold in memory.
 * Both sides begin with the same two windows: they are part of the protocol.
 */

import { MAX_FRAME_BYTES } from './frames.ts';
import { FRAME_COST_BYTES, GRANT_BELOW } from './receive-window.ts';

export interface SessionLimits {
  /** Channels the peer may have open at once. Default 1,024. */
  readonly maxIncomingChannels: number;
  /** Bytes a peer may send on one channel ahead of its reader. Default 2 MiB. */
  readonly channelWindowBytes: number;
  /** The same for the link as a whole. Default 16 MiB. */
  readonly linkWindowBytes: number;
  /** Longest message. Default 1 MiB; at most three quarters of the channel window, less a frame's cost for each 64 KiB. */
  readonly maxMessageBytes: number;
  /** Bytes left in the engine before a bulk lane waits. Default 1 MiB. */
  readonly bulkHighWaterBytes: number;
  /** Bytes under way on a lossy lane, or unhandled here, before messages are dropped. Default 1 MiB. */
  readonly lossyWindowBytes: number;
  /** Control bytes the engine may hold for a peer that does not read. Default 1 MiB. */
  readonly maxControlBacklogBytes: number;
  /** Silence after which the link asks for a sign of life. Default 5,000 ms; three times that is the end. */
  readonly probeIntervalMs: number;
}

export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  maxIncomingChannels: 1024,
  channelWindowBytes: 2 * 1024 * 1024,
  linkWindowBytes: 16 * 1024 * 1024,
  maxMessageBytes: 1024 * 1024,
  bulkHighWaterBytes: 1024 * 1024,
  lossyWindowBytes: 1024 * 1024,
  maxControlBacklogBytes: 1024 * 1024,
  probeIntervalMs: 5000,
};

/** @throws RangeError for windows in which a message could wait for ever. */
export function checkLimits(limits: SessionLimits): void {
  const { channelWindowBytes, linkWindowBytes, maxMessageBytes } = limits;
  const longest = Math.max(maxMessageBytes, MAX_FRAME_BYTES);
  const needed = longest + Math.ceil(longest / MAX_FRAME_BYTES + 1) * FRAME_COST_BYTES;
  if (channelWindowBytes * GRANT_BELOW < needed || linkWindowBytes < channelWindowBytes) {
    throw new RangeError(
      `windows of ${channelWindowBytes} and ${linkWindowBytes} bytes cannot take messages of ${longest}`,
    );
  }
}
