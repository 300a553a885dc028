/** Bounds of a session. They cap what a peer can make this side hold in memory. */

export interface SessionLimits {
  /** Channels the peer may have open at once. Default 1,024. */
  readonly maxIncomingChannels: number;
  /** Bytes a peer may send on one channel ahead of its reader. Default 2 MiB. */
  readonly channelWindowBytes: number;
  /** The same for the link as a whole. Default 16 MiB. */
  readonly linkWindowBytes: number;
  /** Longest message. Default 1 MiB; more than the channel window could never arrive. */
  readonly maxMessageBytes: number;
  /** Bytes left in the engine before a bulk lane waits. Default 1 MiB. */
  readonly bulkHighWaterBytes: number;
  /** Bytes under way on a lossy lane before messages are dropped here. Default 1 MiB. */
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
