/**
 * One UDP socket on all IPv4 interfaces: joins the mDNS group on each, hears each
 * datagram once, and sends each datagram out of every interface. It stands in for
 * the socket of `multicast-dns`, which sends by one interface only and never joins
 * again on an interface that went and came back (mafintosh/multicast-dns#32, #50).
 */

import { createSocket, type Socket } from 'node:dgram';
import { EventEmitter } from 'node:events';
import { networkInterfaces } from 'node:os';
import { errorCode, errorText } from '@claw/base';

export const MDNS_GROUP = '224.0.0.251';
export const MDNS_PORT = 5353;

/** RFC 6762 §11: all mDNS packets leave with this IP time-to-live. */
const MULTICAST_TTL = 255;

export interface JoinReport {
  /** Addresses of the interfaces on which the group is joined now. */
  readonly joined: readonly string[];
  /** For people, one for each interface that cannot be used. */
  readonly faults: readonly string[];
}

/** IPv4 addresses of this machine's interfaces, one for each interface. */
export function listInterfaces(): string[] {
  return Object.values(networkInterfaces()).flatMap(
    (addresses) => addresses?.find((address) => address.family === 'IPv4')?.address ?? [],
  );
}

export class MulticastSocket extends EventEmitter {
  readonly #socket: Socket;
  readonly #joined = new Set<string>();
  #open = true;

  constructor() {
    super();
    // The lookup of a numeric address answers within the call, so that a datagram is
    // on its way before the next one selects another interface.
    this.#socket = createSocket({
      type: 'udp4',
      reuseAddr: true,
      lookup: (address, _options, answer) => answer(null, address, 4),
    });
    for (const event of ['error', 'listening', 'message', 'close']) {
      this.#socket.on(event, (...values: unknown[]) => this.emit(event, ...values));
    }
    this.#socket.once('close', () => {
      this.#open = false;
    });
  }

  address(): ReturnType<Socket['address']> {
    return this.#socket.address();
  }

  /** Binds in the next tick: our lookup would have its failure heard before anyone listens for it. */
  bind(port: number, address: string, listening: () => void): void {
    process.nextTick(() => {
      if (!this.#open) return;
      this.#socket.bind(port, address, () => {
        attempt(() => this.#socket.setMulticastTTL(MULTICAST_TTL));
        attempt(() => this.#socket.setMulticastLoopback(true));
        listening();
      });
    });
  }

  /**
   * Joins the group on each of `addresses` and leaves it on those that are gone. It joins even
   * where it did before: the kernel forgets a membership with its interface and tells nobody.
   */
  join(addresses: readonly string[]): JoinReport {
    const faults: string[] = [];
    for (const address of [...this.#joined].filter((joined) => !addresses.includes(joined))) {
      this.#joined.delete(address);
      attempt(() => this.#socket.dropMembership(MDNS_GROUP, address));
    }
    for (const address of addresses) {
      const fault = attempt(() => this.#socket.addMembership(MDNS_GROUP, address));
      if (fault === undefined || errorCode(fault) === 'EADDRINUSE') this.#joined.add(address);
      else faults.push(`${address}: ${errorText(fault)}`);
    }
    return { joined: [...this.#joined], faults };
  }

  /** Sends by every joined interface; `done` hears of the last failure, if all failed. */
  send(
    bytes: Buffer,
    offset: number,
    length: number,
    port: number,
    address: string,
    done: (error: Error | null) => void,
  ): void {
    let failure: Error | undefined = new Error('no interface to send by');
    for (const joined of this.#joined) {
      const fault = attempt(() => {
        this.#socket.setMulticastInterface(joined);
        // Without a callback a failed send would be an 'error' event of the whole socket.
        this.#socket.send(bytes, offset, length, port, address, () => {});
      });
      failure = failure && fault;
    }
    done(failure ?? null);
  }

  /** Idempotent. */
  close(closed?: () => void): void {
    if (!this.#open) return closed?.();
    this.#open = false;
    this.#socket.close(closed);
  }
}

/** What `work` threw, as an Error, or `undefined`. */
function attempt(work: () => void): Error | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
