/**
 * Two connections joined by a channel in virtual time that loses, doubles, delays
 * and reorders datagrams as its seed says, or as a tamperer does.
 */

import { loadOpenssl } from '@claw/aead';
import { seededRandom } from '@claw/testkit';
import {
  type CreatedCertificate,
  createCertificate,
  DtlsConnection,
  type DtlsError,
  type DtlsEvent,
  type DtlsOptions,
  type Role,
} from '../src/index.ts';

// From the first record on, and not from some record that the machine's speed decides.
await loadOpenssl();

export interface ChannelOptions {
  readonly seed?: number;
  /** Each from 0 to 1. */
  readonly loss?: number;
  readonly duplication?: number;
  /** One-way delay in ms, drawn between the two. Default 10 to 10. */
  readonly delayMs?: readonly [number, number];
  /** What arrives in place of a datagram; none drops it. */
  readonly tamper?: (datagram: Buffer, sender: Role, index: number) => readonly Buffer[];
}

export type CoreOptions = Partial<DtlsOptions>;

interface InFlight {
  readonly atMs: number;
  readonly order: number;
  readonly to: Role;
  readonly datagram: Buffer;
}

const identities = new Map<string, CreatedCertificate>();

/** One certificate for each name, made once: keys are slow. */
export function identityOf(name: string, keyType: 'ecdsa-p256' | 'ed25519' = 'ecdsa-p256'): CreatedCertificate {
  const key = `${name}/${keyType}`;
  const known = identities.get(key) ?? createCertificate({ keyType });
  identities.set(key, known);
  return known;
}

export class Core {
  readonly connection: DtlsConnection;
  readonly events: DtlsEvent[] = [];
  readonly received: Buffer[] = [];

  constructor(options: DtlsOptions) {
    this.connection = new DtlsConnection({
      ...options,
      onEvent: (event) => {
        this.events.push(event);
        options.onEvent(event);
      },
      onApplicationData: (bytes) => {
        this.received.push(Buffer.from(bytes));
        options.onApplicationData(bytes);
      },
    });
  }

  get state(): string {
    return this.connection.state;
  }

  get wasConnected(): boolean {
    return this.events.some(({ type }) => type === 'connected');
  }

  get error(): DtlsError | undefined {
    return this.events.find((event) => event.type === 'failed')?.error;
  }
}

export class TwoCores {
  readonly client: Core;
  readonly server: Core;
  nowMs = 0;
  /** Everything that was sent, in order. */
  readonly sent: { readonly sender: Role; readonly datagram: Buffer }[] = [];
  readonly #channel: ChannelOptions;
  readonly #random: ReturnType<typeof seededRandom>;
  #inFlight: InFlight[] = [];
  #order = 0;

  constructor(
    both: CoreOptions = {},
    channel: ChannelOptions = {},
    client: CoreOptions = {},
    server: CoreOptions = {},
  ) {
    this.#channel = channel;
    this.#random = seededRandom(channel.seed ?? 1);
    this.client = this.#core('client', 'server', { ...both, ...client });
    this.server = this.#core('server', 'client', { ...both, ...server });
  }

  start(): this {
    this.server.connection.start(this.nowMs);
    this.client.connection.start(this.nowMs);
    return this;
  }

  core(role: Role): Core {
    return role === 'client' ? this.client : this.server;
  }

  /** Runs until nothing is due, `untilMs` has come, or `done` says so. */
  run(untilMs = Infinity, done: () => boolean = () => false): this {
    while (!done()) {
      const next = this.#inFlight.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      const deadlines = [this.client, this.server].map((core) => core.connection.deadlineMs ?? Infinity);
      const atMs = Math.min(next?.atMs ?? Infinity, ...deadlines);
      if (atMs === Infinity || atMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, atMs);
      if (next && next.atMs <= atMs) {
        this.#inFlight = this.#inFlight.filter((one) => one !== next);
        // A copy, as a network makes: whoever receives may write to it.
        this.core(next.to).connection.receive(Buffer.from(next.datagram), this.nowMs);
      } else {
        for (const core of [this.client, this.server]) {
          if ((core.connection.deadlineMs ?? Infinity) <= this.nowMs) core.connection.handleTimeout(this.nowMs);
        }
      }
    }
    return this;
  }

  get bothConnected(): boolean {
    return this.client.state === 'connected' && this.server.state === 'connected';
  }

  /** Start and run until both are connected and nothing is on its way. */
  connect(): this {
    this.start().run(60_000);
    if (!this.bothConnected) {
      const why = [this.client, this.server].map((core) => `${core.state} ${core.error?.code} ${core.error?.message}`);
      throw new Error(`not connected: ${why.join('; ')}`);
    }
    return this;
  }

  #core(role: Role, peer: Role, options: CoreOptions): Core {
    return new Core({
      role,
      identity: identityOf(role),
      remoteFingerprints: [identityOf(peer).fingerprint],
      random: seededRandom((this.#channel.seed ?? 1) * 2 + (role === 'client' ? 0 : 1)),
      send: (datagram) => this.#send(role, peer, datagram),
      onEvent: () => {},
      onApplicationData: () => {},
      ...options,
    });
  }

  #send(sender: Role, to: Role, datagram: Buffer): void {
    const { loss = 0, duplication = 0, delayMs = [10, 10], tamper } = this.#channel;
    const index = this.sent.length;
    this.sent.push({ sender, datagram: Buffer.from(datagram) });
    for (const arriving of tamper ? tamper(Buffer.from(datagram), sender, index) : [datagram]) {
      if (this.#random.fraction() < loss) continue;
      const copies = this.#random.fraction() < duplication ? 2 : 1;
      for (let i = 0; i < copies; i++) {
        const [least, most] = delayMs;
        const atMs = this.nowMs + least + this.#random.fraction() * (most - least);
        this.#inFlight.push({ atMs, order: this.#order++, to, datagram: Buffer.from(arriving) });
      }
    }
  }
}
