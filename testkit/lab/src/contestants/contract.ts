/**
 * What a contestant is to the lab. An adapter makes one peer of it, in a process
 * of its own inside a host of the topology; the harness around the adapter
 * measures, the same way for all. Signals between the two peers do not cross the
 * network under test: the runner carries them, with the scenario's delay.
 */

export type Role = 'a' | 'b';

/** Where the services of the topology are; what the topology does not have is undefined. */
export interface LabServices {
  readonly turn?: {
    readonly host: string;
    readonly udp: number;
    readonly tcp: number;
    readonly tls: number;
    readonly username: string;
    readonly credential: string;
    /** PEM file of the authority that signed the TURN server's certificate. */
    readonly caFile: string;
  };
  readonly httpProxy?: {
    readonly host: string;
    readonly port: number;
    readonly username: string;
    readonly password: string;
  };
  readonly dns?: { readonly host: string; readonly port: number };
  /** Public hosts on which a contestant's own servers run (DHT bootstrap, circuit relay, claw relay). */
  readonly publicHost?: string;
}

export interface PeerContext {
  readonly role: Role;
  readonly services: LabServices;
  /** What the contestant's `server` printed, when it has one: addresses of a DHT, a relay. */
  readonly server: unknown;
  /** The addresses of the other peer's host in the topology, for contestants that only dial. */
  readonly peerAddresses: readonly string[];
  /** Whether this peer may leave through the HTTP proxy only. */
  readonly proxyOnly: boolean;
  readonly seed: number;
  /** A folder of this peer's own, removed after the run. */
  readonly folder: string;
  sendSignal(data: unknown): void;
  /** Signals that arrive before the handler is set wait for it. */
  onSignal(handler: (data: unknown) => void): void;
  /** Aborted when the runner gives up. */
  readonly signal: AbortSignal;
}

export interface PathFacts {
  readonly type: 'direct' | 'relayed' | 'proxied';
  readonly protocol: 'udp' | 'tcp' | 'tls';
  /** In the contestant's own words, `srflx → host`. */
  readonly detail: string;
}

/** One end of a reliable, ordered message channel between the peers. */
export interface Session {
  /** Resolves when the contestant will take the next message. Rejects once the session ended. */
  send(message: Buffer): Promise<void>;
  onMessage(handler: (message: Buffer) => void): void;
  /** Called once, with the reason in the contestant's words. */
  onClose(handler: (reason: string) => void): void;
  path(): Promise<PathFacts>;
  close(): Promise<void>;
}

export interface Adapter {
  readonly name: string;
  /** For tables: package and version, read at run time. */
  version(): Promise<string>;
  /** Resolves when the first message could be sent. Throws with the contestant's own reason. */
  open(context: PeerContext): Promise<Session>;
  /** A server that the contestant brings itself, run on the public host before the peers start; what `ready` is given reaches both peers as `server`. */
  readonly server?: (options: {
    readonly host: string;
    readonly folder: string;
    ready(facts: unknown): void;
  }) => Promise<void>;
}

/** To the child, one JSON document a line. */
export type HarnessCommand =
  | {
      readonly do: 'open';
      readonly role: Role;
      readonly services: LabServices;
      readonly server: unknown;
      readonly peerAddresses: readonly string[];
      readonly proxyOnly: boolean;
      readonly seed: number;
      readonly folder: string;
    }
  | { readonly do: 'serve'; readonly host: string; readonly folder: string }
  | { readonly do: 'signal'; readonly data: unknown }
  /** Only to a; b answers and counts. */
  | { readonly do: 'measure'; readonly pings: number; readonly bulkMs: number; readonly watchMs: number }
  | { readonly do: 'close' };

/** From the child, one JSON document a line. Times are milliseconds of CLOCK_MONOTONIC, one clock for all processes. */
export type HarnessEvent =
  | { readonly event: 'serving'; readonly facts: unknown }
  | { readonly event: 'opening'; readonly version: string }
  | { readonly event: 'signal'; readonly data: unknown }
  | { readonly event: 'connected'; readonly atMs: number; readonly path: PathFacts }
  | { readonly event: 'failed'; readonly atMs: number; readonly reason: string }
  | { readonly event: 'measured'; readonly measured: Measured }
  | { readonly event: 'closed'; readonly atMs: number; readonly reason: string };

/** What a measured, and b told it. */
export interface Measured {
  /** Each ping's round trip; a ping without an answer within 5 s is null. */
  readonly roundTripMs: readonly (number | null)[];
  readonly bulk?: BulkMeasured;
  readonly watch?: WatchMeasured;
  /** The path at the end, when it is another than at the start. */
  readonly pathAfter?: PathFacts;
}

export interface BulkMeasured {
  readonly bytes: number;
  /** From the first to the last message at the receiver. */
  readonly durationMs: number;
  /** Longest time without a message at the receiver. */
  readonly stallMs: number;
  /** One each `BUCKET_MS`, from the sender's start. */
  readonly timeline: readonly { readonly bytes: number; readonly delayMs: number | null }[];
}

/** Small messages each 50 ms, both ways. */
export interface WatchMeasured {
  /** Longest silence heard by each side. */
  readonly longestGapMs: { readonly a: number; readonly b: number };
  readonly sent: { readonly a: number; readonly b: number };
  readonly received: { readonly a: number; readonly b: number };
  /** One-way delay from a to b of each bucket, null where nothing arrived. */
  readonly timeline: readonly (number | null)[];
}

export const BUCKET_MS = 100;
