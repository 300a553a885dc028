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
  /** What the other peer's `prepare` told: what peers that were paired beforehand know of each other. */
  readonly peerFacts: unknown;
  /** The addresses of the other peer's host in the topology, for contestants that only dial. */
  readonly peerAddresses: readonly string[];
  /** Whether this peer may leave through the HTTP proxy only. */
  readonly proxyOnly: boolean;
  readonly seed: number;
  /** A folder of this peer's own, removed after the run. */
  readonly folder: string;
  sendSignal(data: unknown): void;
  /** What keeps it from connecting as yet, in the contestant's words: told as the reason when the time is over. */
  note(trouble: string): void;
  /** Signals that arrive before the handler is set wait for it. */
  onSignal(handler: (data: unknown) => void): void;
  /** Aborted when the runner gives up, and when the process ends: what was started must be stopped then. */
  readonly signal: AbortSignal;
}

/** What a peer may know before the clock starts. */
export interface PrepareContext {
  readonly role: Role;
  readonly seed: number;
  readonly folder: string;
  readonly signal: AbortSignal;
}

export interface PathFacts {
  readonly type: 'direct' | 'relayed' | 'proxied';
  readonly protocol: 'udp' | 'tcp' | 'tls';
  /** In the contestant's own words, `srflx → host`. */
  readonly detail: string;
}

/** One end of a reliable, ordered message channel between the peers; messages of up to 16 KiB. */
export interface Session {
  /**
   * Resolves when the contestant will take the next message. Rejects once the session ended.
   * May be called again before it resolved; the message belongs to the session from then on.
   */
  send(message: Buffer): Promise<void>;
  onMessage(handler: (message: Buffer) => void): void;
  /** Each handler is called once, with the reason in the contestant's words; one set after the end at once. */
  onClose(handler: (reason: string) => void): void;
  path(): Promise<PathFacts>;
  close(): Promise<void>;
}

export interface ServerContext {
  /** The address that peers reach. */
  readonly host: string;
  readonly folder: string;
  /** Aborted when the process ends. */
  readonly signal: AbortSignal;
  ready(facts: unknown): void;
}

export interface Adapter {
  readonly name: string;
  /** For tables: package and version, read at run time. */
  version(): Promise<string>;
  /** Keys, certificates, modules: all that exists before the clock starts. What it resolves with reaches the other peer as `peerFacts`. */
  readonly prepare?: (context: PrepareContext) => Promise<unknown>;
  /** Resolves when the first message could be sent. Throws with the contestant's own reason. */
  open(context: PeerContext): Promise<Session>;
  /** A server that the contestant brings itself, run on the public host before the peers start; what `ready` is given reaches both peers as `server`. */
  readonly server?: (options: ServerContext) => Promise<void>;
}

/** To the child, one JSON document a line. */
export type HarnessCommand =
  /** First, for a peer: modules are loaded, keys made; `ready` answers. */
  | { readonly do: 'load'; readonly role: Role; readonly seed: number; readonly folder: string }
  /** The clock starts. */
  | {
      readonly do: 'open';
      readonly services: LabServices;
      readonly server: unknown;
      readonly peerFacts: unknown;
      readonly peerAddresses: readonly string[];
      readonly proxyOnly: boolean;
      /** When it is not connected by then, it failed. */
      readonly timeoutMs: number;
    }
  | { readonly do: 'serve'; readonly host: string; readonly folder: string }
  | { readonly do: 'signal'; readonly data: unknown }
  /** Only to a; b answers and counts. */
  | { readonly do: 'measure'; readonly pings: number; readonly bulkMs: number; readonly watchMs: number }
  | { readonly do: 'close' };

/** From the child, one JSON document a line. Times are milliseconds of CLOCK_MONOTONIC, one clock for all processes. */
export type HarnessEvent =
  | { readonly event: 'serving'; readonly facts: unknown }
  | { readonly event: 'ready'; readonly version: string; readonly facts: unknown }
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
  /** Why the measurement ended before its time; what is known until then is here. */
  readonly ended?: string;
}

export interface BulkMeasured {
  /** That arrived in the time of the transfer. */
  readonly bytes: number;
  /** The time of the transfer, as ordered. */
  readonly durationMs: number;
  /** Longest time without a message at the receiver, from the sender's start to its end. */
  readonly stallMs: number;
  /** One each `BUCKET_MS`, from the sender's start; the delay is the mean of the messages that arrived in it. */
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
