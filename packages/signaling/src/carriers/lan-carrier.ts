/**
 * Envelopes on the local network, as fragments in TXT records of mDNS responses
 * (RFC 6762): every node on the link hears them, the one they are for knows them
 * by their hint. No port but 5353 is opened, names are random, and the records
 * have a time to live of 0, so no mDNS cache keeps them.
 *
 * Never fatal: a port that is taken, no network, a network that comes and goes or
 * a packet that is no DNS leave the carrier `down` or `up`, and looking again.
 */

import {
  type Clock,
  errorText,
  type Logger,
  type Random,
  silentLogger,
  systemClock,
  systemRandom,
  type Timer,
} from '@claw/base';
import { type Carrier, type CarrierStatus, type EnvelopeHandler, type NodeId, publicKeyOf } from '@claw/contracts';
import makeMdns, { type MulticastDNS, type ResponsePacket } from 'multicast-dns';
import { isEnvelopeFor } from '../envelope.ts';
import { cutFragments, MAX_FRAGMENTS, Reassembler } from '../fragments.ts';
import { CarrierCounters, type CountedCarrierStatus } from './carrier-counters.ts';
import { type JoinReport, listInterfaces, MDNS_GROUP, MDNS_PORT, MulticastSocket } from './multicast-socket.ts';

/** Of an envelope in one packet. With DNS header, name, record, string lengths and ours it stays below 1,400. */
const PART_BYTES = 1300;
export const LAN_MAX_ENVELOPE_BYTES = MAX_FRAGMENTS * PART_BYTES;

const SERVICE = '._claw._udp.local';
const LABEL_BYTES = 8;
const TXT_STRING_BYTES = 255;
const RESCAN_MS = 15_000;

export interface LanCarrierOptions {
  /** Our own id: envelopes for others are dropped at their first fragment. */
  readonly nodeId: NodeId;
  readonly onEnvelope: EnvelopeHandler;
  /** Default `lan`. */
  readonly name?: string;
  /** Default 5353; every node of a network must use the same. */
  readonly port?: number;
  /** IPv4 addresses of the interfaces to use, asked every 15 s. Default: one of each interface of this machine. */
  readonly interfaces?: () => readonly string[];
  readonly clock?: Clock;
  readonly random?: Random;
  readonly logger?: Logger;
}

export interface LanCarrier extends Carrier {
  status(): CountedCarrierStatus;
  /** Looks at the interfaces now and not only every 15 s: for a caller that was told of a change. */
  rescan(): void;
}

/** Returns at once; the state is `connecting` until the port is bound. The caller closes it. */
export function openLanCarrier(options: LanCarrierOptions): LanCarrier {
  return new MdnsCarrier(options);
}

class MdnsCarrier implements LanCarrier {
  readonly name: string;
  readonly maxEnvelopeBytes = LAN_MAX_ENVELOPE_BYTES;
  readonly #options: LanCarrierOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #counters = new CarrierCounters();
  readonly #reassembler: Reassembler;
  #state: CarrierStatus['state'] = 'connecting';
  #detail = 'binding the mDNS port';
  #socket: MulticastSocket | undefined;
  #mdns: MulticastDNS | undefined;
  #rescanTimer: Timer | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: LanCarrierOptions) {
    this.name = options.name ?? 'lan';
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#log = options.logger ?? silentLogger;
    const publicKey = publicKeyOf(options.nodeId);
    this.#reassembler = new Reassembler({
      isForUs: (head) => isEnvelopeFor(publicKey, head),
      maxEnvelopeBytes: LAN_MAX_ENVELOPE_BYTES,
    });
    this.rescan();
  }

  status(): CountedCarrierStatus {
    return this.#counters.status(this.name, this.#state, this.#detail);
  }

  send(_to: NodeId, envelope: Uint8Array): void {
    if (!this.#mdns || this.#state !== 'up' || envelope.length > LAN_MAX_ENVELOPE_BYTES) {
      this.#counters.dropped();
      return;
    }
    this.#counters.sent(envelope.length);
    for (const fragment of cutFragments(envelope, PART_BYTES)) {
      const name = this.#random.bytes(LABEL_BYTES).toString('hex') + SERVICE;
      const record = { name, type: 'TXT', class: 'IN', ttl: 0, data: cutStrings(fragment) } as const;
      this.#mdns.respond({ answers: [record] }, (error) => {
        if (error) this.#lookAgainSoon(error);
      });
    }
  }

  rescan(): void {
    if (this.#closing) return;
    this.#rescanTimer?.cancel();
    this.#rescanTimer = this.#clock.setTimer(RESCAN_MS, () => this.rescan());
    if (!this.#mdns) this.#start();
    else if (this.#state !== 'connecting') this.#join();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#rescanTimer?.cancel();
    const mdns = this.#mdns;
    this.#socket = undefined;
    this.#mdns = undefined;
    this.#settle('down', 'closed');
    if (mdns) await new Promise<void>((resolve) => mdns.destroy(resolve));
  }

  #start(): void {
    this.#settle('connecting', 'binding the mDNS port');
    const socket = new MulticastSocket();
    this.#socket = socket;
    // On Linux bound to the group, so that unicast answers to other mDNS programs of this machine stay theirs.
    const bind = process.platform === 'linux' ? MDNS_GROUP : '0.0.0.0';
    const port = this.#options.port ?? MDNS_PORT;
    // The socket joins groups itself, hence `multicast: false`; it has what the library uses of a Socket.
    const mdns = makeMdns({ socket: socket as never, port, bind, multicast: false });
    this.#mdns = mdns;
    mdns.on('ready', () => {
      if (this.#mdns === mdns) this.#join();
    });
    mdns.on('response', (packet: ResponsePacket) => {
      if (this.#mdns === mdns) this.#hear(packet);
    });
    mdns.on('warning', (error) => this.#log.debug('mDNS packet or socket fault', { error: errorText(error) }));
    mdns.on('error', (error) => this.#fail(mdns, errorText(error)));
    socket.on('close', () => this.#fail(mdns, 'the socket was closed'));
  }

  /** Gives the socket up; the next scan opens another. */
  #fail(mdns: MulticastDNS, reason: string): void {
    if (this.#mdns !== mdns) return;
    this.#mdns = undefined;
    this.#socket = undefined;
    this.#settle('down', reason);
    mdns.destroy();
  }

  #join(): void {
    const report: JoinReport | undefined = this.#socket?.join((this.#options.interfaces ?? listInterfaces)());
    if (!report) return;
    if (report.joined.length > 0) this.#settle('up', `mDNS on ${report.joined.join(', ')}`);
    else this.#settle('down', report.faults[0] ?? 'no IPv4 interface');
  }

  #settle(state: CarrierStatus['state'], detail: string): void {
    if (detail !== this.#detail) this.#log.info('lan carrier', { carrier: this.name, state, detail });
    this.#state = state;
    this.#detail = detail;
  }

  /** All interfaces refused a packet: the network changed since the last scan. */
  #lookAgainSoon(error: Error): void {
    if (this.#closing || this.#state !== 'up') return;
    this.#settle('down', errorText(error));
    this.#rescanTimer?.cancel();
    this.#rescanTimer = this.#clock.setTimer(1000, () => this.rescan());
  }

  #hear(packet: ResponsePacket): void {
    for (const answer of packet.answers ?? []) {
      if (answer.type !== 'TXT' || !answer.name.toLowerCase().endsWith(SERVICE)) continue;
      const envelope = this.#reassembler.accept(joinStrings(answer.data), this.#clock.monotonicMs());
      if (!envelope) continue;
      this.#counters.received(envelope.length);
      this.#options.onEnvelope(envelope);
    }
  }
}

/** A TXT record is a list of strings of up to 255 bytes (RFC 1035 §3.3.14). */
function cutStrings(bytes: Buffer): Buffer[] {
  const strings: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += TXT_STRING_BYTES) strings.push(bytes.subarray(at, at + TXT_STRING_BYTES));
  return strings;
}

function joinStrings(data: string | Buffer | readonly (string | Buffer)[]): Buffer {
  const strings = Array.isArray(data) ? data : [data];
  return Buffer.concat(strings.map((string) => (typeof string === 'string' ? Buffer.from(string) : string)));
}
