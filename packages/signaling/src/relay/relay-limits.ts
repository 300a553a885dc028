/** What a relay grants, and to whom; every number bounds memory, processor time or traffic. */

export interface RelayLimits {
  /** Longest envelope, bytes. Default 24 KiB. */
  readonly maxEnvelopeBytes: number;
  /** TCP connections at once. Default 4,096. */
  readonly maxConnections: number;
  /** TCP connections at once from one address. Default 256. */
  readonly maxConnectionsPerAddress: number;
  /** New TCP connections a second from one address; five times that in a burst. Default 20. */
  readonly connectionsPerSecondPerAddress: number;
  /** Addresses about which anything is remembered at once. Default 65,536. */
  readonly maxAddresses: number;
  /** From TCP connection to login, milliseconds. Default 5,000. */
  readonly handshakeMs: number;
  /** Envelopes a second from one node; twice that in a burst. Default 200. */
  readonly envelopesPerSecondPerNode: number;
  /** Envelopes a second from one address; twice that in a burst. Default 1,000. */
  readonly envelopesPerSecondPerAddress: number;
  /** Bytes a second from one node; twice that in a burst. Default 1 MiB. */
  readonly bytesPerSecondPerNode: number;
  /** Bytes a second from one address; twice that in a burst. Default 4 MiB. */
  readonly bytesPerSecondPerAddress: number;
  /** Bytes that wait for one reader; more are dropped. Default 512 KiB. */
  readonly maxBufferedBytesPerNode: number;
  /** Bytes that wait for all readers together; more are dropped. Default 128 MiB. */
  readonly maxBufferedBytes: number;
  /** Between two pings; who answers none by the next is cut off. Default 25,000 ms. */
  readonly keepAliveMs: number;
}

export const DEFAULT_RELAY_LIMITS: RelayLimits = {
  maxEnvelopeBytes: 24 * 1024,
  maxConnections: 4096,
  maxConnectionsPerAddress: 256,
  connectionsPerSecondPerAddress: 20,
  maxAddresses: 65_536,
  handshakeMs: 5000,
  envelopesPerSecondPerNode: 200,
  envelopesPerSecondPerAddress: 1000,
  bytesPerSecondPerNode: 1024 * 1024,
  bytesPerSecondPerAddress: 4 * 1024 * 1024,
  maxBufferedBytesPerNode: 512 * 1024,
  maxBufferedBytes: 128 * 1024 * 1024,
  keepAliveMs: 25_000,
};

/** The limits with defaults for what is not given. Throws RangeError for a misspelt or impossible one. */
export function resolveRelayLimits(limits: Partial<RelayLimits> = {}): RelayLimits {
  for (const [name, value] of Object.entries(limits)) {
    if (!(name in DEFAULT_RELAY_LIMITS)) throw new RangeError(`there is no relay limit ${name}`);
    if (!(Number.isFinite(value) && value > 0)) throw new RangeError(`${name} is a positive number, got ${value}`);
  }
  return { ...DEFAULT_RELAY_LIMITS, ...limits };
}
